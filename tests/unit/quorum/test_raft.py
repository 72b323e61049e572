from __future__ import annotations

from collections.abc import Sequence

import pytest

from odradek.metadata.bootstrap import bootstrap_records
from odradek.quorum.formatting import bootstrap_checkpoint
from odradek.quorum.leader import LeaderState
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT, Batch
from odradek.quorum.raft import NodeIdentity, RaftNode, RaftStores
from odradek.quorum.voters import VoterEndpoint, VoterNode, VoterSet
from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.messages.kraft_version_record import KRaftVersionRecord
from odradek.wire.messages.leader_change_message import LeaderChangeMessage
from odradek.wire.messages.voters_record import VotersRecord
from odradek.wire.persistent.metadata.topic_record import TopicRecord
from odradek.wire.records.batch import iter_records
from odradek.wire.records.control import parse_control_message
from odradek.wire.records.header import parse_header
from odradek.wire.schema import Message
from tests.unit.fakes import FakeWorld
from tests.unit.quorum.memory import MemoryElectionState, MemoryRaftLog, MemorySnapshots

DIRECTORY = bytes(range(100, 116))


class Follower:
    """A RaftListener that notes what it hears."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.snapshot: list[str] = []
        self.leaders: list[tuple[int | None, int]] = []
        self.events: list[str] = []

    def load_snapshot(self, records: Sequence[Message], offset: int, epoch: int, timestamp_ms: int) -> None:
        self.snapshot = [record.name for record in records if isinstance(record, TopicRecord)]
        self.events.append(f"snapshot {offset} {epoch}")

    def commit(self, batches: Sequence[Batch]) -> None:
        self.names += [record.name for batch in batches for record in batch.records if isinstance(record, TopicRecord)]
        self.events.append("commit")

    def leader_changed(self, leader_id: int | None, epoch: int) -> None:
        self.leaders.append((leader_id, epoch))
        self.events.append("leader")


class Disk:
    def __init__(self) -> None:
        self.log = MemoryRaftLog()
        self.state = MemoryElectionState()
        self.snapshots = MemorySnapshots()
        checkpoint = bootstrap_checkpoint(identity(), bootstrap_records(), 1, 1_700_000_000_000)
        self.snapshots.write(BOOTSTRAP_SNAPSHOT, checkpoint)

    def start(self, port: int = 9093) -> tuple[RaftNode, Follower]:
        self.fatal: list[BaseException] = []
        stores = RaftStores(self.log, self.state, self.snapshots)
        node = RaftNode(identity(port), stores, FakeWorld(), self.fatal.append)
        follower = Follower()
        node.add_listener(follower)
        node.start()
        return node, follower

    def controls(self) -> list[tuple[int, int, str]]:
        """(offset, epoch, name) of the control records in the log."""
        found = []
        for _base, _end, data in self.log.batches:
            header = parse_header(data)
            if header.is_control:
                for record in iter_records(data):
                    parsed = parse_control_message(record)
                    assert parsed is not None
                    found.append((record.offset, header.leader_epoch, parsed[1].NAME))
        return found


def identity(port: int = 9093) -> NodeIdentity:
    return NodeIdentity(1, DIRECTORY, (VoterEndpoint("CONTROLLER", "localhost", port),))


def topics(*names: str) -> list[tuple[Message, int]]:
    return [(TopicRecord(name=name, topic_id=name.encode().ljust(16)), 0) for name in names]


def test_the_only_voter_leads_the_next_epoch_and_says_so_first() -> None:
    disk = Disk()
    node, follower = disk.start()
    assert (node.epoch, node.leader_id, node.is_leader) == (1, 1, True)
    assert disk.controls() == [
        (0, 1, LeaderChangeMessage.__name__),
        (1, 1, KRaftVersionRecord.__name__),
        (2, 1, VotersRecord.__name__),
    ]
    assert follower.events == ["commit", "leader"]
    assert follower.leaders == [(1, 1)]
    assert node.high_watermark == 3
    node, follower = disk.start()
    assert node.epoch == 2
    assert disk.controls()[3:] == [(3, 2, LeaderChangeMessage.__name__)]


def test_the_epoch_is_durable_before_anything_is_appended_in_it() -> None:
    disk = Disk()
    disk.log.fail_with = OSError("disk gone")
    with pytest.raises(KafkaError):
        disk.start()
    disk.log.fail_with = None
    node, _follower = disk.start()
    assert node.epoch == 2


def test_a_lost_quorum_state_does_not_bring_an_epoch_back() -> None:
    disk = Disk()
    disk.start()
    disk.start()
    disk.state.saved.clear()
    node, _follower = disk.start()
    assert node.epoch == 3


def test_voters_are_written_again_when_this_nodes_endpoint_moved() -> None:
    disk = Disk()
    disk.start()
    node, _follower = disk.start(port=9999)
    assert [name for _offset, epoch, name in disk.controls() if epoch == 2] == [
        LeaderChangeMessage.__name__,
        KRaftVersionRecord.__name__,
        VotersRecord.__name__,
    ]
    assert node.voters.voters[0].endpoints == (VoterEndpoint("CONTROLLER", "localhost", 9999),)


def test_records_are_handed_over_once_they_are_durable_and_never_before() -> None:
    disk = Disk()
    node, follower = disk.start()
    disk.log.hold_flushes = True
    assert node.append(topics("a", "b"), atomic=True) == 4
    assert node.append(topics("c"), atomic=True) == 5
    assert follower.names == []
    assert node.high_watermark == 3
    disk.log.finish_flushes()
    assert follower.names == ["a", "b"]
    assert node.high_watermark == 5
    disk.log.finish_flushes()
    assert follower.names == ["a", "b", "c"]
    assert node.high_watermark == 6


def test_a_crash_loses_what_was_not_handed_over_and_nothing_else() -> None:
    disk = Disk()
    node, follower = disk.start()
    node.append(topics("a"), atomic=True)
    disk.log.hold_flushes = True
    node.append(topics("b"), atomic=True)
    disk.log.crash()
    disk.log.hold_flushes = False
    node, again = disk.start()
    assert follower.names == again.names == ["a"]
    assert again.events == ["commit", "leader"]
    node.append(topics("c"), atomic=True)
    assert again.names == ["a", "c"]


def test_atomic_records_share_a_batch_or_are_refused() -> None:
    disk = Disk()
    node, _follower = disk.start()
    node.append(topics("a", "b", "c"), atomic=True)
    assert disk.log.batches[-1][:2] == (3, 6)
    many = topics(*["x" * 30_000 for _ in range(300)])
    with pytest.raises(KafkaError) as refused:
        node.append(many, atomic=True)
    assert refused.value.code is ErrorCode.POLICY_VIOLATION
    assert node.end_offset == 6
    node.append(many, atomic=False)
    assert node.end_offset == 306
    assert [end - base for base, end, _data in disk.log.batches[-2:]] == [279, 21]


@pytest.mark.parametrize("during", ["append", "flush"])
def test_a_node_whose_disk_fails_appends_no_more_and_says_so(during: str) -> None:
    disk = Disk()
    node, follower = disk.start()
    disk.log.hold_flushes = True
    if during == "flush":
        node.append(topics("a"), atomic=True)
    disk.log.fail_with = OSError("disk gone")
    if during == "flush":
        disk.log.finish_flushes()
    else:
        with pytest.raises(KafkaError) as failed:
            node.append(topics("a"), atomic=True)
        assert failed.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    disk.log.fail_with = None
    assert len(disk.fatal) == 1
    assert follower.names == []
    assert follower.leaders[-1] == (None, 1)
    with pytest.raises(KafkaError) as refused:
        node.append(topics("b"), atomic=True)
    assert refused.value.code is ErrorCode.NOT_CONTROLLER


def test_a_snapshot_stands_for_the_log_below_it() -> None:
    disk = Disk()
    node, _follower = disk.start()
    last = node.append(topics("a", "b"), atomic=True)
    node.store_snapshot(*node.build_snapshot(last, node.epoch, topics("merged"), 77))
    node.append(topics("c"), atomic=True)
    node, again = disk.start()
    assert again.snapshot == ["merged"]
    assert again.names == ["c"]
    assert again.events == ["snapshot 4 1", "commit", "leader"]
    assert node.voters.voters[0].id == 1
    assert disk.controls()[-1][2] == LeaderChangeMessage.__name__


def test_a_damaged_snapshot_costs_a_longer_replay_and_no_state() -> None:
    disk = Disk()
    node, _follower = disk.start()
    last = node.append(topics("a"), atomic=True)
    snapshot_id, data = node.build_snapshot(last, node.epoch, topics("a"), 77)
    disk.snapshots.write(snapshot_id, data[:-20])
    _node, again = disk.start()
    assert again.snapshot == []
    assert again.names == ["a"]


def test_a_damaged_snapshot_that_is_needed_stops_the_start() -> None:
    disk = Disk()
    node, _follower = disk.start()
    last = node.append(topics("a"), atomic=True)
    snapshot_id, data = node.build_snapshot(last, node.epoch, topics("a"), 77)
    disk.snapshots.write(snapshot_id, data[:-20])
    disk.log.batches = disk.log.batches[2:]
    disk.log.start_offset = last + 1
    with pytest.raises((ProtocolError, KafkaError)):
        disk.start()


def test_a_node_that_is_not_the_only_voter_does_not_elect_itself() -> None:
    disk = Disk()
    other = NodeIdentity(2, bytes(range(16)), (VoterEndpoint("CONTROLLER", "elsewhere", 1),))
    disk.snapshots.write(BOOTSTRAP_SNAPSHOT, bootstrap_checkpoint(other, bootstrap_records(), 1, 1))
    node, follower = disk.start()
    assert not node.is_leader
    assert disk.log.batches == []
    assert follower.leaders == []


def test_the_high_watermark_is_what_a_majority_has_of_this_epoch() -> None:
    voters = VoterSet(tuple(VoterNode(number, bytes([number]) * 16, ()) for number in (1, 2, 3)))
    leader = LeaderState(1, epoch=5, epoch_start_offset=10, voters=voters)
    assert not leader.update_end_offset(1, 12)
    assert not leader.update_end_offset(2, 10)
    assert leader.high_watermark == -1
    assert leader.update_end_offset(2, 11)
    assert leader.high_watermark == 11
    assert leader.update_end_offset(3, 12)
    assert leader.high_watermark == 12
    assert not leader.update_end_offset(3, 11)
    assert leader.high_watermark == 12
    assert not leader.update_end_offset(9, 99)
