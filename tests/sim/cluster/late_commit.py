"""A commit that comes when its member has lost the partition, and another has committed more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.sim.cluster.group import GroupMember, GroupWatch
from tests.sim.cluster.machine import BROKER_PORT
from tests.sim.cluster.means import Means

_COMMITS_WITHIN_MS = 2000.0
_TAKEN_OVER_WITHIN_MS = 15_000.0
_LONGER_THAN_SESSIONS_MS = 4000.0


class _Commit(NamedTuple):
    host: str
    partition: int
    offset: int


class LateCommit:
    """A scenario as those of `RareStates`, made of the members of one group."""

    def __init__(self, means: Means, watch: GroupWatch, members: Sequence[GroupMember]) -> None:
        self._means = means
        self._watch = watch
        self._members = members
        self._commit: _Commit | None = None
        """The one that is held up."""
        self._is_awaited = False
        watch.on_commit = self._asked

    async def run(self) -> None:
        """A member's commit is under way until others have committed more, and these are not heard of then.

        Who owns the partition next is told where the group is: it must be what the others have said.
        """
        means, watch = self._means, self._watch
        self._commit, self._is_awaited = None, True
        await means.until(_COMMITS_WITHIN_MS, lambda: self._commit is not None)
        self._is_awaited = False
        commit = self._commit
        if commit is None:
            return
        links = self._links(commit.host)
        await means.until(_TAKEN_OVER_WITHIN_MS, lambda: watch.committed(commit.partition) > commit.offset)
        others = [member.client.process for member in self._members if member.client.process.host != commit.host]
        for process in others:
            process.pause()
        means.unblock(links)
        await means.sleep(means.random.uniform(1, 2) * _LONGER_THAN_SESSIONS_MS)
        for process in others:
            process.resume()

    def resume(self) -> None:
        """All members go on, if the scenario has not come to its end."""
        for member in self._members:
            member.client.process.resume()

    def _asked(self, host: str, partition: int, offset: int) -> None:
        if self._is_awaited and not self._means.is_over:
            self._is_awaited = False
            self._commit = _Commit(host, partition, offset)
            self._means.note(f"a commit of {host} is late: offset {offset} of partition {partition}")
            self._means.block(self._links(host))

    def _links(self, host: str) -> list[tuple[str, str]]:
        return [(host, f"{machine.host}:{BROKER_PORT}") for machine in self._means.machines]
