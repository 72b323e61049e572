"""The cleaner of a node: which logs, when, and what happens to a cleaning when its log changes, or when it fails."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable

import pytest

from odradek.ports import Promise
from odradek.ports.jobs import JobCancelledError, JobFailedError, JobLostError
from odradek.storage.cleaner.plan import CleanedSegment, CleanerLimits, CleaningPlan, CleaningResult
from odradek.storage.cleaner.runner import CleaningRunner
from odradek.storage.cleaner.sliced_runner import SlicedRunner
from odradek.storage.log import Log
from odradek.storage.log_cleaner import FIRST_LOOK_MS, MAX_ATTEMPTS, CleanerSettings
from odradek.storage.log_config import LogConfig
from odradek.storage.manager import LogManager
from odradek.storage.manager_settings import LogManagerSettings
from odradek.storage.memory_files import MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.records.batch import build_batch
from odradek.wire.records.record import Record
from tests.unit.fakes import FakeWorld
from tests.unit.storage.cleaner.support import all_records
from tests.unit.storage.support import NOW_MS

CONFIG = LogConfig(cleanup_policy=("compact",), segment_bytes=150)
BACKOFF_MS = 5000
SETTINGS = CleanerSettings(backoff_ms=BACKOFF_MS)


class HeldRunner:
    """A cleaning that ends when the test says so."""

    def __init__(self) -> None:
        self.plans: list[CleaningPlan] = []
        self.outcome: Promise[CleaningResult] = Promise.failed(JobCancelledError())
        self.on_segment: Callable[[CleanedSegment], object] = print
        self.is_closed = False

    def start(self, plan: CleaningPlan, on_segment: Callable[[CleanedSegment], object]) -> Promise[CleaningResult]:
        assert self.outcome.done
        self.plans.append(plan)
        self.on_segment = on_segment
        self.outcome = Promise()
        return self.outcome

    @property
    def is_running(self) -> bool:
        return not self.outcome.done

    def cancel(self) -> None:
        self.outcome.reject(JobCancelledError())

    def close(self) -> None:
        self.is_closed = True
        self.cancel()


class Node:
    """A log manager whose logs are compacted."""

    def __init__(self, settings: CleanerSettings = SETTINGS, *, held: bool = False, log_dirs: int = 1) -> None:
        self.fs = MemoryFileSystem()
        self.world = FakeWorld(now_ms=NOW_MS)
        self.runners: list[HeldRunner] = []
        self.held = held
        self.log_dirs = [f"/data{number}" for number in range(log_dirs)]
        self.config = CONFIG
        self.settings = LogManagerSettings(cleaner=settings)
        self.start()

    def start(self) -> None:
        world = self.world
        self.logs = LogManager(
            self.fs, world, world, world, world, self.log_dirs, self.settings, self.new_runner if self.held else None
        )
        self.logs.load(lambda _topic: self.config)

    def new_runner(self) -> CleaningRunner:
        runner = HeldRunner()
        self.runners.append(runner)
        return runner

    def create(self, name: str = "topic", keys: str = "aba", config: LogConfig | None = None) -> Log:
        """A log with a record in each of its segments, of which the last one is active."""
        log = self.logs.create_log(TopicPartition(name, 0), bytes(15) + b"\x01", config or self.config)
        for key in keys:
            self.write(log, key)
        return log

    def write(self, log: Log, key: str) -> None:
        batch = build_batch([Record(0, self.world.now_ms(), key.encode(), b"v" * 50)])
        log.append_as_leader(bytearray(batch), leader_epoch=0, now_ms=self.world.now_ms())
        log.update_high_watermark(log.log_end_offset)

    def checkpoint(self, log_dir: str = "/data0") -> str:
        return self.fs.read(f"{log_dir}/cleaner-offset-checkpoint").decode()


def offsets(log: Log) -> list[int]:
    return [record.offset for record in all_records(log)]


def test_dirty_logs_are_cleaned_soon_after_the_start_and_then_after_each_pause() -> None:
    node = Node()
    log = node.create(keys="abab")
    assert offsets(log) == [0, 1, 2, 3]
    node.world.advance(BACKOFF_MS)
    assert offsets(log) == [1, 2, 3]
    assert log.cleaned_offset == 3
    assert node.checkpoint() == "0\n1\ntopic 0 3\n"
    for key in "aabb":
        node.write(log, key)
    node.world.advance(FIRST_LOOK_MS - 1)
    assert offsets(log) == [1, 2, 3, 4, 5, 6, 7]
    node.world.advance(1)
    assert offsets(log) == [5, 6, 7]


def test_a_node_goes_on_where_it_was() -> None:
    node = Node(held=True)
    log = node.create(keys="abab")
    node.world.advance(BACKOFF_MS)
    node.runners[0].outcome.resolve(CleaningResult(2, 1, 1, 0))
    node.logs.shutdown()
    node.start()
    log = node.logs.logs()[0]  # type: ignore[index] # a list
    assert log.cleaned_offset == 2
    for key in "cd":
        node.write(log, key)
    node.world.advance(BACKOFF_MS)
    assert node.runners[1].plans[0].first_dirty_offset == 2


def test_the_checkpoint_waits_until_the_new_segments_names_are_durable() -> None:
    held = Node(held=True)
    log = held.create(keys="aab")
    held.world.advance(BACKOFF_MS)
    runner = held.runners[0]
    leave_something(held, log)
    for name in (".index", ".timeindex"):
        held.fs.open(f"{log.directory}/{0:020d}{name}.cleaned", create=True).close()
    runner.on_segment(CleanedSegment((0,), 0, -1, 0))
    runner.outcome.resolve(CleaningResult(2, 1, 1, 0))
    assert log.cleaned_offset is None
    held.world.run_soon()
    assert log.cleaned_offset == 2


def test_a_disabled_cleaner_does_nothing() -> None:
    node = Node(SETTINGS._replace(is_enabled=False))
    log = node.create(keys="aaaa")
    node.logs.update_settings(node.settings._replace(cleaner=SETTINGS))
    node.world.advance(10 * BACKOFF_MS)
    assert offsets(log) == [0, 1, 2, 3]
    assert not node.fs.exists("/data0/cleaner-offset-checkpoint")


def test_logs_that_are_not_compacted_are_left_alone() -> None:
    node = Node()
    log = node.create(keys="aaaa", config=CONFIG._replace(cleanup_policy=("delete",)))
    node.world.advance(10 * BACKOFF_MS)
    assert offsets(log) == [0, 1, 2, 3]


def test_the_dirtiest_log_comes_first_and_then_the_next_without_a_pause() -> None:
    node = Node(held=True)
    clean, dirty = node.create("clean", "abcd"), node.create("dirty", "abcd")
    clean.cleaned_offset = 1
    node.world.advance(BACKOFF_MS)
    (runner,) = node.runners
    assert runner.plans[-1].directory == dirty.directory
    runner.outcome.resolve(CleaningResult(3, 1, 1, 0))
    node.world.run_soon()
    assert runner.plans[-1].directory == clean.directory
    runner.outcome.resolve(CleaningResult(3, 1, 1, 0))
    node.world.run_soon()
    assert len(runner.plans) == 2


def test_each_thread_cleans_another_log() -> None:
    node = Node(SETTINGS._replace(threads=2, dedupe_buffer_bytes=10_000_000, io_buffer_bytes=600_000), held=True)
    node.create("one", "aab"), node.create("two", "aab")
    node.create("three", "aab")
    node.world.advance(BACKOFF_MS)
    assert [len(runner.plans) for runner in node.runners] == [1, 1]
    assert node.runners[0].plans[0].directory != node.runners[1].plans[0].directory
    limits = node.runners[0].plans[0].limits
    assert (limits.dedupe_buffer_bytes, limits.io_buffer_bytes) == (5_000_000, 150_000)


def test_settings_apply_from_the_next_cleaning_on() -> None:
    node = Node(held=True)
    node.create("one", "aab"), node.create("two", "aab")
    node.world.advance(BACKOFF_MS)
    changed = SETTINGS._replace(threads=2, max_bytes_per_second=100.0, load_factor=0.5)
    node.logs.update_settings(node.settings._replace(cleaner=changed))
    node.world.advance(BACKOFF_MS)
    assert len(node.runners) == 2
    assert node.runners[1].plans[0].limits == CleanerLimits(67_108_864, 0.5, 131_072, 50.0)
    node.logs.update_settings(node.settings._replace(cleaner=changed._replace(threads=1)))
    assert [runner.is_closed for runner in node.runners] == [False, True]


def test_retention_of_compacted_logs_is_the_cleaners() -> None:
    node = Node()
    config = CONFIG._replace(cleanup_policy=("compact", "delete"), retention_ms=60_000, min_cleanable_dirty_ratio=1.0)
    both, compacted = node.create("both", "abcd", config), node.create("compacted", "abcd")
    compacted.update_config(CONFIG._replace(min_cleanable_dirty_ratio=1.0))
    compacted.delete_records_before(2)
    node.world.advance_clock(60_001)
    assert node.logs.enforce_retention() == 0
    node.world.advance(BACKOFF_MS)
    assert both.log_start_offset == both.log_end_offset == 4
    assert compacted.segments.base_offsets() == [2, 3]


def test_a_log_that_is_being_cleaned_loses_no_segment_to_retention() -> None:
    node = Node(SETTINGS._replace(threads=2), held=True)
    log = node.create(config=CONFIG._replace(cleanup_policy=("compact", "delete"), retention_ms=1))
    node.world.advance(2 * BACKOFF_MS)
    assert node.logs.cleaner.is_cleaning(log.topic_partition)
    assert len(log.segments) == 3
    log.update_config(log.config._replace(cleanup_policy=("delete",)))
    assert node.logs.enforce_retention() == 3
    assert not node.logs.cleaner.is_cleaning(log.topic_partition)


def leave_something(node: Node, log: Log) -> None:
    node.fs.open(f"{log.directory}/{0:020d}.log.cleaned", create=True).close()


def left(node: Node, log: Log) -> list[str]:
    return [name for name in node.fs.list(log.directory) if name.endswith(".cleaned")]


@pytest.mark.parametrize("how", ["truncate", "truncate fully", "delete", "disk", "shutdown", "close later"])
def test_a_cleaning_is_given_up_when_its_log_changes(how: str) -> None:
    node = Node(held=True, log_dirs=2)
    log = node.create()
    name = log.topic_partition
    node.world.advance(BACKOFF_MS)
    (runner,) = node.runners
    assert runner.is_running
    leave_something(node, log)
    match how:
        case "truncate":
            node.logs.truncate_to({name: 2})
        case "truncate fully":
            node.logs.truncate_fully_and_start_at(name, 7)
        case "delete":
            node.logs.delete_log(name)
        case "disk":
            node.logs.fail_dir(log.log_dir, OSError(errno.EIO, "gone"))
        case "shutdown":
            node.logs.shutdown()
        case _:
            node.logs.close_later()
    assert not runner.is_running
    if how != "disk":
        assert left(node, log) == []
    assert log.cleaned_offset is None
    assert not node.logs.cleaner.is_uncleanable(log)
    node.world.advance(3 * BACKOFF_MS)
    assert runner.is_running == (how == "truncate")


def test_truncation_takes_the_checkpoint_back() -> None:
    node = Node()
    log = node.create(keys="ababc")
    node.world.advance(BACKOFF_MS)
    assert log.cleaned_offset == 4
    node.logs.truncate_to({log.topic_partition: 4})
    assert node.checkpoint() == "0\n1\ntopic 0 4\n"
    node.logs.truncate_to({log.topic_partition: 3})
    assert node.checkpoint() == "0\n1\ntopic 0 3\n"
    node.logs.truncate_fully_and_start_at(log.topic_partition, 1)
    assert node.checkpoint() == "0\n1\ntopic 0 0\n"


def test_a_log_that_begins_by_the_name_of_a_cleaned_one_is_not_cleaned() -> None:
    node = Node()
    log = node.create(keys="ababc")
    node.world.advance(BACKOFF_MS)
    node.logs.delete_log(log.topic_partition)
    assert node.create(keys="").cleaned_offset is None
    assert node.checkpoint() == "0\n0\n"


def test_a_topic_that_is_compacted_no_more_is_not_swapped() -> None:
    node = Node(held=True)
    log = node.create(keys="aab")
    node.world.advance(BACKOFF_MS)
    log.update_config(CONFIG._replace(cleanup_policy=("delete",)))
    node.runners[0].on_segment(CleanedSegment((0, 1), 10, 1, 1))
    assert not node.runners[0].is_running
    assert len(log.segments) == 3


def test_a_log_that_cannot_be_cleaned_is_left_alone_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    node = Node(held=True)
    bad, good = node.create("bad", "aaaab"), node.create("good", "abcdef")
    good.cleaned_offset = 1
    node.world.advance(BACKOFF_MS)
    (runner,) = node.runners
    leave_something(node, bad)
    with caplog.at_level(logging.WARNING):
        runner.outcome.reject(JobFailedError("a damaged batch"))
    assert "bad-0 is not cleaned any more: a damaged batch" in caplog.text
    assert left(node, bad) == []
    assert node.logs.cleaner.is_uncleanable(bad)
    node.world.advance(BACKOFF_MS)
    assert runner.plans[-1].directory == good.directory
    runner.outcome.resolve(CleaningResult(5, 1, 1, 0))
    node.world.advance(100 * BACKOFF_MS)
    assert len(runner.plans) == 2
    name = bad.topic_partition
    node.logs.delete_log(name)
    node.create("bad", "aab")
    node.world.advance(BACKOFF_MS)
    assert len(runner.plans) == 3, "another log of that name"


@pytest.mark.parametrize("error", [JobLostError("killed"), OSError(errno.ENOSPC, "full")])
def test_a_cleaning_that_is_lost_is_tried_again_some_times(error: Exception) -> None:
    node = Node(held=True)
    log = node.create(keys="aab")
    for attempt in range(MAX_ATTEMPTS):
        node.world.advance(BACKOFF_MS)
        assert len(node.runners[0].plans) == attempt + 1
        leave_something(node, log)
        node.runners[0].outcome.reject(error)
        assert left(node, log) == []
        assert not log.is_offline
    node.world.advance(100 * BACKOFF_MS)
    assert len(node.runners[0].plans) == MAX_ATTEMPTS
    assert node.logs.cleaner.is_uncleanable(log)


def test_a_success_forgets_the_failures_before() -> None:
    node = Node(held=True)
    log = node.create(keys="aab")
    for _ in range(2 * MAX_ATTEMPTS):
        node.world.advance(BACKOFF_MS)
        node.runners[0].outcome.reject(JobLostError("killed"))
        node.world.advance(BACKOFF_MS)
        node.runners[0].outcome.resolve(CleaningResult(0, 1, 1, 0))
        node.world.run_soon()
        node.runners[0].cancel()
    assert not node.logs.cleaner.is_uncleanable(log)


def test_a_failing_disk_takes_its_directory_offline_as_in_kafka() -> None:
    node = Node(held=True, log_dirs=2)
    log = node.create(keys="aab")
    node.world.advance(BACKOFF_MS)
    node.runners[0].outcome.reject(OSError(errno.EIO, "input/output error"))
    assert log.is_offline
    assert node.logs.is_offline(log.log_dir)


def test_a_log_is_left_alone_while_it_moves_to_another_directory_and_is_as_clean_there() -> None:
    node = Node(held=True, log_dirs=2)
    log = node.create(keys="aab")
    name = log.topic_partition
    (other,) = [log_dir for log_dir in node.log_dirs if log_dir != log.log_dir]
    node.logs.future.create(name, other)
    node.world.advance(3 * BACKOFF_MS)
    (runner,) = node.runners
    assert runner.plans == []
    node.logs.future.delete(name)
    node.world.advance(BACKOFF_MS)
    assert runner.is_running
    node.logs.future.create(name, other)
    runner.on_segment(CleanedSegment((0, 1), 10, 1, 1))
    assert not runner.is_running, "the move has begun meanwhile"
    assert len(log.segments) == 3
    log.cleaned_offset = 2
    future = node.logs.future.get(name)
    assert future is not None
    future.truncate_fully_and_start_at(3)
    node.logs.future.promote(name)
    assert node.logs.log(name) is future
    assert future.cleaned_offset == 2


def test_a_defect_costs_one_log_and_not_the_cleaner(caplog: pytest.LogCaptureFixture) -> None:
    node = Node(held=True)
    bad, good = node.create("bad", "aaaaab"), node.create("good", "aabc")
    good.cleaned_offset = 1
    node.world.advance(BACKOFF_MS)
    (runner,) = node.runners
    assert runner.plans[-1].directory == bad.directory
    runner.outcome.resolve("no result")  # type: ignore[arg-type] # that is the defect
    node.world.advance(3 * BACKOFF_MS)
    assert "the cleaner stops for a while" in caplog.text
    assert [plan.directory for plan in runner.plans] == [bad.directory, good.directory]


def test_a_sliced_cleaning_lets_others_have_their_turn_and_can_be_cancelled() -> None:
    class SlowClock(FakeWorld):
        def monotonic_ms(self) -> float:
            self.advance_clock(6)
            return super().monotonic_ms()

    node = Node()
    log = node.create(keys="abcabcabcabc", config=CONFIG._replace(segment_bytes=10_000))
    log.roll()
    plan_of = Node(held=True)
    world = SlowClock(now_ms=NOW_MS)
    runner = SlicedRunner(node.fs, world, world)
    held = plan_of.create(keys="abcabcabcabc", config=CONFIG._replace(segment_bytes=10_000))
    held.roll()
    plan_of.world.advance(BACKOFF_MS)
    plan = plan_of.runners[0].plans[0]
    assert plan.directory == log.directory
    done = runner.start(plan, log.replace_segments)
    turns = 0
    while not done.done:
        world.run_one_turn()
        turns += 1
    assert turns > 5
    assert done.result().end_offset == 12
    assert offsets(log) == [9, 10, 11]

    again = runner.start(plan, log.replace_segments)
    world.run_one_turn()
    runner.close()
    world.run_soon()
    assert isinstance(again.error, JobCancelledError)
