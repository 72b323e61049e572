"""Seeded moves of a replica between two directories whose machine loses its power at any step of the disks."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from odradek.broker.replication.copying import CopyThrottle
from odradek.broker.replication.log_dir_moves import LogDirMoves, MovePorts
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Partition
from odradek.metadata.delta import MetadataDelta
from odradek.metadata.image import MetadataImage
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.manager import LogManager
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.persistent.metadata.partition_record import PartitionRecord
from odradek.wire.persistent.metadata.topic_record import TopicRecord
from tests.sim.storage.crash_disk import CrashDisk, PowerCut
from tests.unit.fakes import FakeWorld
from tests.unit.storage.support import NOW_MS, batch, read_records

LIVES = int(os.environ.get("ODRADEK_SIM_LIVES", "100"))
CUTS = 20
STEPS_OF_DISKS = 600
DIRS = ["/one", "/two"]
T0 = TopicPartition("t", 0)
TOPIC_ID = bytes(range(16))
CONFIG = LogConfig(segment_bytes=600, file_delete_delay_ms=10)


class Life:
    """A replica that is written to and moved back and forth, and what of it must outlive a power cut."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.disk = CrashDisk(seed)
        self.image = _image()
        self.assigned = DIRS[0]
        """What the controller has noted: that is in a log of its own, which is safe."""
        self.written: list[bytes] = []
        self.synced = 0
        self.boots = 0
        self.moved = 0
        for log_dir in DIRS:
            self.disk.mkdir(log_dir)
        self.disk.sync_dir("")
        self.boot()
        self.log().flush()

    def boot(self) -> None:
        self.boots += 1
        world = self.world = FakeWorld(self.boots, now_ms=NOW_MS)
        self.logs = LogManager(self.disk, world, world, world, world, DIRS)
        self.logs.load(lambda _topic: CONFIG, lambda _name, id_: id_ != TOPIC_ID, lambda _name: self.assigned)
        self.replicas = ReplicaManager(
            node_id=1, logs=self.logs, clock=world, scheduler=world, log_config_of=lambda _image, _name: CONFIG
        )
        ports = MovePorts(world, world, world)
        self.moves = LogDirMoves(self.replicas, ports, self._assign, CopyThrottle(world, lambda: 1 << 60), 1)
        self.replicas.on_followed = lambda partition, _image: self.moves.followed(partition)
        self.replicas.load(self.image)

    def log(self) -> Log:
        return self.replicas.partition(T0).local_log()

    def step(self) -> None:
        """Something that a node does."""
        before = self.log().log_dir
        self.random.choice([self.write, self.write, self.flush, self.checkpoint, self.move, self.turn, self.wait])()
        self.synced = max(self.synced, self.log().recovery_point)
        self.moved += self.log().log_dir != before

    def write(self) -> None:
        value = b"%d-%d" % (len(self.written), self.random.randrange(1000)) * 5
        # It counts before it is acknowledged: a power cut may come in between.
        self.written.append(value)
        self.replicas.append(self.replicas.partition(T0), memoryview(batch(value)), all_replicas=True)

    def flush(self) -> None:
        self.log().flush()

    def checkpoint(self) -> None:
        self.logs.checkpoint_recovery_points()
        self.logs.checkpoint_high_watermarks()

    def move(self) -> None:
        """Mostly to where it is not; else a move that is under way is called off."""
        here = self.log().log_dir
        there = DIRS[1 - DIRS.index(here)]
        self.moves.alter(T0, self.random.choice([here, there, there, there, there]))

    def turn(self) -> None:
        self.world.run_one_turn()

    def wait(self) -> None:
        self.world.advance(self.random.choice([0, 5, 1000]))

    def _assign(self, _partition: Partition, log_dir: str, on_noted: Callable[[], None]) -> None:
        def noted() -> None:
            self.assigned = log_dir
            on_noted()

        self.world.call_later(self.random.choice([0, 3]), noted)

    def crash(self) -> None:
        """Start again with what the power cut left, and see that it is what was written, as far as it was synced."""
        self.disk.lose_power()
        self.boot()
        found = [value for _offset, value in read_records(self.log(), 0)]
        assert found == self.written[: len(found)]
        assert len(found) >= self.synced
        del self.written[len(found) :]


def _image() -> MetadataImage:
    delta = MetadataDelta(MetadataImage.empty())
    partition = PartitionRecord(
        partition_id=0, topic_id=TOPIC_ID, replicas=[1], isr=[1], leader=1, leader_epoch=0, partition_epoch=0
    )
    delta.replay_all([TopicRecord(name="t", topic_id=TOPIC_ID), partition])
    return delta.apply(2, 1)


@pytest.mark.parametrize("seed", range(LIVES))
def test_a_replica_on_its_way_loses_nothing_that_was_synced(seed: int) -> None:
    life = Life(seed)
    for _ in range(CUTS):
        life.disk.cut_power_after(life.random.randrange(STEPS_OF_DISKS))
        try:
            while True:
                life.step()
        except PowerCut:
            life.crash()
    assert life.moved >= 3
