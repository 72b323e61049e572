"""One seeded life of a replicated cluster: producers, faults, and what must hold all the while."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from odradek.ports import Promise
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from tests.unit.broker.replication.cluster import OPTIONS, Cluster, SimNode, Stored, stored

NAMES = [TopicPartition("t", 0), TopicPartition("t", 1)]
STEP_MS = 25.0
HEAL_MS = 12_000.0


class Broken(AssertionError):
    """Something that must hold does not."""


class Acknowledged(NamedTuple):
    name: TopicPartition
    offset: int
    value: bytes


class _View:
    """A log's records, read once."""

    def __init__(self) -> None:
        self._log: Log | None = None
        self._truncations = -1
        self.records: dict[int, Stored] = {}

    def read(self, log: Log) -> dict[int, Stored]:
        if log is not self._log or log.truncations != self._truncations:
            self._log, self._truncations, self.records = log, log.truncations, {}
        if len(self.records) < log.log_end_offset:
            self.records.update(stored(log, len(self.records)))
        return self.records


class Run:
    """Everything follows from the seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.min_isr = self.rng.choice([1, 2, 2])
        config = LogConfig(min_insync_replicas=self.min_isr, segment_bytes=self.rng.choice([2_000, 1 << 30]))
        self.cluster = Cluster(
            4, seed=seed, options=OPTIONS._replace(fetchers=self.rng.choice([1, 2])), log_config=config
        )
        self.cluster.controller.create_topic("t", [1, 2, 3], [2, 3, 1])
        self.cluster.settle()
        self.cluster.network.delay_ms = (0.5, self.rng.choice([5.0, 40.0]))
        self.acknowledged: list[Acknowledged] = []
        self.committed: dict[TopicPartition, list[Stored]] = {name: [] for name in NAMES}
        self.refused: dict[ErrorCode, int] = {}
        self.changes = 0
        self._views: dict[tuple[int, TopicPartition], _View] = {}
        self._watermarks: dict[tuple[int, TopicPartition], tuple[object, int, int]] = {}
        self._count = 0
        self._down: dict[int, None] = {}

    def go(self, steps: int) -> None:
        """Live through faults, then heal, and see that all is well."""
        for step in range(steps):
            if step % 24 == 23:
                self._fault()
            for _ in range(self.rng.randrange(3)):
                self._produce()
            self.cluster.settle(STEP_MS)
            self.check()
        self._heal()

    def check(self) -> None:
        """What must hold at any moment."""
        for name in NAMES:
            replicas = [node for node in self.cluster.nodes if self._has_log(node, name)]
            for node in replicas:
                self._check_watermark(node, name)
                self._check_committed(node, name)
            committed = self.committed[name]
            for replica in self.cluster.controller.partition(name).isr:
                node = self.cluster.node(replica)
                # A member that knows nothing of its partition yet has not been asked for anything.
                if node in replicas and not self._has(node, name, len(committed)):
                    raise Broken(f"node {replica} is in the ISR of {name}, and does not hold what is committed")

    def _has_log(self, node: SimNode, name: TopicPartition) -> bool:
        return node.is_up and name in node.replicas.partitions and node.partition(name).log is not None

    def _records(self, node: SimNode, name: TopicPartition) -> dict[int, Stored]:
        return self._views.setdefault((node.id, name), _View()).read(node.log(name))

    def _has(self, node: SimNode, name: TopicPartition, end_offset: int) -> bool:
        records = self._records(node, name)
        committed = self.committed[name]
        # All that was checked before is still there, unless the log was cut.
        return len(records) >= end_offset and records.get(end_offset - 1) == (
            committed[end_offset - 1] if end_offset else None
        )

    def _check_committed(self, node: SimNode, name: TopicPartition) -> None:
        """What is below any replica's high watermark is the same everywhere, for good."""
        committed = self.committed[name]
        records = self._records(node, name)
        for offset in range(node.log(name).high_watermark):
            if offset == len(committed):
                committed.append(records[offset])
            elif committed[offset] != records[offset]:
                raise Broken(f"{name} has {records[offset]} at {offset} on node {node.id}, {committed[offset]} before")

    def _check_watermark(self, node: SimNode, name: TopicPartition) -> None:
        partition = node.partition(name)
        high_watermark = node.log(name).high_watermark
        key = node.id, name
        known = self._watermarks.get(key)
        if partition.is_leader and known is not None:
            life, tenure, before = known
            if life is node.life and tenure == partition.tenure and high_watermark < before:
                raise Broken(f"the high watermark of {name} went from {before} to {high_watermark} on node {node.id}")
        self._watermarks[key] = node.life, partition.tenure, high_watermark

    def _produce(self) -> None:
        name = self.rng.choice(NAMES)
        leaders = [node for node in self.cluster.nodes if self._has_log(node, name) and node.partition(name).is_leader]
        if not leaders:
            return
        value = b"%d" % self._count
        self._count += 1
        acks_all = self.rng.random() < 0.8

        def done(outcome: Promise[int]) -> None:
            if outcome.error is not None:
                code = outcome.error.code  # type: ignore[attr-defined] # a KafkaError
                self.refused[code] = self.refused.get(code, 0) + 1
            elif acks_all:
                self.acknowledged.append(Acknowledged(name, outcome.result(), value))

        self.rng.choice(leaders).produce(name, value, acks_all=acks_all).on_done(done)

    def _fault(self) -> None:
        faults: list[Callable[[], None]] = [
            self._crash, self._restart, self._restart, self._cut, self._mend, self._move_leader, self._move_leader,
            self._reassign, self._fence, self._lose,
        ]  # fmt: skip
        self.rng.choice(faults)()

    def _crash(self) -> None:
        up = [node for node in self.cluster.nodes if node.is_up]
        if len(up) > 2:
            node = self.rng.choice(up)
            node.crash()
            self._down[node.id] = None
            self.cluster.world.call_later(self.rng.choice([50.0, 1_500.0]), lambda: self._notice(node))

    def _notice(self, node: SimNode) -> None:
        if not node.is_up:
            self.cluster.controller.fence(node.id)

    def _restart(self) -> None:
        for node_id in list(self._down)[:1]:
            del self._down[node_id]
            self.cluster.node(node_id).start()

    def _cut(self) -> None:
        one, other = self.rng.sample(range(len(self.cluster.nodes) + 1), 2)
        self.cluster.network.cut_off(one, other)
        if 0 in (one, other):
            cut_off = self.cluster.node(one or other)
            self.cluster.world.call_later(1_500.0, lambda: self._expire(cut_off))

    def _expire(self, node: SimNode) -> None:
        if node.is_up and self.cluster.network.is_cut(0, node.id):
            self.cluster.controller.fence(node.id)

    def _mend(self) -> None:
        self.cluster.network.heal()
        for node in self.cluster.nodes:
            self._unfence(node)

    def _unfence(self, node: SimNode) -> None:
        broker = self.cluster.controller.image.cluster.brokers[node.id]
        if node.is_up and broker.fenced and broker.epoch == node.epoch:
            self.cluster.controller.unfence(node.id)

    def _fence(self) -> None:
        """A broker misses its heartbeats, and is back a little later."""
        node = self.rng.choice(self.cluster.nodes)
        if node.is_up:
            self.cluster.controller.fence(node.id)
            self.cluster.world.call_later(self.rng.uniform(0, 1_000), lambda: self._unfence(node))

    def _lose(self) -> None:
        self.cluster.network.loss = self.rng.choice([0.0, 0.02, 0.2])

    def _move_leader(self) -> None:
        name = self.rng.choice(NAMES)
        self.changes += self.cluster.controller.move_leader(name, self.rng.choice(self.cluster.nodes).id)

    def _reassign(self) -> None:
        name = self.rng.choice(NAMES)
        partition = self.cluster.controller.partition(name)
        if not partition.is_reassigning:
            self.cluster.controller.reassign(name, self.rng.sample([1, 2, 3, 4], 3))

    def _heal(self) -> None:
        self.cluster.network.heal()
        for node in self.cluster.nodes:
            if not node.is_up:
                node.start()
            self._unfence(node)
        for _ in range(int(HEAL_MS / 100)):
            self.cluster.settle(100)
            self.check()
        for name in NAMES:
            self._check_healed(name)
        for acknowledged in self.acknowledged:
            if self.committed[acknowledged.name][acknowledged.offset].value != acknowledged.value:
                raise Broken(f"{acknowledged} is lost")

    def _check_healed(self, name: TopicPartition) -> None:
        partition = self.cluster.controller.partition(name)
        if partition.leader < 0 or sorted(partition.isr) != sorted(partition.replicas) or partition.is_reassigning:
            raise Broken(f"{name} has not recovered: {partition}")
        contents = [self._records(self.cluster.node(replica), name) for replica in partition.replicas]
        if any(content != contents[0] for content in contents):
            raise Broken(f"the replicas of {name} differ")
        ends = [self.cluster.node(replica).log(name).high_watermark for replica in partition.replicas]
        if any(end != len(contents[0]) for end in ends):
            raise Broken(f"{name} has {len(contents[0])} records, and high watermarks {ends}")
        for node in self.cluster.nodes:
            if node.id not in partition.replicas and name in node.replicas.partitions:
                raise Broken(f"node {node.id} still has a replica of {name}")
