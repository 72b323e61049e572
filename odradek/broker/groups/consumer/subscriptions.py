"""Who subscribes to what: counts that follow a group's members and its resolved regular expressions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from odradek.broker.groups.consumer.member import ConsumerMember


class ResolvedRegex(NamedTuple):
    """The topics that a regular expression matched; `version` is the metadata's offset then."""

    topics: tuple[str, ...]
    version: int
    timestamp_ms: int


class Subscriptions:
    """Of one group. A topic counts once for each member that names it, and once for each expression that matches."""

    def __init__(self) -> None:
        self.topics: dict[str, int] = {}
        self.regexes: dict[str, int] = {}
        """How many members subscribe by each expression, be it resolved or not."""
        self.assignors: dict[str, int] = {}
        """How many members ask for each assignor."""

    def replace_member(self, old: ConsumerMember | None, new: ConsumerMember | None) -> None:
        """A member changed, came (no `old`) or went (no `new`)."""
        for member, change in ((old, -1), (new, 1)):
            if member is not None:
                count_all(self.topics, member.topic_names, change)
                count_all(self.regexes, (member.topic_regex,) if member.topic_regex else (), change)
                count_all(self.assignors, (member.assignor,) if member.assignor is not None else (), change)

    def replace_regex(self, old: ResolvedRegex | None, new: ResolvedRegex | None) -> None:
        """What an expression matches changed, or it is resolved for the first time, or nobody uses it any more."""
        count_all(self.topics, old.topics if old is not None else (), -1)
        count_all(self.topics, new.topics if new is not None else (), 1)

    def topics_after(
        self,
        changes: Iterable[tuple[ConsumerMember | None, ConsumerMember | None]],
        resolved: Mapping[str, ResolvedRegex],
    ) -> dict[str, int]:
        """The topics as they will be after members' changes; `resolved` holds the expressions that go."""
        topics = dict(self.topics)
        for old, new in changes:
            count_all(topics, old.topic_names if old is not None else (), -1)
            count_all(topics, new.topic_names if new is not None else (), 1)
        for regex in resolved.values():
            count_all(topics, regex.topics, -1)
        return topics

    def preferred_assignor(self, default: str, old: ConsumerMember | None, new: ConsumerMember | None) -> str:
        """The assignor that most members will ask for once `old` has become `new`; of equals, the first by name."""
        counts = dict(self.assignors)
        count_all(counts, (old.assignor,) if old is not None and old.assignor is not None else (), -1)
        count_all(counts, (new.assignor,) if new is not None and new.assignor is not None else (), 1)
        return max(sorted(counts), key=lambda name: counts[name], default=default)


def count_all(counts: dict[str, int], names: Iterable[str], change: int) -> None:
    """Add `change` to each count; one that comes to nothing is gone."""
    for name in names:
        count = counts.get(name, 0) + change
        if count > 0:
            counts[name] = count
        else:
            counts.pop(name, None)
