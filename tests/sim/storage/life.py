"""A node's logs beside what ought to be in them, while power is cut and disks fail at any step."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from typing import NamedTuple

from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.log_creation import WantedLog
from odradek.storage.log_results import AppendOrigin
from odradek.storage.manager import LogManager
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.batch import iter_records
from odradek.wire.records.header import parse_header
from tests.sim.storage.crash_disk import CrashDisk, Fault, PowerCut
from tests.unit.fakes import FakeWorld
from tests.unit.storage.support import NOW_MS, batch, marker, read_records, stored_batches

LOG_DIRS = ("/one", "/two")
PARTITIONS = 3
CONFIG = LogConfig(segment_bytes=700, index_interval_bytes=100, retention_bytes=4000, segment_index_bytes=72)
WEIGHTS = {
    "append": 60,
    "produce": 20,
    "transaction": 12,
    "flush": 6,
    "background": 8,
    "checkpoint": 4,
    "truncate": 4,
    "restart_at": 1,
    "roll": 2,
    "elect": 3,
    "delete_records": 2,
    "pass_time": 6,
    "recreate": 1,
    "break_disk": 1,
    "kill": 2,
    "stop": 2,
}


class Written(NamedTuple):
    """A batch that was appended."""

    base_offset: int
    leader_epoch: int
    producer_id: int
    base_sequence: int
    is_control: bool
    timestamp_ms: int
    values: tuple[bytes | None, ...]

    @property
    def next_offset(self) -> int:
        return self.base_offset + len(self.values)


class Model:
    """What one partition ought to hold."""

    def __init__(self, name: TopicPartition, topic_id: bytes) -> None:
        self.name = name
        self.topic_id = topic_id
        self.batches: list[Written] = []
        self.base_offset = 0
        """Where the log was begun."""
        self.start = 0
        """The log start offset as it was set last; a crash may take that back."""
        self.latest_start = 0
        """Up to where records may be gone, while something that deletes is under way."""
        self.acknowledged = 0
        """A process that ends takes nothing from below this offset."""
        self.synced = 0
        """A power cut takes nothing from below this offset."""
        self.may_be_empty_at: int | None = None
        """Where the log may have been begun anew, while that is under way."""
        self.forgotten = 0
        """The highest log start offset so far: of records before it that a crash brings back, less is known."""
        self.leader_epoch = 0
        self.sequences: dict[int, int] = {}
        """The next sequence of each producer."""
        self.log_dir: str | None = None

    @property
    def end(self) -> int:
        return self.batches[-1].next_offset if self.batches else self.base_offset

    def add(self, written: Written, *, is_acknowledged: bool) -> None:
        self.batches.append(written)
        if is_acknowledged:
            self.acknowledged = self.end

    def may_lose_from(self, offset: int) -> None:
        """Whether what is at `offset` and behind is still there is open."""
        self.acknowledged = min(self.acknowledged, offset)
        self.synced = min(self.synced, offset)

    def cut(self, end_offset: int) -> None:
        """The log ends there."""
        while self.batches and self.batches[-1].next_offset > end_offset:
            self.batches.pop()
        self.may_lose_from(end_offset)
        self.acknowledged = end_offset
        self.forgotten = min(self.forgotten, end_offset)
        self.sequences = {each.producer_id: 0 for each in self.batches if each.producer_id >= 0}
        for each in self.batches:
            if each.producer_id >= 0 and not each.is_control:
                self.sequences[each.producer_id] = each.base_sequence + len(each.values)

    def begin_at(self, offset: int) -> None:
        """The log is empty and begins there."""
        self.batches.clear()
        self.base_offset = self.start = self.latest_start = self.forgotten = self.acknowledged = self.synced = offset
        self.sequences.clear()


class Life:
    """Steps that a seed chooses; every start compares what is there with what ought to be."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.disk = CrashDisk(seed)
        for log_dir in LOG_DIRS:
            self.disk.mkdir(log_dir)
        self.disk.sync_dir("")
        self.cuts = 0
        self.values = 0
        self.was_killed = False
        """The node ended last without the power going."""
        self.has_failed = False
        """A disk failed since the last start: what its cache shows need not be on it."""
        self.models = {TopicPartition("t", n): self._new_model(TopicPartition("t", n)) for n in range(PARTITIONS)}
        self.start()

    def step(self) -> None:
        """Do one thing, at any step of which the power may go."""
        if self.random.random() < 0.15:
            self.disk.cut_power_after(int(self.random.expovariate(0.12)))
        name = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        model = self.random.choice(list(self.models.values()))
        try:
            if name in ("break_disk", "kill", "stop", "pass_time", "background", "checkpoint", "recreate"):
                action: Callable[..., None] = getattr(self, name)
                action(*([model] if name == "recreate" else []))
            else:
                self._on_log(name, model)
            self._believe()
        except PowerCut:
            self._believe()
            # What a truncation had cut off when it was killed may come back with a later power cut: replication sees
            # to that, by leader epochs.
            self.crash(is_power_off=name in ("truncate", "restart_at"))
        if self.disk.faults and self.random.random() < 0.1:
            self.repair()

    def crash(self, *, is_power_off: bool = False) -> None:
        """The node ends, and comes back; unless it was only killed, the power was off."""
        self.cuts += 1
        self.was_killed = not (is_power_off or self.has_failed) and self.random.random() < 0.3
        if self.was_killed:
            self.disk.cut_power_after(1 << 60)
        else:
            self.disk.lose_power()
        self.start()

    def repair(self) -> None:
        self.disk.faults.clear()
        self.crash()

    def start(self) -> None:
        """Start, with the power going now and then while logs are recovered, and look at everything."""
        while True:
            if self.random.random() < 0.2:
                self.disk.cut_power_after(int(self.random.expovariate(0.05)))
            try:
                self._load()
                return
            except PowerCut:
                self.cuts += 1
            except KafkaError:
                assert self.disk.faults, "no directory can be used, though none is broken"
                self.disk.faults.clear()
            self.was_killed = False
            self.disk.lose_power()

    # What a node does.

    def append(self, model: Model, log: Log) -> None:
        values = self._values()
        timestamp_ms = NOW_MS + self.random.randint(-50, 50)
        written = Written(log.log_end_offset, model.leader_epoch, -1, -1, False, timestamp_ms, tuple(values))
        self._write(model, log, written, batch(*values, timestamp_ms=timestamp_ms))

    def produce(self, model: Model, log: Log) -> None:
        """An idempotent producer's next batch."""
        self._produce(model, log, 9, is_transactional=False)

    def transaction(self, model: Model, log: Log) -> None:
        """A transactional producer's next batch, or its marker."""
        producer_id = self.random.choice([21, 22])
        if log.producers.first_undecided_offset() is None or self.random.random() < 0.5:
            self._produce(model, log, producer_id, is_transactional=True)
            return
        data = marker(producer_id, 0, commit=self.random.random() < 0.4)
        (record,) = iter_records(bytes(data))
        written = Written(log.log_end_offset, model.leader_epoch, producer_id, -1, True, NOW_MS, (record.value,))
        self._write(model, log, written, data)

    def flush(self, model: Model, log: Log) -> None:
        log.flush()
        model.synced = model.end

    def truncate(self, model: Model, log: Log) -> None:
        offset = self.random.randint(log.log_start_offset, log.log_end_offset)
        model.may_lose_from(
            min((each.base_offset for each in model.batches if each.next_offset > offset), default=offset)
        )
        self.logs.truncate_to({model.name: offset})
        model.cut(log.log_end_offset)

    def restart_at(self, model: Model, log: Log) -> None:
        """What a follower does whose leader has none of its records any more."""
        offset = log.log_end_offset + self.random.randint(0, 20)
        model.may_be_empty_at = offset
        model.may_lose_from(0)
        model.latest_start = log.log_end_offset
        self.logs.truncate_fully_and_start_at(model.name, offset)
        model.may_be_empty_at = None
        model.begin_at(offset)

    def roll(self, model: Model, log: Log) -> None:
        log.roll()

    def elect(self, model: Model, log: Log) -> None:
        model.leader_epoch += 1
        log.assign_epoch(model.leader_epoch, log.log_end_offset)

    def delete_records(self, model: Model, log: Log) -> None:
        offset = self.random.randint(log.log_start_offset, log.log_end_offset)
        model.latest_start = max(model.latest_start, offset)
        log.delete_records_before(offset)

    def background(self) -> None:
        self.world.run_soon()

    def checkpoint(self) -> None:
        self.logs.checkpoint_recovery_points()
        self.logs.checkpoint_log_starts()
        self.logs.checkpoint_high_watermarks()

    def pass_time(self) -> None:
        """Retention, checkpoints and the removal of deleted files are due now and then."""
        for model in self.models.values():
            log = self.logs.log(model.name)
            if log is not None:
                model.latest_start = max(model.latest_start, log.log_end_offset)
        self.world.advance(self.random.choice([1_000, 10_000, 70_000, 400_000]))
        for model in self.models.values():
            log = self.logs.log(model.name)
            if log is not None:
                model.latest_start = log.log_start_offset

    def recreate(self, model: Model) -> None:
        """The topic is deleted, and another of its name is created."""
        if self.disk.faults:
            return
        self._renew(model)
        if self.random.random() < 0.5:
            self.logs.make_files_later([WantedLog(model.name, self.models[model.name].topic_id)])
            self.world.run_soon()
            if self.random.random() < 0.3:  # it is deleted again before the files are there
                self._renew(model)
        self._create(self.models[model.name])
        self.logs.drop_files([model.name])

    def _renew(self, model: Model) -> None:
        self.models[model.name] = self._new_model(model.name)
        self.logs.delete_log(model.name)

    def break_disk(self) -> None:
        if not self.disk.faults:
            self.has_failed = True
            code, only_sync = self.random.choice([(errno.EIO, False), (errno.ENOSPC, False), (errno.EIO, True)])
            self.disk.faults.append(Fault(self.random.choice(LOG_DIRS), code, only_sync))

    def kill(self) -> None:
        """Nothing is written out, and the machine goes on."""
        raise PowerCut

    def stop(self) -> None:
        self.logs.shutdown()
        self.was_killed = False
        for model in self.models.values():
            log = self.logs.log(model.name)
            if log is not None and not log.is_offline:
                model.synced = model.end
        self.disk.lose_power()
        self.start()

    # How that is compared.

    def _new_model(self, name: TopicPartition) -> Model:
        return Model(name, self.random.randbytes(16))

    def _values(self) -> list[bytes]:
        values = []
        for _ in range(self.random.randint(1, 3)):
            self.values += 1
            values.append(b"%d " % self.values * self.random.randint(1, 12))
        return values

    def _produce(self, model: Model, log: Log, producer_id: int, *, is_transactional: bool) -> None:
        values = self._values()
        sequence = model.sequences.get(producer_id, 0)
        data = batch(
            *values, producer_id=producer_id, producer_epoch=0, base_sequence=sequence,
            is_transactional=is_transactional,
        )  # fmt: skip
        written = Written(log.log_end_offset, model.leader_epoch, producer_id, sequence, False, NOW_MS, tuple(values))
        self._write(model, log, written, data)
        model.sequences[producer_id] = sequence + len(values)

    def _write(self, model: Model, log: Log, written: Written, data: bytearray) -> None:
        is_acknowledged = False
        try:
            log.append_as_leader(
                data, leader_epoch=model.leader_epoch, now_ms=self.world.now_ms(), origin=AppendOrigin.COORDINATOR
            )
            is_acknowledged = True
            log.update_high_watermark(log.log_end_offset)
        finally:
            # What was not acknowledged may be there nevertheless.
            model.add(written, is_acknowledged=is_acknowledged)

    def _on_log(self, name: str, model: Model) -> None:
        log = self.logs.log(model.name)
        if log is None or log.is_offline:
            return
        try:
            getattr(self, name)(model, log)
        except KafkaError as error:
            if error.code is not ErrorCode.KAFKA_STORAGE_ERROR or not self.disk.faults or not log.is_offline:
                raise

    def _believe(self) -> None:
        """What the log says is synced must be."""
        for model in self.models.values():
            log = self.logs.log(model.name)
            if log is not None and not log.is_offline:
                model.synced = max(model.synced, min(log.recovery_point, model.acknowledged))
                model.forgotten = max(model.forgotten, log.log_start_offset)

    def _load(self) -> None:
        self.world = FakeWorld(self.random.randint(0, 1 << 30), NOW_MS)
        world = self.world
        self.logs = LogManager(self.disk, world, world, world, world, LOG_DIRS)
        self.logs.load(lambda _topic: CONFIG, lambda name, topic_id: topic_id != self.models[name].topic_id)
        assert bool(self.logs.offline_dirs()) <= bool(self.disk.faults), self.logs.offline_dirs()
        self.has_failed = bool(self.disk.faults)
        for model in self.models.values():
            log = self.logs.log(model.name)
            if log is not None:
                model.log_dir = log.log_dir
                if not log.is_offline:
                    self._compare(model, log)
            elif model.log_dir is None or not self.logs.is_offline(model.log_dir):
                assert model.synced <= model.latest_start, f"{model.name} is gone, and was synced to {model.synced}"
                model.begin_at(0)
                self._create(model)

    def _create(self, model: Model) -> None:
        try:
            model.log_dir = self.logs.create_log(model.name, model.topic_id, CONFIG).log_dir
        except KafkaError:
            assert self.disk.faults

    def _compare(self, model: Model, log: Log) -> None:
        start, end = log.log_start_offset, log.log_end_offset
        if model.may_be_empty_at is not None and start == end == model.may_be_empty_at:
            model.begin_at(end)
        model.may_be_empty_at = None
        assert start <= max(model.latest_start, model.start), "records are gone that nothing has deleted"
        kept = model.acknowledged if self.was_killed else model.synced
        gone = max(start, end, model.forgotten)
        lost = [each for each in model.batches if gone < each.next_offset <= kept]
        assert lost == [], f"what is before {kept} had to be kept, and {end} is the end"
        if start == end and not any(each.next_offset == end for each in model.batches):
            model.begin_at(end)
            return
        assert end <= model.end
        model.cut(end)
        assert model.end == end, "a batch is there in part"
        model.start = model.latest_start = start
        log.update_high_watermark(end)
        expected = [each for each in model.batches if each.next_offset > start]
        assert [_written(log, view) for _, view in stored_batches(log, start)] == expected
        self._compare_reads(log, expected)
        self._compare_producers(log, expected)
        for each in expected:
            if each.base_offset >= model.forgotten:
                assert log.leader_epochs.epoch_for(each.base_offset) == each.leader_epoch

    def _compare_reads(self, log: Log, expected: list[Written]) -> None:
        records = [(each.base_offset + index, value) for each in expected for index, value in enumerate(each.values)]
        offset = self.random.randint(log.log_start_offset, log.log_end_offset)
        assert read_records(log, offset, 300) == [(at, value) for at, value in records if at >= offset]
        wanted_ms = NOW_MS + self.random.randint(-50, 50)
        found = log.offset_for_timestamp(wanted_ms)
        at_least = [max(each.base_offset, log.log_start_offset) for each in expected if each.timestamp_ms >= wanted_ms]
        assert (found and found.offset) == (at_least[0] if at_least else None)

    def _compare_producers(self, log: Log, expected: list[Written]) -> None:
        last = {each.producer_id: each for each in expected if each.producer_id >= 0 and not each.is_control}
        for producer_id, each in last.items():
            found = log.producers.entry(producer_id)
            assert found is not None
            count = len(each.values)
            assert (found.last_offset, found.last_sequence) == (each.next_offset - 1, each.base_sequence + count - 1)
        if log.log_start_offset == 0:
            _compare_transactions(log, expected)


def _compare_transactions(log: Log, expected: list[Written]) -> None:
    """From a log's beginning on it is known which transactions are open, and which were aborted."""
    opened: dict[int, int] = {}
    aborted = []
    for each in expected:
        if each.producer_id < 20:
            continue
        if not each.is_control:
            opened.setdefault(each.producer_id, each.base_offset)
        elif each.producer_id in opened:
            begun = opened.pop(each.producer_id)
            aborted.append((each.producer_id, begun, each.base_offset))
    assert log.producers.first_undecided_offset() == min(opened.values(), default=None)
    found = log.aborted_transactions(0, log.log_end_offset)
    assert {(each.producer_id, each.first_offset, each.last_offset) for each in found} <= set(aborted)


def _written(log: Log, view: memoryview) -> Written:
    header = parse_header(view)
    return Written(
        header.base_offset,
        header.leader_epoch,
        header.producer_id,
        header.base_sequence,
        header.is_control,
        header.max_timestamp_ms,
        tuple(record.value for record in iter_records(view)),
    )
