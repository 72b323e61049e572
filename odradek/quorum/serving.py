"""What the leader answers to Fetch and FetchSnapshot of the metadata log (KIP-595, KIP-630)."""

from __future__ import annotations

from collections.abc import Callable

from odradek.ports import Promise, TimerHandle
from odradek.quorum.batches import MAX_BATCH_BYTES
from odradek.quorum.epochs import EpochEnd
from odradek.quorum.leader import LeaderState
from odradek.quorum.leading import Leading
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT, SnapshotId
from odradek.quorum.messages import TOPIC, TOPIC_ID, Answers
from odradek.quorum.settings import RaftCluster
from odradek.quorum.state import QuorumState
from odradek.wire.errors import ErrorCode
from odradek.wire.messages import fetch_snapshot as snapshots
from odradek.wire.messages.fetch import (
    EpochEndOffset,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    PartitionData,
)
from odradek.wire.messages.fetch import SnapshotId as FetchSnapshotId

NO_HIGH_WATERMARK = -1
NO_REPLICA = -1


class Serving:
    """Answers at once, or, where there is nothing new, when there is or the time is up."""

    def __init__(
        self, state: QuorumState, leading: Leading, answers: Answers, cluster: RaftCluster | None, cluster_id: str
    ) -> None:
        self._state = state
        self._leading = leading
        self._answers = answers
        self._cluster = cluster
        self._cluster_id = cluster_id
        self._waiting: dict[int, Callable[[], None]] = {}
        self._next_waiting = 0
        self._held: tuple[SnapshotId, bytes] | None = None
        """The snapshot that is being served: chunk after chunk comes from one file."""

    def refusal(self, epoch: int) -> ErrorCode | None:
        """Why this node does not answer as the leader of `epoch`."""
        if epoch < self._state.epoch:
            return ErrorCode.FENCED_LEADER_EPOCH
        if epoch > self._state.epoch:
            return ErrorCode.UNKNOWN_LEADER_EPOCH
        return None if self._leading.leader is not None else ErrorCode.NOT_LEADER_OR_FOLLOWER

    # Fetch

    def fetch(self, request: FetchRequest, listener: str) -> Promise[FetchResponse]:
        """Batches from an offset on; where the logs part; or which snapshot to take."""
        if request.cluster_id is not None and request.cluster_id != self._cluster_id:
            return Promise.of(FetchResponse(error_code=ErrorCode.INCONSISTENT_CLUSTER_ID))
        asked = _only_partition(request)
        if asked is None:
            return Promise.of(FetchResponse(error_code=ErrorCode.INVALID_REQUEST))
        if min(request.max_wait_ms, asked.fetch_offset, asked.last_fetched_epoch, asked.current_leader_epoch) < 0:
            return Promise.of(self._failed(ErrorCode.INVALID_REQUEST, listener))
        replica_id = request.replica_state.replica_id
        if replica_id == NO_REPLICA:
            replica_id = request.replica_id
        result, is_final = self._read(request, asked, replica_id, listener)
        if is_final or request.max_wait_ms == 0 or self._cluster is None:
            return Promise.of(result)
        return self._wait(request, asked, listener)

    def _wait(self, request: FetchRequest, asked: FetchPartition, listener: str) -> Promise[FetchResponse]:
        promise: Promise[FetchResponse] = Promise()
        number, self._next_waiting = self._next_waiting, self._next_waiting + 1
        timer: TimerHandle | None = None

        def finish(response: FetchResponse) -> None:
            self._waiting.pop(number, None)
            if timer is not None:
                timer.cancel()
            promise.resolve(response)

        def again() -> None:
            response, is_final = self._read(request, asked, NO_REPLICA, listener)
            if is_final:
                finish(response)

        def time_up() -> None:
            finish(self._read(request, asked, NO_REPLICA, listener)[0])

        self._waiting[number] = again
        if self._cluster is not None:
            timer = self._cluster.scheduler.call_later(request.max_wait_ms, time_up)
        promise.on_abandoned(lambda: finish(self._failed(ErrorCode.REQUEST_TIMED_OUT, listener)))
        return promise

    def moved(self) -> None:
        """The log, the high watermark or the role has moved: look at what waits."""
        for again in list(self._waiting.values()):
            again()

    def _read(
        self, request: FetchRequest, asked: FetchPartition, replica_id: int, listener: str
    ) -> tuple[FetchResponse, bool]:
        """An answer as of now, and whether it says anything; with a `replica_id`, that replica is heard of now."""
        error = self.refusal(asked.current_leader_epoch)
        leader = self._leading.leader
        if error is not None or leader is None:
            return self._failed(error or ErrorCode.NOT_LEADER_OR_FOLLOWER, listener), True
        replica = self._state.replica
        partition = PartitionData(partition_index=0, log_start_offset=replica.log.start_offset)
        place = self._place(asked.fetch_offset, asked.last_fetched_epoch)
        if isinstance(place, SnapshotId):
            partition.snapshot_id = FetchSnapshotId(end_offset=place.offset, epoch=place.epoch)
        elif place is not None:
            partition.diverging_epoch = EpochEndOffset(epoch=place.epoch, end_offset=place.end_offset)
        else:
            self._fetched(leader, replica_id, asked)
            if self._leading.leader is not leader:
                return self._failed(ErrorCode.NOT_LEADER_OR_FOLLOWER, listener), True
            if asked.fetch_offset < replica.end_offset:
                max_bytes = min(request.max_bytes, self._fetch_max_bytes())
                partition.records = replica.log.read(asked.fetch_offset, max(0, max_bytes))
        partition.high_watermark = leader.high_watermark
        is_final = place is not None or bool(partition.records) or asked.high_watermark < leader.high_watermark
        return self._answers.fetch(partition, listener), is_final

    def _fetch_max_bytes(self) -> int:
        return self._state.settings.fetch_max_bytes or MAX_BATCH_BYTES

    def _failed(self, error: ErrorCode, listener: str) -> FetchResponse:
        start_offset = self._state.replica.log.start_offset
        partition = PartitionData(
            partition_index=0, error_code=error, high_watermark=NO_HIGH_WATERMARK, log_start_offset=start_offset
        )
        return self._answers.fetch(partition, listener)

    def _fetched(self, leader: LeaderState, replica_id: int, asked: FetchPartition) -> None:
        """A replica holds everything up to where it fetches on."""
        if replica_id < 0 or replica_id == self._state.identity.node_id:
            return
        now_ms = self._state.clock.now_ms()
        leader.forget_stale_observers(now_ms)
        progress = leader.progress_of(replica_id, asked.replica_directory_id)
        progress.fetched(asked.fetch_offset, self._state.replica.end_offset, now_ms)
        self._leading.heard_from(leader, replica_id, asked.replica_directory_id)
        if leader.update_high_watermark():
            self._leading.advanced(leader)

    def _place(self, offset: int, epoch: int) -> EpochEnd | SnapshotId | None:
        """None if a log that ends at `offset` with a record of `epoch` is a prefix of this one; else where it parts."""
        replica = self._state.replica
        latest = replica.latest_snapshot()
        if latest is not None and latest != BOOTSTRAP_SNAPSHOT and offset == 0:
            return latest
        start_offset = replica.log.start_offset
        if start_offset == 0 and offset == 0 and epoch == 0:
            return None
        first = replica.first_snapshot()
        if first is not None and latest is not None:
            is_other = offset == first.offset and epoch != first.epoch
            if offset < first.offset or is_other or epoch < first.epoch:
                return latest
        end = replica.epochs.end_of(epoch, replica.end_offset)
        return None if end.epoch == epoch and offset <= end.end_offset else end

    # FetchSnapshot

    def fetch_snapshot(self, request: snapshots.FetchSnapshotRequest, listener: str) -> snapshots.FetchSnapshotResponse:
        """A piece of a snapshot. A request for anything but one partition is refused whole (CVE-2026-83525)."""
        if request.cluster_id is not None and request.cluster_id != self._cluster_id:
            return snapshots.FetchSnapshotResponse(error_code=ErrorCode.INCONSISTENT_CLUSTER_ID)
        if len(request.topics) != 1 or len(request.topics[0].partitions) != 1:
            return snapshots.FetchSnapshotResponse(error_code=ErrorCode.INVALID_REQUEST)
        topic = request.topics[0]
        asked = topic.partitions[0]
        partition = snapshots.FetchSnapshotResponsePartitionSnapshot(index=asked.partition)
        response = self._answers.fetch_snapshot(partition, listener)
        response.topics[0].name = topic.name
        if topic.name != TOPIC or asked.partition != 0:
            partition.error_code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            partition.current_leader = snapshots.LeaderIdAndEpoch()
            return response
        refusal, leader = self.refusal(asked.current_leader_epoch), self._leading.leader
        if refusal is not None or leader is None:
            partition.error_code = refusal or ErrorCode.NOT_LEADER_OR_FOLLOWER
            return response
        snapshot_id = SnapshotId(asked.snapshot_id.end_offset, asked.snapshot_id.epoch)
        data = self._held_snapshot(snapshot_id)
        if data is None:
            partition.error_code = ErrorCode.SNAPSHOT_NOT_FOUND
            return response
        if not 0 <= asked.position < len(data):
            partition.error_code = ErrorCode.POSITION_OUT_OF_RANGE
            return response
        size = max(0, min(request.max_bytes, self._state.settings.fetch_snapshot_max_bytes))
        self._leading.heard_from(leader, request.replica_id, asked.replica_directory_id)
        partition.snapshot_id = snapshots.FetchSnapshotResponseSnapshotId(
            end_offset=snapshot_id.offset, epoch=snapshot_id.epoch
        )
        partition.size = len(data)
        partition.position = asked.position
        partition.unaligned_records = data[asked.position : asked.position + size]
        if asked.position + size >= len(data):
            self._held = None
        return response

    def _held_snapshot(self, snapshot_id: SnapshotId) -> bytes | None:
        """A snapshot's bytes; the bootstrap one is of this node alone."""
        replica = self._state.replica
        if snapshot_id == BOOTSTRAP_SNAPSHOT or snapshot_id not in replica.snapshot_ids:
            return None
        if self._held is None or self._held[0] != snapshot_id:
            self._held = (snapshot_id, replica.snapshots.read(snapshot_id))
        return self._held[1]


def _only_partition(request: FetchRequest) -> FetchPartition | None:
    if len(request.topics) != 1 or len(request.topics[0].partitions) != 1:
        return None
    topic = request.topics[0]
    partition = topic.partitions[0]
    is_metadata = topic.topic_id == TOPIC_ID or topic.topic == TOPIC
    return partition if is_metadata and partition.partition == 0 else None
