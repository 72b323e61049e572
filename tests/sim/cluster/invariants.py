"""What must hold at every moment, whatever fails: looked at as nodes change, and all together now and then."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.broker.replication.partition import Partition
from odradek.metadata.delta import MetadataDelta
from odradek.metadata.image import MetadataImage
from odradek.quorum.log import Batch
from odradek.wire.schema import Message
from tests.sim.cluster.kernel import Kernel
from tests.sim.cluster.ledger import Cursor, Ledger
from tests.sim.cluster.machine import Machine
from tests.sim.cluster.named import (
    ISR_HAS_ALL,
    MONOTONIC,
    NOTHING_LOST,
    ONE_LEADER,
    ONE_VOTE,
    SAME_METADATA,
    SAME_REPLICAS,
)
from tests.sim.cluster.process import Process
from tests.sim.cluster.view import replicas

Replica = tuple[bytes, int]
"""Topic id and partition."""


class Invariants:
    """Watches all nodes. A violation is a line that begins with the invariant's name."""

    def __init__(self, kernel: Kernel, machines: Sequence[Machine], topic: str) -> None:
        self.violations: list[str] = []
        self._kernel = kernel
        self._machines = machines
        self._topic = topic
        self._ledgers: dict[Replica, Ledger] = {}
        self._cursors: dict[tuple[int, Replica], Cursor] = {}
        self._leaders: dict[tuple[Replica, int], tuple[int, str]] = {}
        """(node, process) by partition and leader epoch."""
        self._watermarks: dict[tuple[Replica, int, str], int] = {}
        self._watched: dict[tuple[str, Replica], None] = {}
        self._quorum_leaders: dict[int, int] = {}
        self._votes: dict[tuple[int, int], int] = {}
        """(voter, epoch) -> candidate"""
        self._metadata: dict[int, tuple[int, int]] = {}
        """By base offset: epoch, and last offset of the batch that was committed there."""
        self._images: dict[int, tuple[MetadataImage, str]] = {}

    def violated(self, invariant: str, text: str) -> None:
        """Something is wrong."""
        self._kernel.note(f"VIOLATION {invariant}: {text}")
        self.violations.append(f"{invariant}: {text} (at {self._kernel.now_ms:.3f} ms)")
        self._kernel.is_stopped = True

    def booted(self, machine: Machine) -> None:
        """Watch a new node."""
        node, process = machine.node, machine.process
        assert node is not None
        assert process is not None
        node.quorum.loader.add_publisher(lambda delta, image: self._published(machine, delta, image))
        node.quorum.raft.add_listener(_QuorumWatch(self, machine.node_id))
        if machine.is_broker:
            node.broker.replicas.on_leadership(
                lambda partition: self._gained(machine, process, partition), lambda _partition: None
            )

    def elected(self, node_id: int, epoch: int) -> None:
        """A node says that it leads the quorum."""
        before = self._quorum_leaders.setdefault(epoch, node_id)
        if before != node_id:
            self.violated(ONE_LEADER, f"nodes {before} and {node_id} both lead the quorum in epoch {epoch}")

    def voted(self, voter: int, epoch: int, candidate: int) -> None:
        """A node has given its vote."""
        before = self._votes.setdefault((voter, epoch), candidate)
        if before != candidate:
            self.violated(ONE_VOTE, f"node {voter} votes for nodes {before} and {candidate} in epoch {epoch}")

    def committed(self, node_id: int, batches: Sequence[Batch]) -> None:
        """A node has batches of the metadata log for committed."""
        for batch in batches:
            here = batch.epoch, batch.last_offset
            before = self._metadata.setdefault(batch.base_offset, here)
            if before != here:
                self.violated(
                    SAME_METADATA,
                    f"node {node_id} has (epoch, last offset) {here} at {batch.base_offset}, where "
                    f"{before} is committed",
                )

    def _published(self, machine: Machine, _delta: MetadataDelta, image: MetadataImage) -> None:
        known, who = self._images.setdefault(image.offset, (image, machine.host))
        if known is not image and not known.same_content(image):
            self.violated(SAME_METADATA, f"{machine.host} and {who} have different images at offset {image.offset}")

    def _gained(self, machine: Machine, process: Process, partition: Partition) -> None:
        replica = partition.topic_id, partition.topic_partition.partition
        before = self._leaders.setdefault((replica, partition.leader_epoch), (machine.node_id, process.name))
        if before[0] != machine.node_id:
            self.violated(
                ONE_LEADER,
                f"nodes {before[0]} and {machine.node_id} both lead {partition.topic_partition} in epoch "
                f"{partition.leader_epoch}",
            )
        if partition.topic_partition.topic != self._topic:
            return
        ledger = self._ledger(partition)
        is_latest = partition.leader_epoch >= ledger.leader_epoch
        ledger.leader_epoch = max(ledger.leader_epoch, partition.leader_epoch)
        # A node that starts takes over what it knew last, and serves nobody before it knows more.
        serves = machine.is_started and is_latest
        if serves and partition.log is not None and partition.log.log_end_offset < ledger.end:
            self.violated(
                NOTHING_LOST,
                f"{machine.host} leads {partition.topic_partition} in epoch {partition.leader_epoch} and ends at "
                f"{partition.log.log_end_offset}, while {ledger.end} records are committed",
            )
        if (process.name, replica) not in self._watched:
            self._watched[process.name, replica] = None
            partition.add_watermark_listener(lambda partition: self._moved(process, partition))
        self._moved(process, partition)

    def _moved(self, process: Process, partition: Partition) -> None:
        """A replica's high watermark is somewhere else."""
        if partition.log is None or not partition.is_leader:
            return
        replica = partition.topic_id, partition.topic_partition.partition
        high_watermark = partition.log.high_watermark
        key = (replica, partition.leader_epoch, process.name)
        before = self._watermarks.get(key, 0)
        if high_watermark < before:
            self.violated(
                MONOTONIC,
                f"{process.name}: that of {partition.topic_partition} went from {before} to {high_watermark} in epoch "
                f"{partition.leader_epoch}",
            )
        self._watermarks[key] = high_watermark
        ledger = self._ledger(partition)
        ledger.end = max(ledger.end, high_watermark)

    def _ledger(self, partition: Partition) -> Ledger:
        replica = partition.topic_id, partition.topic_partition.partition
        ledger = self._ledgers.get(replica)
        if ledger is None:
            name = str(partition.topic_partition)
            ledger = self._ledgers[replica] = Ledger(name, lambda text: self.violated(SAME_REPLICAS, text))
        return ledger

    def check(self) -> None:
        """Look at all that is not told."""
        leaders: dict[Replica, tuple[Machine, Partition]] = {}
        for machine in self._machines:
            node = machine.node
            if node is None or not machine.is_started:
                continue
            if node.quorum.raft.is_leader:
                self.elected(machine.node_id, node.quorum.raft.epoch)
            for partition in replicas(machine):
                if partition.topic_partition.topic == self._topic and partition.log is not None:
                    replica = partition.topic_id, partition.topic_partition.partition
                    self._compare(machine, replica, partition)
                    known = leaders.get(replica)
                    if partition.is_leader and (known is None or known[1].leader_epoch < partition.leader_epoch):
                        leaders[replica] = machine, partition
        for replica, (machine, partition) in leaders.items():
            self._check_isr(replica, machine, partition)

    def _compare(self, machine: Machine, replica: Replica, partition: Partition) -> None:
        assert partition.log is not None
        cursor = self._cursors.setdefault((machine.node_id, replica), Cursor())
        cursor.follow(partition.log)
        directory = partition.log.directory
        self._ledger(partition).compare(machine.disk, directory, cursor, partition.log.high_watermark, machine.host)

    def _check_isr(self, replica: Replica, leader: Machine, partition: Partition) -> None:
        """Those that are up, and have not been away since they were in the ISR, have all that any leader committed.

        Only a leader of the latest epoch knows who is in the ISR.
        """
        assert partition.log is not None
        assert leader.node is not None
        ledger = self._ledgers.get(replica)
        if ledger is None or partition.leader_epoch < ledger.leader_epoch:
            return
        brokers = leader.node.broker.replicas.image.cluster.brokers
        for machine in self._machines:
            node = machine.node
            if machine.node_id not in partition.isr or node is None or not machine.is_started:
                continue
            registration = brokers.get(machine.node_id)
            if registration is None or registration.epoch != node.broker.lifecycle.epoch:
                continue
            own = node.broker.replicas.partitions.get(partition.topic_partition)
            if own is None or own.log is None or own.leader_epoch != partition.leader_epoch:
                continue
            if own.log.log_end_offset < ledger.end:
                self.violated(
                    ISR_HAS_ALL,
                    f"{machine.host} is in the ISR of {partition.topic_partition} and ends at "
                    f"{own.log.log_end_offset}, while {ledger.end} records are committed",
                )


class _QuorumWatch:
    """Implements RaftListener."""

    def __init__(self, invariants: Invariants, node_id: int) -> None:
        self._invariants = invariants
        self._node_id = node_id

    def load_snapshot(self, records: Sequence[Message], offset: int, epoch: int, timestamp_ms: int) -> None:
        pass

    def commit(self, batches: Sequence[Batch]) -> None:
        self._invariants.committed(self._node_id, batches)

    def leader_changed(self, leader_id: int | None, epoch: int) -> None:
        if leader_id is not None:
            self._invariants.elected(leader_id, epoch)
