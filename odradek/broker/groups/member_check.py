"""Whether a member may commit and fetch offsets of its group, be that a classic or a consumer group."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.classic.state import GroupState
from odradek.broker.groups.consumer.group import ConsumerGroup
from odradek.broker.groups.consumer.member import ConsumerMember
from odradek.broker.groups.table import Group
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.uuids import Uuid

FIRST_COMMIT_WITH_EPOCHS = 9
"""The OffsetCommit from which on members of the consumer protocol may use it."""
FIRST_COMMIT_IN_TRANSACTION_WITH_EPOCHS = 6
"""The TxnOffsetCommit that has STALE_MEMBER_EPOCH; ILLEGAL_GENERATION stands for it in those before."""

PartitionCheck = Callable[[str, Uuid, int], None]
"""(topic name, topic id, partition): raises what forbids to commit just this one."""


class Claim(NamedTuple):
    """Who a commit says it is from: a member with its generation or member epoch, or (-1, "", None) nobody."""

    member_id: str
    group_instance_id: str | None
    epoch: int


def check_commit(group: Group, claim: Claim, *, version: int, is_transactional: bool = False) -> PartitionCheck:
    """Raise what forbids a member to commit offsets at all; returns what has to be asked of each partition.

    `version` is that of the request: OffsetCommit, or TxnOffsetCommit, which may also come from a producer that knows
    nothing of members, and while a classic group rebalances. Raises UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID,
    ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, STALE_MEMBER_EPOCH or UNSUPPORTED_VERSION; the returned check raises
    ILLEGAL_GENERATION or STALE_MEMBER_EPOCH.
    """
    if isinstance(group, ClassicGroup):
        _check_classic_commit(group, claim, is_transactional)
        return _anything_goes
    return _check_consumer_commit(group, claim, version, is_transactional)


def check_fetch(group: Group, member_id: str | None, epoch: int, *, latest: bool) -> None:
    """Raise UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION or STALE_MEMBER_EPOCH for a member that may not fetch offsets.

    Only members of consumer groups say who they are (OffsetFetch from version 9 on). `latest` asks for the newest
    state rather than the committed one.
    """
    if isinstance(group, ClassicGroup) or (member_id is None and epoch < 0):
        return
    name = member_id or ""
    member = group.members.get(name) if latest else group.members.committed(name)
    if member is None:
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
    if epoch != member.epoch:
        raise KafkaError(_stale(member))


def _check_classic_commit(group: ClassicGroup, claim: Claim, is_transactional: bool) -> None:
    if claim.epoch < 0 and group.is_empty:
        return
    if claim.epoch < 0 and not claim.member_id and claim.group_instance_id is None:
        if not is_transactional:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        return
    group.check_member(claim.member_id, claim.group_instance_id)
    if claim.epoch != group.generation:
        raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
    if not is_transactional and group.state is GroupState.COMPLETING_REBALANCE:
        raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)


def _check_consumer_commit(group: ConsumerGroup, claim: Claim, version: int, is_transactional: bool) -> PartitionCheck:
    if claim.epoch < 0 and group.is_empty:
        return _anything_goes
    if is_transactional and claim == Claim("", None, -1):
        return _anything_goes
    member = group.member(claim.member_id)
    if not is_transactional and member.classic is None and version < FIRST_COMMIT_WITH_EPOCHS:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)
    if claim.epoch == member.epoch:
        return _anything_goes
    has_no_name = is_transactional and version < FIRST_COMMIT_IN_TRANSACTION_WITH_EPOCHS
    stale = ErrorCode.ILLEGAL_GENERATION if has_no_name else _stale(member)
    if claim.epoch > member.epoch:
        raise KafkaError(stale)

    def held_since(_topic: str, topic_id: Uuid, partition: int) -> None:
        """An old epoch is good for what the member has had since then (KIP-1251)."""
        since = member.holding_epoch(topic_id, partition)
        if since is None or claim.epoch < since:
            raise KafkaError(stale)

    return held_since


def _stale(member: ConsumerMember) -> ErrorCode:
    return ErrorCode.STALE_MEMBER_EPOCH if member.classic is None else ErrorCode.ILLEGAL_GENERATION


def _anything_goes(_topic: str, _topic_id: Uuid, _partition: int) -> None:
    """Nothing forbids any partition."""
