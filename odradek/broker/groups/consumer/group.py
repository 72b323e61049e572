"""A consumer group: what was replayed, and what follows from it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from odradek.broker.coordinator.timeline import Timeline, TimelineMap
from odradek.broker.groups.consumer.member import (
    NO_PARTITIONS,
    NO_TARGET,
    ConsumerMember,
    Partitions,
    Target,
)
from odradek.broker.groups.consumer.subscriptions import ResolvedRegex, Subscriptions, count_all
from odradek.broker.groups.subscriptions import CONSUMER_PROTOCOL_TYPE
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.uuids import Uuid

NO_EPOCH = -1
NEVER_ASSIGNED_MS = 0
_HEAD = "head"


class ConsumerGroupState(Enum):
    """The values are Kafka's names."""

    EMPTY = "Empty"
    ASSIGNING = "Assigning"
    """The group's epoch has no target yet."""
    RECONCILING = "Reconciling"
    STABLE = "Stable"


class GroupHead(NamedTuple):
    """What a group has once. One that nobody subscribed in has epoch 1, and nothing to assign in it."""

    epoch: int = 1
    metadata_hash: int = 0
    assignment_epoch: int = 1
    assignment_timestamp_ms: int = NEVER_ASSIGNED_MS


class ConsumerGroup:
    """Changed by replay only, but for `refreshed_in_epoch`.

    Members, targets, expressions and the head have a committed view; the rest is reckoned from the latest.
    """

    protocol_type = CONSUMER_PROTOCOL_TYPE

    def __init__(self, group_id: str, timeline: Timeline) -> None:
        self.group_id = group_id
        self.members: TimelineMap[str, ConsumerMember] = TimelineMap(timeline)
        self.targets: TimelineMap[str, Target] = TimelineMap(timeline)
        self.regexes: TimelineMap[str, ResolvedRegex] = TimelineMap(timeline)
        self._head: TimelineMap[str, GroupHead] = TimelineMap(timeline)
        self.static_members: dict[str, str] = {}
        """Member ids by group instance id."""
        self.subscriptions = Subscriptions()
        self.classic_count = 0
        self._classic_protocols: dict[str, int] = {}
        self._holders: dict[Uuid, dict[int, int]] = {}
        self.has_partition_metadata = False
        """Whether the log holds a record of KIP-848's first form, from before the hash."""
        self.refreshed_in_epoch: int | None = None
        """The group's epoch when the hash was last compared with the topics; None if they may have changed since."""

    @property
    def head(self) -> GroupHead:
        """Epochs and hash, the latest."""
        return self._head.get(_HEAD) or GroupHead()

    @property
    def committed_head(self) -> GroupHead:
        """Epochs and hash as of the last committed offset."""
        return self._head.committed(_HEAD) or GroupHead()

    @property
    def is_empty(self) -> bool:
        """Whether it has no members."""
        return not len(self.members)

    @property
    def is_stale(self) -> bool:
        """Whether the hash has to be compared with the topics again."""
        return self.refreshed_in_epoch is None or self.head.epoch < self.refreshed_in_epoch

    def committed_state(self) -> ConsumerGroupState:
        """The state as of the last committed offset."""
        members = self.members.committed_items()
        head = self.committed_head
        if not members:
            return ConsumerGroupState.EMPTY
        if head.epoch > head.assignment_epoch:
            return ConsumerGroupState.ASSIGNING
        if all(member.is_reconciled_to(head.assignment_epoch) for _, member in members):
            return ConsumerGroupState.STABLE
        return ConsumerGroupState.RECONCILING

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether a member reads `topic`, by name or by expression."""
        return topic in self.subscriptions.topics

    def member(self, member_id: str) -> ConsumerMember:
        """The member; raises UNKNOWN_MEMBER_ID."""
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(
                ErrorCode.UNKNOWN_MEMBER_ID, f"Member {member_id} is not a member of group {self.group_id}."
            )
        return member

    def static_member(self, instance_id: str | None) -> ConsumerMember | None:
        """The member with that group instance id, if there is one."""
        member_id = None if instance_id is None else self.static_members.get(instance_id)
        return None if member_id is None else self.members.get(member_id)

    def target(self, member_id: str, instance_id: str | None = None) -> Target:
        """What a member is to have; a static one inherits it from whoever has its instance id."""
        if instance_id is not None:
            member_id = self.static_members.get(instance_id, "")
        return self.targets.get(member_id) or NO_TARGET

    def holding_epoch(self, topic_id: Uuid, partition: int) -> int | None:
        """The epoch of the member that has a partition, or has yet to give it up; None if it is free."""
        return self._holders.get(topic_id, {}).get(partition)

    def supports_classic(self, protocol_type: str, protocols: list[str]) -> bool:
        """Whether a member of the classic protocol could join with these."""
        return protocol_type == CONSUMER_PROTOCOL_TYPE and any(
            self._classic_protocols.get(name, 0) == self.classic_count for name in protocols
        )

    def is_waiting_for_others(self, member: ConsumerMember) -> bool:
        """Whether a partition of the member's target is still held by another one."""
        return any(
            partition not in member.assigned.get(topic_id, {}) and self.holding_epoch(topic_id, partition) is not None
            for topic_id, partitions in self.target(member.member_id).items()
            for partition in partitions
        )

    def replay_member(self, member: ConsumerMember) -> None:
        """A member came or changed."""
        old = self.members.get(member.member_id)
        self.members.set(member.member_id, member)
        self._follow(old, member)

    def replay_member_gone(self, member_id: str) -> None:
        """A member is gone; one that is not there is fine."""
        old = self.members.remove(member_id)
        if old is not None:
            self._follow(old, None)

    def replay_target(self, member_id: str, target: Target | None) -> None:
        """A member is to have other partitions; None for a member that goes."""
        if target is None:
            self.targets.remove(member_id)
        else:
            self.targets.set(member_id, target)

    def replay_regex(self, regex: str, resolved: ResolvedRegex | None) -> None:
        """An expression was resolved; None where nobody uses it any more."""
        old = self.regexes.get(regex)
        if resolved is None:
            self.regexes.remove(regex)
        else:
            self.regexes.set(regex, resolved)
        self.subscriptions.replace_regex(old, resolved)

    def replay_epoch(self, epoch: int, metadata_hash: int) -> None:
        """The group is in another epoch."""
        self._head.set(_HEAD, self.head._replace(epoch=epoch, metadata_hash=metadata_hash))

    def replay_assignment_epoch(self, epoch: int, timestamp_ms: int) -> None:
        """There are targets for another epoch."""
        self._head.set(_HEAD, self.head._replace(assignment_epoch=epoch, assignment_timestamp_ms=timestamp_ms))

    def _follow(self, old: ConsumerMember | None, new: ConsumerMember | None) -> None:
        self.subscriptions.replace_member(old, new)
        if old is not None:
            self._release(old.assigned, old.epoch)
            self._release(old.pending_revocation, old.epoch)
            if old.instance_id is not None and self.static_members.get(old.instance_id) == old.member_id:
                del self.static_members[old.instance_id]
        if new is not None:
            self._hold(new.assigned, new.epoch)
            self._hold(new.pending_revocation, new.epoch)
            if new.instance_id is not None:
                self.static_members[new.instance_id] = new.member_id
        for member, change in ((old, -1), (new, 1)):
            if member is not None and member.classic is not None:
                self.classic_count += change
                count_all(self._classic_protocols, (name for name, _ in member.classic.protocols), change)

    def _hold(self, partitions: Partitions, epoch: int) -> None:
        for topic_id, held in partitions.items():
            holders = self._holders.setdefault(topic_id, {})
            for partition in held:
                holders[partition] = max(epoch, holders.get(partition, epoch))

    def _release(self, partitions: Partitions, epoch: int) -> None:
        """Take a member's hold back, unless another member has taken over in a later epoch meanwhile."""
        for topic_id, held in partitions.items():
            holders = self._holders.get(topic_id, {})
            for partition in held:
                if holders.get(partition) == epoch:
                    del holders[partition]
            if not holders:
                self._holders.pop(topic_id, None)


def without_partitions(member: ConsumerMember) -> ConsumerMember:
    """A member whose assignment was removed from the log; its other record follows."""
    return member._replace(
        epoch=NO_EPOCH, previous_epoch=NO_EPOCH, assigned=NO_PARTITIONS, pending_revocation=NO_PARTITIONS
    )
