"""The mistakes that `tests.sim.cluster.mutations` puts into the code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from odradek.broker.coordinator import loader
from odradek.broker.coordinator.result import CoordinatorResult
from odradek.broker.groups import member_check
from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.classic.sync import Syncing
from odradek.broker.groups.offset_commit import OffsetCommits
from odradek.broker.groups.offset_store import OffsetStore
from odradek.broker.groups.records import group_record
from odradek.broker.replication.followed_logs import FollowedLogs
from odradek.broker.replication.leadership import IsrProposal, Leadership
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Partition
from odradek.controller import alter_partition, brokers, leadership
from odradek.controller.partition_change import PartitionChange
from odradek.metadata import snapshot
from odradek.node.metadata_log import MetadataLog
from odradek.ports import Promise
from odradek.quorum.files import ElectionStateFile
from odradek.quorum.leader import LeaderState
from odradek.quorum.replica import Replica
from odradek.quorum.state import QuorumState
from odradek.storage import batches, log, log_loader, recovery
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.sync_group import SyncGroupRequest

Patches = Iterable[tuple[object, str, object]]
"""(object, attribute, what is there instead), all of them at once."""


class Mutation(NamedTuple):
    """A mistake, and in a cluster of how many nodes it shows."""

    name: str
    nodes: int
    patches: Callable[[], Patches]
    simulation: str = "cluster"
    """Which of the simulations has to catch it; `nodes` says nothing for the others."""


def _one(target: object, attribute: str, replacement: object) -> Callable[[], Patches]:
    return lambda: [(target, attribute, replacement)]


def _recovery_cuts_too_much(*arguments: object) -> Iterator[object]:
    before = None
    for found in _SCAN(*arguments):  # type: ignore[arg-type] # handed on
        if before is not None:
            yield before
        before = found


def _loaded_as_clean(self: log_loader._Loader, high_watermark: int, _is_clean: bool) -> object:
    return _LOAD(self, high_watermark, is_clean=True)


def _expanded_early(
    self: Leadership, follower: object, high_watermark: int, leader_epoch: int, partition_epoch: int
) -> IsrProposal | None:
    self.epoch_start_offset = -1
    follower_end = follower.log_end_offset  # type: ignore[attr-defined] # a FollowerProgress
    return _EXPANSION(self, follower, min(high_watermark, follower_end), leader_epoch, partition_epoch)  # type: ignore[arg-type] # see above


def _shrunk_at_once(self: Leadership, log_end_offset: int, leader_epoch: int, partition_epoch: int) -> object:
    proposal = _SHRINKING(self, log_end_offset, leader_epoch, partition_epoch)
    if proposal is not None:
        self.maximal_isr = proposal.isr
    return proposal


def _commits_alone(self: LeaderState) -> bool:
    end_offset = max((voter.end_offset for voter in self.voters.values()), default=-1)
    if end_offset <= max(self.epoch_start_offset, self.high_watermark):
        return False
    self.high_watermark = end_offset
    return True


def _always_votes(
    self: QuorumState, _voter_id: int, _directory_id: bytes, *, is_up_to_date: bool, is_pre_vote: bool
) -> bool:
    return is_up_to_date and not isinstance(self.role, LeaderState)


def _votes_for_anybody(
    self: QuorumState, voter_id: int, directory_id: bytes, *, is_up_to_date: bool, is_pre_vote: bool
) -> bool:
    return _CAN_VOTE(self, voter_id, directory_id, is_up_to_date=True, is_pre_vote=is_pre_vote)


def _ended_committed(self: OffsetStore, producer_id: int, *, committed: bool) -> None:
    _END_OF_TRANSACTION(self, producer_id, committed=True)


def _reassigned_at_once(self: PartitionChange) -> None:
    if self.adding or self.removing:
        self.replicas = [replica for replica in self.replicas if replica not in self.removing]
        self.isr, self.adding, self.removing = list(self.replicas), [], []


def _assigned_at_once(self: Syncing, group: ClassicGroup, request: SyncGroupRequest) -> CoordinatorResult[None]:
    assignments = dict.fromkeys(group.members, b"")
    assignments.update({entry.member_id: entry.assignment for entry in request.assignments})
    self._rebalances.assign(group, assignments)
    return CoordinatorResult((group_record(group, assignments),), None, replay=False)


_END_OF_TRANSACTION = OffsetStore.replay_end_of_transaction
_SCAN = batches.scan_valid
_LOAD = log_loader._Loader.load
_EXPANSION = Leadership.expansion
_SHRINKING = Leadership.shrinking
_CAN_VOTE = QuorumState.can_vote_for

MUTATIONS = (
    Mutation("one node: acknowledged before the flush that was asked for", 1,
             _one(log.Log, "flush", lambda _self: None)),
    Mutation("one node: metadata committed before it is on the disk", 1,
             _one(MetadataLog, "flush", lambda self: Promise.of(self.end_offset))),
    Mutation("one node: sequences of producers not checked", 1, _one(log, "check_leader_append", lambda *_all: None)),
    Mutation("one node: recovery drops the last batch", 1, _one(recovery, "scan_valid", _recovery_cuts_too_much)),
    Mutation("one node: no recovery after a crash", 1, _one(log_loader._Loader, "load", _loaded_as_clean)),
    Mutation("one node: no topics in snapshots of the metadata", 1, _one(snapshot, "_topics", lambda *_all: iter(()))),
    Mutation("recovery takes batches whose checksum is wrong", 3,
             _one(recovery, "scan_valid", partial(batches.scan_valid, checks_crc=False))),
    Mutation("acknowledged before the ISR has it", 3, _one(Partition, "has_committed", lambda *_all: True)),
    Mutation("high watermark from the leader alone", 3,
             _one(Leadership, "replicated_offset", lambda _self, log_end_offset: log_end_offset)),
    Mutation("ISR expanded before the follower has all", 3, _one(Leadership, "expansion", _expanded_early)),
    Mutation("ISR counts as shrunk before the controller says so", 3, _one(Leadership, "shrinking", _shrunk_at_once)),
    Mutation("min.insync.replicas does not hold the high watermark back", 3,
             _one(Partition, "_min_isr", lambda _self, _log: 1)),
    Mutation("followers do not truncate", 3, _one(FollowedLogs, "truncate", lambda *_all: None)),
    Mutation("followers truncate to their high watermark", 3,
             _one(FollowedLogs, "truncate_to_leader",
                  lambda self, name, _epoch, _end: self.truncate(name, self.log(name).high_watermark))),
    Mutation("leader epochs of fetches not checked", 3, _one(Partition, "check_epoch", lambda *_all: None)),
    Mutation("consumers read past the high watermark", 3,
             _one(Partition, "readable_end", lambda self, _isolation: self.local_log().log_end_offset)),
    Mutation("any replica may be elected", 3,
             _one(PartitionChange, "_is_valid", lambda self, replica: self._rules.is_acceptable_leader(replica))),
    Mutation("AlterPartition taken whatever its epochs", 3,
             _one(alter_partition, "_problem", lambda *_all: ErrorCode.NONE)),
    Mutation("a broker that lost data stays in the ISR", 3,
             _one(brokers, "broker_lost_data", leadership.broker_left)),
    Mutation("votes not persisted", 3, _one(ElectionStateFile, "save", lambda *_all: None)),
    Mutation("several votes in one epoch", 3, _one(QuorumState, "can_vote_for", _always_votes)),
    Mutation("votes for those whose log is shorter", 3, _one(QuorumState, "can_vote_for", _votes_for_anybody)),
    Mutation("metadata committed by the leader alone", 3, _one(LeaderState, "update_high_watermark", _commits_alone)),
    Mutation("metadata not truncated to the leader's", 3,
             _one(Replica, "truncate_to_common", lambda self, _leaders: self.log.end_offset)),
    Mutation("metadata acknowledged before it is on the disk", 3,
             _one(MetadataLog, "flush", lambda self: Promise.of(self.end_offset))),
    Mutation("a reassignment ends before the new replicas are in sync", 3,
             _one(PartitionChange, "_complete_reassignment", _reassigned_at_once)),
    Mutation("replicas of deleted topics stay", 3, _one(ReplicaManager, "_delete", lambda _self, _topics: None)),
    Mutation("offsets of aborted transactions count", 3,
             _one(OffsetStore, "replay_end_of_transaction", _ended_committed)),
    Mutation("commits of members that are no more are taken", 3,
             _one(OffsetCommits, "_check", lambda *_all: None)),
    Mutation("coordinators do not load what was committed", 3, _one(loader, "replay_batch", lambda *_all: ())),
    Mutation("classic groups: commits of earlier generations are taken", 3,
             _one(member_check, "_check_classic_commit", lambda *_all: None)),
    Mutation("classic groups: assigned before it is written down", 3, _one(Syncing, "_store", _assigned_at_once)),
)  # fmt: skip
