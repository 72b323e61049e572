"""How the metadata log gets from its leader to the others (KIP-595, KIP-630)."""

from __future__ import annotations

import pytest

from odradek.quorum.epochs import EpochEnd, EpochHistory
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT, SnapshotId
from odradek.quorum.retention import Retention
from odradek.quorum.roles import Follower
from odradek.quorum.settings import QuorumSettings
from odradek.wire.errors import ErrorCode
from odradek.wire.messages import fetch_snapshot as snapshots
from odradek.wire.messages.fetch import (
    EpochEndOffset,
    FetchRequest,
    FetchTopic,
    PartitionData,
)
from odradek.wire.messages.fetch import SnapshotId as FetchSnapshotId
from tests.unit.quorum.memory import MemorySnapshots
from tests.unit.quorum.scene import CLUSTER_ID, LISTENER, TOPIC, TOPIC_ID, Scene, directory, topics


def snapshot_request(
    snapshot_id: SnapshotId, position: int = 0, *, epoch: int = 1, max_bytes: int = 1 << 20, topic: str = TOPIC
) -> snapshots.FetchSnapshotRequest:
    partition = snapshots.FetchSnapshotRequestPartitionSnapshot(
        partition=0, current_leader_epoch=epoch, position=position,
        snapshot_id=snapshots.FetchSnapshotRequestSnapshotId(end_offset=snapshot_id.offset, epoch=snapshot_id.epoch),
    )  # fmt: skip
    return snapshots.FetchSnapshotRequest(
        cluster_id=CLUSTER_ID, replica_id=2, max_bytes=max_bytes,
        topics=[snapshots.FetchSnapshotRequestTopicSnapshot(name=topic, partitions=[partition])],
    )  # fmt: skip


# What a leader answers


def test_what_a_majority_has_on_the_disk_is_committed_and_nothing_else() -> None:
    scene = Scene()
    scene.lead()
    scene.log.hold_flushes = True
    scene.raft.append(topics("a"), atomic=True)
    scene.fetched(2, 4, 1)
    assert scene.listener.names == []
    scene.log.finish_flushes()
    assert scene.listener.names == ["a"]
    scene.log.hold_flushes = False
    scene.raft.append(topics("b"), atomic=True)
    assert scene.listener.names == ["a"]
    scene.fetched(4, 5, 1)
    assert scene.listener.names == ["a"], "an observer does not count"
    scene.fetched(2, 5, 1, key=directory(9))
    assert scene.listener.names == ["a"], "nor does another directory"
    scene.fetched(3, 5, 1)
    assert scene.listener.names == ["a", "b"]


def test_a_record_of_an_older_epoch_is_committed_by_one_of_this_epoch_only() -> None:
    """Raft's figure 8."""
    scene = Scene()
    scene.elect()
    scene.restart()
    scene.world.advance(2 * scene.settings.election_timeout_ms)
    scene.answer_votes(granted=True, pre=True)
    scene.answer_votes(granted=True, pre=False)
    start = scene.raft.leader.epoch_start_offset if scene.raft.leader else 0
    assert (start, scene.raft.epoch) == (3, 3)
    scene.fetched(2, 3, 1)
    assert scene.raft.high_watermark == -1
    scene.fetched(2, 4, 3)
    assert scene.raft.high_watermark == 4


def test_a_fetch_waits_for_records_or_a_high_watermark_that_the_replica_does_not_know() -> None:
    scene = Scene()
    scene.lead()
    waiting = scene.fetch(2, 3, 1, wait_ms=500, known=3)
    assert not waiting.done
    scene.raft.append(topics("a"), atomic=True)
    assert waiting.result().responses[0].partitions[0].records
    told = scene.fetch(2, 4, 1, wait_ms=500, known=3)
    assert told.result().responses[0].partitions[0].high_watermark == 4
    idle = scene.fetch(2, 4, 1, wait_ms=500, known=4)
    scene.world.advance(499)
    assert not idle.done
    scene.world.advance(1)
    assert idle.result().responses[0].partitions[0].error_code == 0


def test_fetches_that_wait_hear_that_the_leader_resigns() -> None:
    scene = Scene()
    scene.lead()
    waiting = scene.fetch(2, 3, 1, wait_ms=500, known=3)
    scene.raft.resign(1)
    answer = waiting.result()
    assert answer.responses[0].partitions[0].error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert answer.responses[0].partitions[0].current_leader.leader_epoch == 1


def test_a_log_that_parts_is_told_where() -> None:
    scene = Scene()
    scene.lead()
    assert scene.fetched(2, 3, 1).diverging_epoch.epoch == -1
    assert scene.fetched(2, 9, 1).diverging_epoch == EpochEndOffset(epoch=1, end_offset=3)
    assert scene.fetched(2, 2, 0).diverging_epoch == EpochEndOffset(epoch=0, end_offset=0)


def test_a_fetch_says_why_it_is_refused_and_who_leads() -> None:
    scene = Scene()
    scene.lead()
    assert scene.fetched(2, 3, 1, epoch=0).error_code == ErrorCode.FENCED_LEADER_EPOCH
    assert scene.fetched(2, 3, 1, epoch=2).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
    assert scene.fetched(2, -1, 1).error_code == ErrorCode.INVALID_REQUEST
    answer = scene.fetch(2, 3, 1).result()
    assert [(at.node_id, at.host, at.port) for at in answer.node_endpoints] == [(1, "n1", 9093)]
    serving = scene.raft.serving
    assert serving.fetch(FetchRequest(cluster_id="x"), LISTENER).result().error_code == (
        ErrorCode.INCONSISTENT_CLUSTER_ID
    )
    for some in ([], [FetchTopic(topic=TOPIC, topic_id=TOPIC_ID)], [FetchTopic(topic="other")]):
        assert serving.fetch(FetchRequest(topics=some), LISTENER).result().error_code == ErrorCode.INVALID_REQUEST
    scene.begin(2, 2)
    assert scene.fetched(3, 3, 1).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


def snapshotted(scene: Scene) -> SnapshotId:
    """Make what is committed a snapshot, behind which the log begins."""
    scene.lead()
    for name in ("a", "b"):
        scene.raft.append(topics(name), atomic=True)
    scene.fetched(2, 5, 1)
    snapshot_id, data = scene.raft.build_snapshot(4, 1, topics("a", "b"), 5)
    scene.raft.store_snapshot(snapshot_id, data)
    Retention(scene.raft._replica, QuorumSettings(retention_bytes=1)).clean(0)
    assert scene.log.start_offset == 5
    return snapshot_id


def test_who_is_behind_the_logs_start_is_told_of_a_snapshot_and_gets_it_in_pieces() -> None:
    scene = Scene()
    snapshot_id = snapshotted(scene)
    for offset, epoch in ((0, 0), (4, 1), (5, 0)):
        found = scene.fetched(2, offset, epoch).snapshot_id
        assert (found.end_offset, found.epoch) == snapshot_id
    assert scene.fetched(2, 5, 1).snapshot_id.epoch == -1
    data = b""
    while True:
        answer = scene.raft.serving.fetch_snapshot(snapshot_request(snapshot_id, len(data), max_bytes=100), LISTENER)
        piece = answer.topics[0].partitions[0]
        assert piece.error_code == 0
        assert piece.position == len(data)
        data += bytes(piece.unaligned_records)  # type: ignore[arg-type]
        if len(data) == piece.size:
            break
    assert data == scene.snapshots.files[snapshot_id]


def test_a_request_for_a_snapshot_says_why_it_is_refused() -> None:
    scene = Scene()
    snapshot_id = snapshotted(scene)

    def error(request: snapshots.FetchSnapshotRequest) -> int:
        return scene.raft.serving.fetch_snapshot(request, LISTENER).topics[0].partitions[0].error_code

    size = len(scene.snapshots.files[snapshot_id])
    assert error(snapshot_request(snapshot_id, size)) == ErrorCode.POSITION_OUT_OF_RANGE
    assert error(snapshot_request(snapshot_id, -1)) == ErrorCode.POSITION_OUT_OF_RANGE
    assert error(snapshot_request(SnapshotId(4, 1))) == ErrorCode.SNAPSHOT_NOT_FOUND
    assert error(snapshot_request(SnapshotId(0, 0))) == ErrorCode.SNAPSHOT_NOT_FOUND
    assert error(snapshot_request(snapshot_id, epoch=0)) == ErrorCode.FENCED_LEADER_EPOCH
    assert error(snapshot_request(snapshot_id, topic="other")) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_request_for_no_snapshot_at_all_is_refused() -> None:
    """CVE-2026-83525."""
    scene = Scene()
    scene.lead()
    no_partitions = [snapshots.FetchSnapshotRequestTopicSnapshot(name=TOPIC)]
    for request in (snapshots.FetchSnapshotRequest(), snapshots.FetchSnapshotRequest(topics=no_partitions)):
        assert scene.raft.serving.fetch_snapshot(request, LISTENER).error_code == ErrorCode.INVALID_REQUEST


# What a follower does


def leaders_batches(*names: str) -> bytes:
    """What a leader of epoch 1 would send."""
    other = Scene(2)
    other.lead(1)
    other.raft.append(topics(*names), atomic=True)
    return other.log.read(0, 1 << 20)


def test_a_follower_fetches_on_only_when_what_it_has_is_on_the_disk() -> None:
    scene = Scene()
    scene.begin(2, 1)
    scene.log.hold_flushes = True
    scene.answer_fetch(2, 1, PartitionData(high_watermark=0, records=leaders_batches("a")))
    assert scene.raft.end_offset == 4
    assert scene.wire.take(FetchRequest) == []
    scene.log.finish_flushes()
    [(host, request, _answer)] = scene.wire.take(FetchRequest)
    partition = request.topics[0].partitions[0]
    assert (host, partition.fetch_offset, partition.last_fetched_epoch) == ("n2", 4, 1)


def test_a_follower_hands_over_what_the_leader_says_is_committed() -> None:
    scene = Scene()
    scene.begin(2, 1)
    assert scene.listener.leaders == [(2, 1)]
    scene.answer_fetch(2, 1, PartitionData(high_watermark=3, records=leaders_batches("a")))
    assert scene.listener.names == []
    scene.answer_fetch(2, 1, PartitionData(high_watermark=99))
    assert scene.listener.names == ["a"]
    assert scene.raft.high_watermark == 4


def test_a_follower_cuts_what_the_leader_does_not_have_and_its_voters_with_it() -> None:
    scene = Scene()
    scene.elect()
    scene.raft.append(topics("lost"), atomic=True)
    assert scene.raft.end_offset == 4
    scene.begin(2, 2)
    scene.answer_fetch(2, 2, PartitionData(diverging_epoch=EpochEndOffset(epoch=0, end_offset=0)))
    assert scene.raft.end_offset == 0
    assert scene.raft.voters.ids == (1, 2, 3)
    scene.answer_fetch(2, 2, PartitionData(high_watermark=4, records=leaders_batches("kept")))
    assert scene.listener.names == ["kept"]


def test_what_is_committed_is_never_cut() -> None:
    scene = Scene()
    scene.begin(2, 1)
    scene.answer_fetch(2, 1, PartitionData(high_watermark=4, records=leaders_batches("a")))
    scene.answer_fetch(2, 1, PartitionData(diverging_epoch=EpochEndOffset(epoch=1, end_offset=2)))
    assert scene.raft.end_offset == 4


@pytest.mark.parametrize("damage", [0, 60])
def test_batches_that_cannot_be_are_not_appended(damage: int) -> None:
    """Another offset than the next one, or a checksum that is wrong."""
    scene = Scene()
    scene.begin(2, 1)
    data = bytearray(leaders_batches("a"))
    data[damage + 7 if damage == 0 else damage] ^= 1
    scene.answer_fetch(2, 1, PartitionData(high_watermark=4, records=bytes(data)))
    assert scene.raft.end_offset == 0
    assert scene.listener.names == []


def test_a_follower_begins_anew_behind_a_snapshot() -> None:
    leader = Scene(2)
    leader.lead(1)
    leader.raft.append(topics("a"), atomic=True)
    leader.fetched(1, 4, 1)
    snapshot_id, data = leader.raft.build_snapshot(3, 1, topics("a"), 5)
    scene = Scene()
    scene.begin(2, 1)
    told = FetchSnapshotId(end_offset=snapshot_id.offset, epoch=snapshot_id.epoch)
    scene.answer_fetch(2, 1, PartitionData(snapshot_id=told))
    for start, end in ((0, 50), (50, len(data))):
        [(host, request, answer)] = scene.wire.take(snapshots.FetchSnapshotRequest)
        assert (host, request.topics[0].partitions[0].position) == ("n2", start)
        piece = snapshots.FetchSnapshotResponsePartitionSnapshot(
            index=0, size=len(data), position=start, unaligned_records=data[start:end],
            snapshot_id=snapshots.FetchSnapshotResponseSnapshotId(end_offset=4, epoch=1),
            current_leader=snapshots.LeaderIdAndEpoch(leader_id=2, leader_epoch=1),
        )  # fmt: skip
        answer.resolve(
            snapshots.FetchSnapshotResponse(
                topics=[snapshots.FetchSnapshotResponseTopicSnapshot(name=TOPIC, partitions=[piece])]
            )
        )
    assert (scene.listener.snapshots, scene.listener.names) == ([3], ["a"])
    assert (scene.log.start_offset, scene.raft.end_offset, scene.raft.high_watermark) == (4, 4, 4)
    [(_host, fetch, _answer)] = scene.wire.take(FetchRequest)
    assert (fetch.topics[0].partitions[0].fetch_offset, fetch.topics[0].partitions[0].last_fetched_epoch) == (4, 1)
    scene.restart()
    assert (scene.listener.names, scene.raft.end_offset) == (["a"], 4)


def test_an_observer_asks_the_bootstrap_servers_who_leads_and_then_the_leader() -> None:
    scene = Scene(4, voters=())
    scene.snapshots.files.clear()
    scene.restart()
    [(host, _request, asked)] = scene.wire.take(FetchRequest)
    assert host == "boot"
    leader = Scene(2)
    leader.lead(1)
    told = leader.fetch(4, 0, 0, epoch=0)
    assert told.result().responses[0].partitions[0].error_code == ErrorCode.FENCED_LEADER_EPOCH
    asked.resolve(told.result())
    assert isinstance(scene.raft.role, Follower)
    assert scene.raft.leader_endpoint(LISTENER) == ("n2", 9093)
    assert scene.wire.take(FetchRequest)[-1][0] == "n2"
    scene.world.advance(60_000)
    assert scene.raft.epoch == 1, "an observer calls no election"


def test_epochs_know_where_they_end() -> None:
    history = EpochHistory()
    assert history.end_of(5, 0) == EpochEnd(0, 0)
    for epoch, offset in ((1, 0), (1, 3), (4, 7), (6, 9)):
        history.note(epoch, offset)
    assert [history.end_of(epoch, 20) for epoch in (0, 1, 3, 4, 5, 6, 9)] == [
        (0, 0), (1, 7), (1, 7), (4, 9), (4, 9), (6, 20), (6, 20),
    ]  # fmt: skip
    history.truncate_to(9)
    assert history.last_epoch == 4
    history.delete_before(8)
    assert (history.base, history.end_of(3, 12), history.last_epoch) == ((4, 8), (4, 8), 4)
    history.delete_before(8)
    history.note(9, 12)
    history.delete_before(12)
    assert (history.base, history.end_of(9, 15)) == ((4, 12), (9, 15))
    history.restart(9, 30)
    assert (history.last_epoch, history.end_of(9, 30)) == (9, (9, 30))


class CountingSnapshots(MemorySnapshots):
    """Counts how often it is asked."""

    asked = 0

    def size_bytes(self, snapshot_id: SnapshotId) -> int:
        self.asked += 1
        return super().size_bytes(snapshot_id)

    def read(self, snapshot_id: SnapshotId) -> bytes:
        self.asked += 1
        return super().read(snapshot_id)

    def list(self) -> list[SnapshotId]:
        self.asked += 1
        return super().list()


def test_snapshots_and_the_log_before_them_go_by_age_and_an_idle_node_touches_no_disk() -> None:
    """KIP-630's retention: the newest snapshot stays, however old."""
    scene = Scene(voters=(1,), settings=QuorumSettings(retention_ms=1000, retention_bytes=1 << 30))
    counting = CountingSnapshots()
    counting.files = scene.snapshots.files
    scene.snapshots = counting
    scene.restart()
    for number in range(3):
        last = scene.raft.append(topics(f"t{number}"), atomic=True)
        snapshot = scene.raft.build_snapshot(last, scene.raft.epoch, topics("all"), scene.world.now_ms())
        scene.raft.store_snapshot(*snapshot)
    scene.world.advance(59_000)
    assert scene.log.start_offset == 0
    scene.world.advance(1_000)
    assert list(counting.files) == [BOOTSTRAP_SNAPSHOT, snapshot[0]]
    assert scene.log.start_offset == snapshot[0].offset
    counting.asked = 0
    scene.world.advance(600_000)
    assert counting.asked == 0
