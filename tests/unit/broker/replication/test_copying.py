"""Copying a log into another while the first changes."""

from __future__ import annotations

import pytest

from odradek.broker.replication.copying import CopyThrottle, LogCopy
from odradek.ports import spawn
from odradek.storage.future_logs import common_end_offset
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.log_results import AppendOrigin
from odradek.storage.manager import LogManager
from odradek.storage.memory_files import MemoryFile, MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from tests.unit.fakes import FakeWorld
from tests.unit.storage.support import NOW_MS, batch, marker, read_records

T0 = TopicPartition("t", 0)
TOPIC_ID = bytes(range(16))


class ColdFiles(MemoryFileSystem):
    """Files that have to be read in the background."""

    is_cold = True

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> MemoryFile:
        file = super().open(path, create=create, read_only=read_only)
        assert file._node is not None
        return ColdFile(path, file._node, read_only)


class ColdFile(MemoryFile):
    def is_warm(self, size: int, offset: int) -> bool:
        return not ColdFiles.is_cold


class Scene:
    """A log in /one, and its copy in /two."""

    def __init__(self, config: LogConfig | None = None) -> None:
        self.world = FakeWorld(now_ms=NOW_MS)
        self.fs = ColdFiles()
        self.config = config or LogConfig()
        self.load()
        self.source = self.logs.create_log(T0, TOPIC_ID, self.config, "/one")
        self.begin()

    def load(self) -> None:
        """Open the logs that are there."""
        world = self.world
        self.logs = LogManager(self.fs, world, world, world, world, ["/one", "/two"])
        self.logs.load(lambda _topic: self.config)

    def begin(self) -> None:
        """Start a copy, from nothing."""
        self.logs.future.delete(T0)
        self.future = self.logs.future.create(T0, "/two")
        self.copy = LogCopy(self.source, self.future, self.logs.future, self.world)

    def append(self, *values: bytes, epoch: int = 0, producer: tuple[int, int] | None = None) -> None:
        """One batch, transactional if a producer's id and sequence are given."""
        id_, sequence = producer or (-1, -1)
        data = batch(
            *values, producer_id=id_, producer_epoch=-1 if producer is None else 0, base_sequence=sequence,
            is_transactional=producer is not None,
        )  # fmt: skip
        self.source.append_as_leader(data, leader_epoch=epoch, now_ms=NOW_MS)
        self.source.update_high_watermark(self.source.log_end_offset)

    def copy_some(self) -> int:
        promise = spawn(self.copy.copy_some())
        self.world.advance(0)
        return promise.result()

    def copy_all(self) -> None:
        for _ in range(100):
            self.copy_some()
            if self.copy.is_complete:
                return
        raise AssertionError("it is never complete")

    def promoted(self) -> Log:
        self.copy.finish()
        log = self.logs.future.promote(T0)
        self.world.advance(0)
        return log


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_copy_has_the_offsets_of_what_it_is_copied_from(scene: Scene) -> None:
    for number in range(10):
        scene.append(b"%d" % number, epoch=number // 4)
    scene.source.delete_records_before(3)
    scene.source.assign_epoch(7, 10)
    scene.copy_all()
    copied = scene.promoted()
    assert copied is scene.logs.log(T0)
    assert read_records(copied, 3) == [(number, b"%d" % number) for number in range(3, 10)]
    assert (copied.log_start_offset, copied.log_end_offset, copied.high_watermark) == (3, 10, 10)
    assert copied.leader_epochs.entries() == [(0, 3), (1, 4), (2, 8), (7, 10)]


def test_slices_are_no_larger_than_a_segment() -> None:
    scene = Scene(LogConfig(segment_bytes=1000))
    for number in range(30):
        scene.append(b"%02d" % number * 50)
    scene.copy_all()
    assert max(segment.size for segment in scene.future.segments) <= 1000
    assert read_records(scene.future, 0) == read_records(scene.source, 0)


def test_a_copy_begins_within_a_batch_where_its_log_does(scene: Scene) -> None:
    scene.append(b"a", b"b", b"c")
    scene.append(b"d")
    scene.source.delete_records_before(2)
    scene.copy_all()
    assert scene.future.log_start_offset == 2
    assert read_records(scene.future, 2) == [(2, b"c"), (3, b"d")]


def test_a_copy_follows_the_beginning_and_the_high_watermark(scene: Scene) -> None:
    for value in (b"a", b"b", b"c"):
        scene.append(value)
    scene.copy_all()
    assert scene.future.high_watermark == 3
    scene.source.delete_records_before(2)
    scene.copy_some()
    assert scene.future.log_start_offset == 2


def test_segments_that_retention_deletes_before_they_are_copied_are_left_out() -> None:
    scene = Scene(LogConfig(segment_bytes=200))
    for number in range(10):
        scene.append(b"%d" % number * 100)
    scene.copy_some()
    assert scene.future.log_end_offset == 1
    scene.source.delete_oldest_segments(5)
    scene.copy_all()
    assert scene.future.log_start_offset == scene.source.log_start_offset == 5
    assert read_records(scene.future, 5) == read_records(scene.source, 5)


def test_a_copy_ends_where_its_log_does_even_if_compaction_took_the_last_records(scene: Scene) -> None:
    scene.append(b"a")
    scene.source.skip_to(5)
    scene.copy_all()
    copied = scene.promoted()
    assert copied.log_end_offset == 5
    info = copied.append_as_leader(batch(b"b"), leader_epoch=0, now_ms=NOW_MS)
    assert info.first_offset == 5
    scene.logs.shutdown()
    scene.load()
    again = scene.logs.log(T0)
    assert again is not None
    assert read_records(again, 0) == [(0, b"a"), (5, b"b")]


def test_producers_and_aborted_transactions_are_copied(scene: Scene) -> None:
    scene.append(b"a", b"b", producer=(9, 0))
    scene.source.append_as_leader(
        marker(9, 0, commit=False), leader_epoch=0, now_ms=NOW_MS, origin=AppendOrigin.COORDINATOR
    )
    scene.append(b"c", producer=(9, 2))
    scene.copy_all()
    copied = scene.promoted()
    assert [each.first_offset for each in copied.aborted_transactions(0, 4)] == [0]
    assert copied.last_stable_offset == 3
    repeated = batch(b"c", producer_id=9, producer_epoch=0, base_sequence=2, is_transactional=True)
    assert copied.append_as_leader(repeated, leader_epoch=0, now_ms=NOW_MS).is_duplicate


def test_truncation_takes_effect_on_the_copy(scene: Scene) -> None:
    for number in range(6):
        scene.append(b"old%d" % number)
    scene.copy_all()
    scene.logs.truncate_to({T0: 2})
    assert scene.future.log_end_offset == 2
    scene.append(b"new", epoch=1)
    scene.copy_all()
    assert read_records(scene.future, 0) == [(0, b"old0"), (1, b"old1"), (2, b"new")]
    scene.logs.truncate_fully_and_start_at(T0, 8)
    scene.append(b"newer", epoch=1)
    scene.copy_all()
    assert read_records(scene.future, scene.future.log_start_offset) == [(8, b"newer")]


def test_what_was_read_before_a_truncation_is_not_copied_after_it(scene: Scene) -> None:
    scene.append(b"stays")
    scene.copy_all()
    scene.append(b"goes")
    promise = spawn(scene.copy.copy_some())
    scene.logs.truncate_to({T0: 1})
    scene.append(b"comes", epoch=1)
    scene.world.advance(0)
    assert promise.result() == 0
    scene.copy_all()
    assert read_records(scene.future, 0) == [(0, b"stays"), (1, b"comes")]


def test_what_is_read_for_a_move_that_was_called_off_goes_nowhere(scene: Scene) -> None:
    scene.append(b"a")
    promise = spawn(scene.copy.copy_some())
    scene.logs.future.delete(T0)
    scene.world.advance(0)
    assert promise.result() == 0
    assert scene.future.log_end_offset == 0


def test_what_is_in_memory_is_copied_in_the_same_turn(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a log that is written to at every turn is never caught up with."""
    monkeypatch.setattr(ColdFiles, "is_cold", False)
    scene.append(b"a")
    assert spawn(scene.copy.copy_some()).done
    assert scene.copy.is_complete


def test_a_disk_that_cannot_be_read_takes_its_directory_offline(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.append(b"a")

    def broken(_file: ColdFile, _size: int, _offset: int) -> bytes:
        raise OSError("broken")

    monkeypatch.setattr(ColdFile, "pread", broken)
    promise = spawn(scene.copy.copy_some())
    scene.world.advance(0)
    assert isinstance(promise.error, KafkaError)
    assert promise.error.code is ErrorCode.KAFKA_STORAGE_ERROR
    assert scene.source.is_offline


@pytest.mark.parametrize(
    ("copied", "original", "expected"),
    [
        ([], [], 0),
        ([(0, 5)], [(0, 5)], 5),
        ([(0, 5)], [(0, 3)], 3),
        ([(0, 3)], [(0, 5)], 3),
        ([(0, 5)], [(0, 3), (1, 9)], 3),
        ([(0, 3), (1, 6)], [(0, 3), (2, 9)], 3),
        ([(0, 3), (1, 6)], [(0, 5), (2, 9)], 3),
        ([(0, 2), (1, 4), (3, 8)], [(0, 2), (2, 6), (4, 9)], 2),
        ([(5, 4)], [(3, 4)], 0),
    ],
)
def test_a_copy_is_trusted_up_to_where_the_epochs_agree(
    copied: list[tuple[int, int]], original: list[tuple[int, int]], expected: int
) -> None:
    """Each log is given as (leader epoch, where it ends)."""
    scene = Scene()
    for log, epochs in ((scene.future, copied), (scene.source, original)):
        for epoch, end in epochs:
            while log.log_end_offset < end:
                log.append_as_leader(batch(b"x"), leader_epoch=epoch, now_ms=NOW_MS)
    assert common_end_offset(scene.future, scene.source) == expected


def test_all_copies_share_one_rate() -> None:
    world = FakeWorld()
    rates = [1000]
    throttle = CopyThrottle(world, lambda: rates[0])
    assert throttle.delay_ms() == 0
    throttle.copied(500)
    throttle.copied(500)
    assert throttle.delay_ms() == 1000
    world.advance(400)
    assert throttle.delay_ms() == 600
    rates[0] = 6000
    assert throttle.delay_ms() == 100
    world.advance(10_000)
    assert throttle.delay_ms() == 0
    throttle.copied(600)
    assert throttle.delay_ms() == 100


def test_files_are_copied_byte_for_byte(scene: Scene) -> None:
    for number in range(100):
        scene.append(b"%d" % number)
    scene.copy_all()
    copied, original = (scene.fs.read(log.segments.first.log.path) for log in (scene.future, scene.source))
    assert copied == original
