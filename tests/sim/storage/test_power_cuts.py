"""Seeded lives of a node whose power is cut again and again: what was synced stays, and nothing is invented."""

from __future__ import annotations

import random

import pytest

from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.log_results import AppendOrigin
from odradek.storage.manager import LogManager
from odradek.storage.topic_partition import TopicPartition
from tests.sim.storage.crash_disk import CrashDisk
from tests.unit.fakes import FakeWorld
from tests.unit.storage.support import NOW_MS, batch, read_records

PARTITION = TopicPartition("topic", 0)
CONFIG = LogConfig(segment_bytes=600, index_interval_bytes=100, retention_bytes=5000)


class Life:
    """One node and what ought to be in its log."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.disk = CrashDisk(seed)
        self.values: list[bytes] = []
        self.written = 0
        self.synced = 0
        self.start()
        self.logs.create_log(PARTITION, bytes(15) + b"\x05", CONFIG)

    def start(self) -> None:
        self.world = FakeWorld(now_ms=NOW_MS)
        world = self.world
        self.logs = LogManager(self.disk, world, world, world, world, ["/data"])
        self.logs.load(lambda _topic: CONFIG)

    @property
    def log(self) -> Log:
        log = self.logs.log(PARTITION)
        assert log is not None
        return log

    def step(self) -> None:
        kind = self.random.choices(
            ["append", "flush", "background", "checkpoint", "truncate", "retain", "cut", "stop"],
            [60, 5, 8, 5, 2, 3, 5, 2],
        )[0]
        getattr(self, kind)()

    def append(self) -> None:
        values = [b"%d" % (self.written + index) * self.random.randint(1, 12) for index in range(3)]
        self.written += len(values)
        has_producer = self.random.random() < 0.3
        data = batch(*values, producer_id=9, producer_epoch=0) if has_producer else batch(*values)
        self.log.append_as_leader(data, leader_epoch=0, now_ms=NOW_MS, origin=AppendOrigin.COORDINATOR)
        self.log.update_high_watermark(self.log.log_end_offset)
        self.values.extend(values)

    def flush(self) -> None:
        self.log.flush()
        self.synced = len(self.values)

    def background(self) -> None:
        self.world.run_soon()
        self.synced = max(self.synced, self.log.recovery_point)

    def checkpoint(self) -> None:
        self.logs.checkpoint_recovery_points()
        self.logs.checkpoint_high_watermarks()

    def truncate(self) -> None:
        offset = self.random.randint(self.log.log_start_offset, self.log.log_end_offset)
        self.logs.truncate_to({PARTITION: offset})
        del self.values[self.log.log_end_offset :]
        self.synced = min(self.synced, len(self.values))

    def retain(self) -> None:
        self.logs.enforce_retention()

    def cut(self) -> None:
        self.disk.lose_power()
        self.come_back()

    def stop(self) -> None:
        self.logs.shutdown()
        self.synced = len(self.values)
        self.disk.lose_power()
        self.come_back()

    def come_back(self) -> None:
        self.start()
        end = self.log.log_end_offset
        assert self.synced <= end <= len(self.values)
        del self.values[end:]
        self.synced = end
        start = self.log.log_start_offset
        expected = list(enumerate(self.values))[start:]
        assert read_records(self.log, start) == expected
        assert read_records(self.log, start, 50) == expected


@pytest.mark.parametrize("seed", range(40))
def test_nothing_synced_is_lost_and_nothing_is_invented(seed: int) -> None:
    life = Life(seed)
    for _ in range(250):
        life.step()
    life.cut()
    assert life.written > 100
