"""Seeded lives of a node that compacts its log, while the power goes at any step of it: the table stays what it was."""

from __future__ import annotations

import random
import traceback
from typing import NamedTuple

import pytest

from odradek.storage.file_names import CLEANED_SUFFIX, SWAP_SUFFIX
from odradek.storage.log import Log
from odradek.storage.log_cleaner import CleanerSettings
from odradek.storage.log_config import LogConfig
from odradek.storage.manager import LogManager
from odradek.storage.manager_settings import LogManagerSettings
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.records.batch import build_batch, iter_records
from odradek.wire.records.record import Record
from tests.sim.storage.crash_disk import CrashDisk, PowerCut
from tests.unit.fakes import FakeWorld
from tests.unit.storage.support import NOW_MS, stored_batches

PARTITION = TopicPartition("compacted", 0)
PRODUCER = 9
BACKOFF_MS = 3000
WEIGHTS = {"write": 60, "roll": 6, "flush": 5, "background": 10, "pass_time": 14, "stop": 2, "kill": 3}


class Written(NamedTuple):
    """A record that was appended."""

    key: bytes
    value: bytes | None
    producer_id: int
    is_lost: bool = False
    """It was not synced when the power went, and what came behind it is there: in a compacted log that is no hole."""


class Life:
    """One node, and all that was written to its log by offset."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.disk = CrashDisk(seed)
        self.disk.mkdir("/data")
        self.disk.sync_dir("")
        self.config = LogConfig(
            cleanup_policy=("compact",), segment_bytes=self.random.choice([300, 600, 1500]), index_interval_bytes=100,
            delete_retention_ms=self.random.choice([0, 4000, 10**9]), file_delete_delay_ms=2000,
            min_cleanable_dirty_ratio=0.1,
        )  # fmt: skip
        self.slots = self.random.choice([4, 8, 10_000])
        self.now_ms = NOW_MS
        self.history: list[Written] = []
        self.synced = 0
        self.swaps = 0
        self.cuts = 0
        self.cuts_while_writing = 0
        self.cuts_while_swapping = 0
        self.start()

    def start(self) -> None:
        self.world = FakeWorld(now_ms=self.now_ms)
        world = self.world
        settings = CleanerSettings(dedupe_buffer_bytes=24 * self.slots, backoff_ms=BACKOFF_MS)
        self.logs = LogManager(
            self.disk, world, world, world, world, ["/data"], LogManagerSettings(cleaner=settings)
        )  # fmt: skip
        self.logs.load(lambda _topic: self.config)
        if self.logs.log(PARTITION) is None:
            self.logs.create_log(PARTITION, bytes(15) + b"\x05", self.config)
        self.log.update_high_watermark(self.log.log_end_offset)

    @property
    def log(self) -> Log:
        log = self.logs.log(PARTITION)
        assert log is not None
        return log

    def step(self) -> None:
        """Do one thing, at any step of which the power may go."""
        name = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if name == "pass_time" and self.random.random() < 0.5:
            self.disk.cut_power_after(int(self.random.expovariate(0.015)))
        elif self.random.random() < 0.05:
            self.disk.cut_power_after(int(self.random.expovariate(0.1)))
        try:
            getattr(self, name)()
            self.synced = max(self.synced, self.log.recovery_point)
        except PowerCut as cut:
            functions = {frame.name for frame in traceback.extract_tb(cut.__traceback__)}
            self.cuts += 1
            self.cuts_while_writing += "clean_segments" in functions
            self.cuts_while_swapping += "swap_in" in functions
            self.disk.lose_power()
            self.come_back()

    def write(self) -> None:
        pairs = [
            (
                b"key-%d" % self.random.randrange(12),
                None if self.random.random() < 0.2 else b"%d" % self.random.randrange(9),
            )
            for _ in range(self.random.randint(1, 3))
        ]
        producer_id = PRODUCER if self.random.random() < 0.3 else -1
        sequence = self.sequence() if producer_id >= 0 else -1
        now_ms = self.world.now_ms()
        batch = build_batch(
            [Record(index, now_ms, key, value) for index, (key, value) in enumerate(pairs)],
            producer_id=producer_id, producer_epoch=0 if producer_id >= 0 else -1, base_sequence=sequence,
        )  # fmt: skip
        # Should the power go while it is written, it may be there or not.
        self.history += [Written(key, value, producer_id) for key, value in pairs]
        self.log.append_as_leader(bytearray(batch), leader_epoch=0, now_ms=now_ms)
        self.log.update_high_watermark(self.log.log_end_offset)

    def sequence(self) -> int:
        """The next one of the producer, as the log knows it."""
        entry = self.log.producers.entry(PRODUCER)
        return entry.last_sequence + 1 if entry is not None else 0

    def roll(self) -> None:
        self.log.roll()

    def flush(self) -> None:
        self.log.flush()

    def background(self) -> None:
        self.world.run_soon()

    def pass_time(self) -> None:
        """Checkpoints are written, logs are cleaned, and old files go."""
        before = self.log.cleaned_offset
        self.world.advance(self.random.randint(1, 2 * BACKOFF_MS))
        self.swaps += before != self.log.cleaned_offset
        self.now_ms = self.world.now_ms()

    def stop(self) -> None:
        self.logs.shutdown()
        self.synced = len(self.history)
        self.kill()

    def kill(self) -> None:
        """The process ends, and the machine goes on: producers, too, go on where they were."""
        sequence = self.sequence()
        self.come_back()
        assert self.sequence() == sequence

    def come_back(self) -> None:
        self.start()
        log = self.log
        end = log.log_end_offset
        assert self.synced <= end <= len(self.history)
        del self.history[end:]
        covered = {
            offset for header, _ in stored_batches(log) for offset in range(header.base_offset, header.next_offset)
        }
        for offset in range(self.synced, end):
            if offset not in covered:
                self.history[offset] = self.history[offset]._replace(is_lost=True)
        records = [
            record for header, view in stored_batches(log) if not header.is_control for record in iter_records(view)
        ]
        for record in records:
            assert (record.key, record.value) == self.history[record.offset][:2]
        assert table((record.key or b"", record.value) for record in records) == table(
            (written.key, written.value) for written in self.history if not written.is_lost
        )
        clean = [record.key for record in records if record.offset < (log.cleaned_offset or 0)]
        assert len(clean) == len(set(clean))
        leftovers = (CLEANED_SUFFIX, SWAP_SUFFIX)
        assert not [name for name in self.disk.list(log.directory) if name.endswith(leftovers)]


def table(pairs: object) -> dict[bytes, bytes]:
    result: dict[bytes, bytes] = {}
    for key, value in pairs:  # type: ignore[attr-defined] # pairs of keys and values
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


@pytest.mark.parametrize("seed", range(25))
def test_compaction_and_power_cuts_leave_the_same_table(seed: int) -> None:
    life = Life(seed)
    for _ in range(250):
        life.step()
    life.disk.lose_power()
    life.come_back()
    assert life.cuts > 5
    assert life.swaps > 0


def test_the_power_goes_in_the_middle_of_cleanings() -> None:
    lives = [Life(seed) for seed in range(100, 110)]
    for life in lives:
        for _ in range(200):
            life.step()
    assert sum(life.cuts_while_writing for life in lives) > 20
    assert sum(life.cuts_while_swapping for life in lives) > 5
