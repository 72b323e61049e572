"""Logs whose files the executor makes, and what an earlier log of the same name must not leave behind."""

from __future__ import annotations

import errno
import itertools
from collections import Counter
from collections.abc import Callable

import pytest

from odradek.ports import Promise
from odradek.storage.log_config import LogConfig
from odradek.storage.log_creation import WantedLog
from odradek.storage.log_removal import REMOVED_AT_A_TIME
from odradek.storage.log_results import AppendOrigin
from odradek.storage.manager import LogManager
from odradek.storage.memory_files import MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from tests.unit.fakes import FakeWorld
from tests.unit.storage.support import NOW_MS, batch

ONE, OTHER = bytes(15) + b"\x01", bytes(15) + b"\x02"
T0 = TopicPartition("t", 0)
CONFIG = LogConfig()


class Node:
    def __init__(self, log_dirs: tuple[str, ...] = ("/data",)) -> None:
        self.files = MemoryFileSystem()
        self.log_dirs = log_dirs
        for log_dir in log_dirs:
            self.files.mkdir(log_dir)
        self.start()

    def start(self) -> None:
        """Start; what ran before has crashed."""
        world = self.world = FakeWorld(now_ms=NOW_MS)
        self.logs = LogManager(self.files, world, world, world, world, self.log_dirs)
        self.logs.load(lambda _topic: CONFIG)

    def make(self, *wanted: WantedLog) -> None:
        made = self.logs.make_files_later(wanted)
        assert not made.done
        self.world.run_soon()
        assert made.done

    def write(self, values: int) -> None:
        """A log with records that are synced, replicated and known to checkpoints as such."""
        log = self.logs.create_log(T0, ONE, CONFIG)
        for _ in range(values):
            log.append_as_leader(batch(b"a"), leader_epoch=0, now_ms=NOW_MS, origin=AppendOrigin.CLIENT)
        log.update_high_watermark(values)
        log.flush()
        self.logs.checkpoint("/data")

    def directories(self) -> list[str]:
        return [name for name in self.files.list("/data") if self.files.is_dir(f"/data/{name}")]


def test_a_log_over_files_made_before_is_as_any_other() -> None:
    node = Node()
    node.make(WantedLog(T0, ONE))
    assert (node.logs.log(T0), node.directories()) == (None, ["t-0"])
    log = node.logs.create_log(T0, ONE, CONFIG)
    at_once = node.logs.create_log(TopicPartition("t", 1), ONE, CONFIG)
    assert node.files.list(log.directory) == node.files.list(at_once.directory)
    assert (log.topic_id, log.directory) == (ONE, "/data/t-0")
    log.append_as_leader(batch(b"a"), leader_epoch=0, now_ms=NOW_MS, origin=AppendOrigin.CLIENT)
    node.start()
    found = node.logs.log(T0)
    assert found is not None
    assert (found.topic_id, found.log_end_offset) == (ONE, 1)


def test_files_that_nobody_takes_over_are_removed() -> None:
    node = Node()
    node.make(WantedLog(T0, ONE))
    node.logs.drop_files([T0, TopicPartition("t", 1)])
    (marked,) = node.directories()
    assert marked.endswith("-delete")
    node.world.advance(60_000)
    assert node.directories() == []


def test_files_made_for_another_topic_of_the_name_are_not_taken_over() -> None:
    node = Node()
    node.make(WantedLog(T0, ONE))
    assert node.logs.create_log(T0, OTHER, CONFIG).topic_id == OTHER
    node.start()
    found = node.logs.log(T0)
    assert found is not None
    assert found.topic_id == OTHER


def test_logs_made_together_are_spread_over_the_directories() -> None:
    node = Node(("/data", "/more"))
    node.logs.create_log(TopicPartition("u", 0), ONE, CONFIG, "/more")
    node.make(*(WantedLog(TopicPartition("t", index), ONE, "/more" if index == 5 else None) for index in range(6)))
    logs = [node.logs.create_log(TopicPartition("t", index), ONE, CONFIG) for index in range(6)]
    assert Counter(log.log_dir for log in logs[:5]) == {"/data": 3, "/more": 2}
    assert logs[5].log_dir == "/more"


def test_a_directory_that_fails_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(("/data", "/more"))
    mkdir = MemoryFileSystem.mkdir

    def fail(files: MemoryFileSystem, path: str) -> None:
        if path.startswith("/data"):
            raise OSError(errno.EIO, "input/output error", path)
        mkdir(files, path)

    monkeypatch.setattr(MemoryFileSystem, "mkdir", fail)
    names = [TopicPartition("t", index) for index in range(4)]
    node.make(*(WantedLog(name, ONE) for name in names))
    assert node.logs.is_offline("/data")
    # The first was to be there, as the controller may know; the third was not begun.
    with pytest.raises(KafkaError) as raised:
        node.logs.create_log(names[0], ONE, CONFIG)
    assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    assert [node.logs.create_log(name, ONE, CONFIG).log_dir for name in names[1:]] == ["/more"] * 3


def test_a_directory_that_fails_once_the_files_are_made_has_their_logs_offline() -> None:
    node = Node(("/data", "/more"))
    node.make(WantedLog(T0, ONE, "/data"))
    node.logs.fail_dir("/data", OSError(errno.EIO, "input/output error"))
    with pytest.raises(KafkaError) as raised:
        node.logs.create_log(T0, ONE, CONFIG)
    assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    node.logs.drop_files([T0])


@pytest.mark.parametrize("is_made_later", [False, True])
@pytest.mark.parametrize("is_found_by_a_start", [False, True])
def test_a_log_is_not_taken_for_synced_because_one_of_its_name_was(
    is_made_later: bool, is_found_by_a_start: bool
) -> None:
    node = Node()
    node.write(values=5)
    if is_found_by_a_start:
        node.logs.shutdown()
        node.start()
    node.logs.delete_log(T0)
    if is_made_later:
        node.make(WantedLog(T0, OTHER))
    log = node.logs.create_log(T0, OTHER, CONFIG)
    for _ in range(9):
        log.append_as_leader(batch(b"b"), leader_epoch=0, now_ms=NOW_MS, origin=AppendOrigin.CLIENT)
    node.start()
    found = node.logs.log(T0)
    assert found is not None
    assert (found.log_end_offset, found.high_watermark) == (9, 0)


def test_deleting_and_beginning_logs_of_which_no_checkpoint_speaks_writes_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node()
    node.logs.create_log(T0, ONE, CONFIG)
    node.logs.checkpoint("/data")
    written: list[str] = []
    write = MemoryFileSystem.write_atomically

    def note(files: MemoryFileSystem, path: str, data: bytes) -> None:
        written.append(path)
        write(files, path, data)

    monkeypatch.setattr(MemoryFileSystem, "write_atomically", note)
    node.logs.delete_log(T0)
    node.logs.create_log(T0, OTHER, CONFIG)
    assert written == []


def test_many_logs_are_removed_by_one_thread_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    names = [TopicPartition("t", index) for index in range(3 * REMOVED_AT_A_TIME)]
    for name in names:
        node.logs.create_log(name, ONE, CONFIG)
    node.logs.update_settings(node.logs.settings._replace(file_delete_delay_ms=10))
    node.logs.delete_logs(names)
    waiting: list[tuple[Callable[[], object], Promise[object]]] = []

    def submit(work: Callable[[], object]) -> Promise[object]:
        waiting.append((work, Promise()))
        return waiting[-1][1]

    monkeypatch.setattr(node.world, "submit", submit)
    node.world.advance(10)
    left = [len(names)]
    while left[-1]:
        ((work, done),) = waiting
        waiting.clear()
        done.resolve(work())
        left.append(len(node.directories()))
    assert [before - after for before, after in itertools.pairwise(left)] == [1, 32, 32, 31]
