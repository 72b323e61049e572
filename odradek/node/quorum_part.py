"""A node's copy of the metadata log, and its place in the quorum: every node has one, voter or observer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from odradek.broker.controller_client import ControllerClient
from odradek.config import BrokerConfig, ProcessRole
from odradek.controller.snapshots import SnapshotGenerator, SnapshotLimits
from odradek.metadata.loader import MetadataLoader
from odradek.node.data_dirs import DataDirs, voter_endpoints
from odradek.node.metadata_log import MetadataLog
from odradek.node.ports import Ports
from odradek.node.start_error import StartError
from odradek.ports import Promise, TimerHandle
from odradek.quorum.files import ElectionStateFile, SnapshotFiles
from odradek.quorum.formatting import META_PROPERTIES_FILE
from odradek.quorum.log import Batch
from odradek.quorum.raft import NodeIdentity, RaftNode, RaftStores
from odradek.quorum.settings import QuorumSettings, RaftCluster
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_names import CLUSTER_METADATA_TOPIC
from odradek.storage.log_config import LogConfig
from odradek.wire.errors import KafkaError
from odradek.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
    DescribeQuorumResponse,
)
from odradek.wire.schema import Message

_log = logging.getLogger(__name__)

RETRY_MS = 100
"""How soon it is asked again what is committed."""
FIRST_WORD_MS = 3_000
LATER_WORDS_MS = 10_000
"""How long a node waits for the quorum before it says so, and says so again."""


class QuorumPart:
    """The metadata log, the quorum over it, and the image that follows what is committed."""

    def __init__(
        self,
        config: BrokerConfig,
        ports: Ports,
        dirs: DataDirs,
        environment: LogEnvironment,
        listener_ports: Mapping[str, int],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        """Open the metadata log; raises OSError, CorruptFileError."""
        self._ports = ports
        self._directory = dirs.metadata_log_dir
        self._log = MetadataLog.open(environment, dirs.metadata_log_dir, _metadata_log_config(config))
        stores = RaftStores(
            self._log,
            ElectionStateFile(ports.files, dirs.metadata_log_dir),
            SnapshotFiles(ports.files, dirs.metadata_log_dir),
        )
        is_controller = ProcessRole.CONTROLLER in config.process_roles
        endpoints = voter_endpoints(config, listener_ports) if is_controller else ()
        identity = NodeIdentity(config.node_id, dirs.metadata_directory_id, endpoints)
        self._settings = QuorumSettings.from_config(config)
        self.raft = RaftNode(
            identity, stores, ports.clock, on_fatal, cluster=_cluster(config, ports, dirs, self._settings)
        )
        self.loader = MetadataLoader()
        self._on_leader: list[Callable[[], None]] = []
        self._moves: list[Promise[None]] = []
        self._timer: TimerHandle | None = None
        self._closed = False
        limits = SnapshotLimits(
            config.int_("metadata.log.max.record.bytes.between.snapshots"),
            config.int_("metadata.log.max.snapshot.interval.ms"),
        )
        self.loader.add_publisher(
            SnapshotGenerator(self.raft, self.loader, limits, ports.clock, ports.executor).publish
        )
        self.raft.add_listener(self.loader)
        self.raft.add_listener(self)

    def on_leader_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` when another node leads, or none."""
        self._on_leader.append(callback)

    def start(self) -> None:
        """Take part; raises OSError, ProtocolError or KafkaError for a log that cannot be used.

        Raises StartError where the only voter was this node with another directory: it will never come back.
        """
        self.raft.start()
        identity, voters = self.raft.identity, self.raft.voters.voters
        if [voter.id for voter in voters] == [identity.node_id] and not self.raft.is_voter:
            raise StartError(
                f"{self._directory} has the voters {identity.node_id}: the only voter of its cluster is this node with "
                f"another directory.id than that of its {META_PROPERTIES_FILE}; put that file back as it was"
            )

    async def catch_up(self, active: ControllerClient) -> None:
        """Wait until the image holds all that the quorum has committed by now. Driven by `ports.spawn`.

        Logs are opened by the image, and one that lags behind would take their topics for deleted. How far this node
        itself has come does not tell that: it may have fetched some of the log only.
        """
        self._timer = self._ports.scheduler.call_later(FIRST_WORD_MS, self._say)
        while True:
            try:
                committed = _high_watermark(await active.send(_DESCRIBE, DescribeQuorumResponse))
            except KafkaError as error:
                if self._closed:
                    raise
                _log.debug("nobody knows what is committed: %s", error)
                await self._pause()
                continue
            while committed > self.loader.image.offset + 1:
                await self._next_move()
            if committed > 0 and self.loader.image.features.finalized:
                break
            await self._next_move()
        self._stop_saying()

    async def follow_to(self, offset: int) -> None:
        """Wait until the image holds what is at this offset of the metadata log. Driven by `ports.spawn`."""
        while self.loader.image.offset < offset:
            await self._next_move()

    def close(self) -> None:
        """Take part no more, and write the log out; raises KafkaError."""
        self._closed = True
        self._stop_saying()
        self.raft.close()
        self._log.close()

    # As a RaftListener, behind the loader

    def load_snapshot(self, _records: Sequence[Message], _offset: int, _epoch: int, _timestamp_ms: int) -> None:
        """The loader has it."""
        self._moved()

    def commit(self, _batches: Sequence[Batch]) -> None:
        """The loader has them."""
        if self._moves:
            self._moved()

    def leader_changed(self, _leader_id: int | None, _epoch: int) -> None:
        """Tell those who look for the controller, once everybody here knows of it."""
        self._ports.scheduler.call_soon(self._tell_leader)

    def _tell_leader(self) -> None:
        for callback in self._on_leader:
            callback()

    def _pause(self) -> Promise[None]:
        pause: Promise[None] = Promise()
        self._ports.scheduler.call_later(RETRY_MS, lambda: pause.resolve(None))
        return pause

    def _next_move(self) -> Promise[None]:
        move: Promise[None] = Promise()
        self._moves.append(move)
        return move

    def _moved(self) -> None:
        """What waits goes on once the listeners behind this one have the news, too."""
        moves, self._moves = self._moves, []

        def tell() -> None:
            for move in moves:
                move.resolve(None)

        if moves:
            self._ports.scheduler.call_soon(tell)

    def _say(self) -> None:
        raft = self.raft
        known = [
            f"{voter.id}@{point.host}:{point.port}" for voter in raft.voters.voters for point in voter.endpoints[:1]
        ]
        others = known or [f"{host}:{port}" for host, port in self._settings.bootstrap_servers]
        if raft.leader_id is None:
            _log.warning("waiting for the metadata quorum to have a leader; its controllers: %s", ", ".join(others))
        else:
            _log.warning("waiting for the metadata up to what node %d, which leads, has committed", raft.leader_id)
        self._timer = self._ports.scheduler.call_later(LATER_WORDS_MS, self._say)

    def _stop_saying(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_DESCRIBE = DescribeQuorumRequest(
    topics=[
        DescribeQuorumRequestTopicData(
            topic_name=CLUSTER_METADATA_TOPIC, partitions=[DescribeQuorumRequestPartitionData(partition_index=0)]
        )
    ]
)


def _high_watermark(response: DescribeQuorumResponse) -> int:
    """What the leader says is committed; -1 as long as it does not know."""
    if response.error_code or not response.topics or not response.topics[0].partitions:
        return -1
    partition = response.topics[0].partitions[0]
    return -1 if partition.error_code else partition.high_watermark


def _cluster(config: BrokerConfig, ports: Ports, dirs: DataDirs, settings: QuorumSettings) -> RaftCluster | None:
    if ports.new_peers is None:
        return None
    listener = config.controller_listener_names[0].upper()
    return RaftCluster(
        cluster_id=dirs.cluster_id,
        listener_name=listener,
        control=ports.new_peers(listener, "raft-control"),
        fetches=ports.new_peers(listener, "raft-fetch"),
        scheduler=ports.scheduler,
        random=ports.random,
        settings=settings,
    )


def _metadata_log_config(config: BrokerConfig) -> LogConfig:
    return LogConfig(
        segment_bytes=config.int_("metadata.log.segment.bytes"),
        segment_ms=config.int_("metadata.log.segment.ms"),
        retention_ms=-1,
        retention_bytes=-1,
        max_message_bytes=2**31 - 1,
    )
