"""Fetching the metadata log from its leader, or, where none is known, asking others who leads (KIP-595, KIP-630).

The offset that a voter fetches at tells the leader what it holds, so it has to be durable here by then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from odradek.ports import Promise
from odradek.quorum.elections import Elections
from odradek.quorum.epochs import EpochEnd
from odradek.quorum.log import SnapshotId
from odradek.quorum.messages import TOPIC, TOPIC_ID, LeaderSeen, seen
from odradek.quorum.roles import Download, Follower, Unattached
from odradek.quorum.settings import Address, RaftCluster
from odradek.quorum.state import QuorumState
from odradek.quorum.voters import address_of
from odradek.wire.errors import KafkaError, ProtocolError
from odradek.wire.messages import fetch_snapshot as snapshots
from odradek.wire.messages.fetch import (
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
    ReplicaState,
)

_log = logging.getLogger(__name__)

MAX_WAIT_MS = 500
MAX_FETCH_BYTES = 8 * 1024 * 1024


class Following:
    """Acts while the state's role is Follower or Unattached: one request at a time, the next one after its answer."""

    def __init__(self, state: QuorumState, cluster: RaftCluster, elections: Elections) -> None:
        self.on_fetching: Callable[[Follower], None] = lambda _role: None
        """Called before each request to a leader."""
        self._state = state
        self._cluster = cluster
        self._elections = elections
        self._pending: object | None = None
        """Stands for the request, or the wait before the next one, that counts; an answer to another is late."""
        self._waits_for_flush = False
        self._asks_others = False
        self._next_server = 0
        self._is_closed = False

    def close(self) -> None:
        """Fetch no more."""
        self._is_closed = True
        self._pending = object()

    def role_entered(self) -> None:
        """Begin anew; what is under way was for another role."""
        self._pending = None
        self._waits_for_flush = False
        self._asks_others = False
        self.fetch()

    def flushed(self) -> None:
        """More is durable."""
        if self._waits_for_flush:
            self._waits_for_flush = False
            self.fetch()

    def fetch(self) -> None:
        """Send the next request, unless one is under way."""
        state, role = self._state, self._state.role
        replica = state.replica
        if self._is_closed or self._pending is not None or replica.has_failed:
            return
        if not isinstance(role, Follower | Unattached):
            return
        if (state.is_voter or state.identity.endpoints) and replica.flushed_offset < replica.end_offset:
            self._waits_for_flush = True
            replica.flush()
            return
        address = self._address(role)
        if address is None:
            self._retry_later()
            return
        if isinstance(role, Follower):
            self.on_fetching(role)
            if state.role is not role:
                return
        token = self._pending = object()
        timeout_ms = self._cluster.settings.request_timeout_ms
        download = role.download if isinstance(role, Follower) else None
        if download is not None:
            self._cluster.fetches.send(
                *address, self._snapshot_request(download), snapshots.FetchSnapshotResponse, timeout_ms=timeout_ms
            ).on_done(lambda answer: state.attempt(lambda: self._got_piece(token, download, answer)))
        else:
            self._cluster.fetches.send(*address, self._request(), FetchResponse, timeout_ms=timeout_ms).on_done(
                lambda answer: state.attempt(lambda: self._got(token, answer))
            )

    def _address(self, role: Follower | Unattached) -> Address | None:
        """The leader's; but an observer whose leader does not answer asks others, who may know of another leader."""
        state = self._state
        if isinstance(role, Follower):
            is_patient = state.is_voter or (not self._asks_others and state.clock.monotonic_ms() < role.deadline_ms)
            address = address_of(state.leader_endpoints, self._cluster.listener_name)
            if address is not None and is_patient:
                return address
        self._asks_others = False
        own = [(point.host, point.port) for point in state.identity.endpoints]
        servers = [server for server in self._servers() if server not in own]
        if not servers:
            return None
        self._next_server += 1
        return servers[self._next_server % len(servers)]

    def _servers(self) -> list[Address]:
        found = list(self._cluster.settings.bootstrap_servers)
        for voter in self._state.replica.history.voters.voters:
            address = voter.address(self._cluster.listener_name)
            if address is not None and address not in found:
                found.append(address)
        return found

    def _request(self) -> FetchRequest:
        state, replica = self._state, self._state.replica
        partition = FetchPartition(
            partition=0,
            current_leader_epoch=state.epoch,
            fetch_offset=replica.end_offset,
            last_fetched_epoch=replica.last_epoch,
            partition_max_bytes=MAX_FETCH_BYTES,
            replica_directory_id=state.identity.directory_id,
            high_watermark=replica.high_watermark,
        )
        return FetchRequest(
            cluster_id=self._cluster.cluster_id,
            replica_state=ReplicaState(replica_id=state.identity.node_id),
            max_wait_ms=MAX_WAIT_MS,
            max_bytes=MAX_FETCH_BYTES,
            topics=[FetchTopic(topic=TOPIC, topic_id=TOPIC_ID, partitions=[partition])],
        )

    # What comes of it

    def _retry_later(self) -> None:
        token = self._pending = object()
        self._asks_others = True

        def again() -> None:
            if self._pending is token and not self._is_closed:
                self._pending = None
                self.fetch()

        self._cluster.scheduler.call_later(self._cluster.settings.retry_backoff_ms, again)

    def _succeeded(self, role: Follower) -> None:
        role.deadline_ms = self._state.clock.monotonic_ms() + self._cluster.settings.fetch_timeout_ms
        role.has_fetched = True
        self._asks_others = False
        self.fetch()

    def _is_current(self, token: object) -> bool:
        if self._pending is not token or self._is_closed:
            return False
        self._pending = None
        return True

    def _said(
        self,
        partition: PartitionData | snapshots.FetchSnapshotResponsePartitionSnapshot,
        response: FetchResponse | snapshots.FetchSnapshotResponse,
    ) -> LeaderSeen:
        """Who leads, by an answer."""
        leader = partition.current_leader
        listener = self._cluster.listener_name
        return seen(partition.error_code, leader.leader_id, leader.leader_epoch, response.node_endpoints, listener)

    def _got(self, token: object, answer: Promise[FetchResponse]) -> None:
        if not self._is_current(token):
            return
        response = None if answer.error is not None else answer.result()
        if response is None or response.error_code or not response.responses or not response.responses[0].partitions:
            self._retry_later()
            return
        partition = response.responses[0].partitions[0]
        said = self._said(partition, response)
        is_over = self._elections.observe(said)
        role = self._state.role
        if self._pending is not None or not isinstance(role, Follower | Unattached):
            return
        if is_over or not isinstance(role, Follower) or not self._take(role, partition, said.epoch):
            if self._state.role is role:
                self._retry_later()
        elif self._state.role is role:
            self._succeeded(role)

    def _take(self, role: Follower, partition: PartitionData, epoch: int) -> bool:
        """Do what the leader says: cut the log, get a snapshot, or append. False if that makes no sense."""
        replica = self._state.replica
        try:
            if partition.diverging_epoch.epoch >= 0:
                parted = EpochEnd(partition.diverging_epoch.epoch, partition.diverging_epoch.end_offset)
                offset = replica.truncate_to_common(parted)
                _log.info("the log is cut at offset %d, as the leader of epoch %d says", offset, epoch)
                return True
            wanted = SnapshotId(partition.snapshot_id.end_offset, partition.snapshot_id.epoch)
            if wanted.offset >= 0 or wanted.epoch >= 0:
                if min(wanted) < 0:
                    return False
                role.download = Download(wanted)
                return True
            if partition.records:
                replica.append_fetched(_bytes(partition.records), epoch)
        except (KafkaError, ProtocolError) as error:
            _log.error("an answer of the leader of epoch %d cannot be used: %s", epoch, error)
            return False
        if partition.high_watermark >= 0:
            replica.advance_to(min(replica.end_offset, partition.high_watermark))
        return True

    # Snapshots

    def _snapshot_request(self, download: Download) -> snapshots.FetchSnapshotRequest:
        state = self._state
        partition = snapshots.FetchSnapshotRequestPartitionSnapshot(
            partition=0,
            current_leader_epoch=state.epoch,
            snapshot_id=snapshots.FetchSnapshotRequestSnapshotId(
                end_offset=download.snapshot_id.offset, epoch=download.snapshot_id.epoch
            ),
            position=len(download.data),
            replica_directory_id=state.identity.directory_id,
        )
        return snapshots.FetchSnapshotRequest(
            cluster_id=self._cluster.cluster_id,
            replica_id=state.identity.node_id,
            max_bytes=MAX_FETCH_BYTES,
            topics=[snapshots.FetchSnapshotRequestTopicSnapshot(name=TOPIC, partitions=[partition])],
        )

    def _got_piece(self, token: object, download: Download, answer: Promise[snapshots.FetchSnapshotResponse]) -> None:
        if not self._is_current(token):
            return
        response = None if answer.error is not None else answer.result()
        if response is None or response.error_code or not response.topics or not response.topics[0].partitions:
            self._retry_later()
            return
        piece = response.topics[0].partitions[0]
        is_over = self._elections.observe(self._said(piece, response))
        role = self._state.role
        if self._pending is not None or not isinstance(role, Follower):
            return
        if is_over or not self._take_piece(role, download, piece):
            role.download = None
            self._retry_later()
        elif self._state.role is role:
            self._succeeded(role)

    def _take_piece(
        self, role: Follower, download: Download, piece: snapshots.FetchSnapshotResponsePartitionSnapshot
    ) -> bool:
        """Add a piece; the last one completes the snapshot, which then takes the log's place."""
        if (piece.snapshot_id.end_offset, piece.snapshot_id.epoch) != download.snapshot_id:
            return False
        data = _bytes(piece.unaligned_records)
        if piece.position != len(download.data) or not data or len(download.data) + len(data) > piece.size:
            return False
        download.data += data
        if len(download.data) < piece.size:
            return True
        role.download = None
        try:
            self._state.replica.install(download.snapshot_id, bytes(download.data))
        except (KafkaError, ProtocolError) as error:
            _log.error("the leader's snapshot at offset %d cannot be used: %s", download.snapshot_id.offset, error)
            return False
        _log.info("begun anew behind the leader's snapshot at offset %d", download.snapshot_id.offset)
        return True


def _bytes(records: object) -> bytes:
    """Records that came over a connection are bytes, or a view of what was received."""
    return bytes(records) if isinstance(records, bytes | bytearray | memoryview) else b""
