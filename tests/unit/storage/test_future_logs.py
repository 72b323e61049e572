"""Future logs on the disk: what a start, a stop and a rename make of them."""

from __future__ import annotations

import pytest

from odradek.storage.checkpoints import read_offsets
from odradek.storage.directory_choice import MAX_PREFERRED, DirectoryChoice
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.manager import LogManager
from odradek.storage.memory_files import MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.header import rewrite_base_offset_and_epoch
from tests.unit.fakes import FakeWorld
from tests.unit.storage.support import NOW_MS, batch, read_records

ONE, TWO = "/one", "/two"
T0 = TopicPartition("t", 0)
TOPIC_ID = bytes(range(16))


class Disks(MemoryFileSystem):
    """Files that know which directories were synced."""

    def __init__(self) -> None:
        super().__init__()
        self.synced_dirs: list[str] = []

    def sync_dir(self, path: str) -> None:
        self.synced_dirs.append(path)
        super().sync_dir(path)


class Node:
    def __init__(self) -> None:
        self.files = Disks()
        self.world = FakeWorld(now_ms=NOW_MS)
        self.start()

    def start(self, assigned: str | None = None) -> None:
        world = self.world
        self.logs = LogManager(self.files, world, world, world, world, [ONE, TWO])
        self.logs.load(lambda _topic: LogConfig(), assigned_dir=lambda _name: assigned)

    def future(self) -> Log:
        future = self.logs.future.get(T0)
        assert future is not None
        return future


@pytest.fixture
def node() -> Node:
    """With a log in /one, and its copy, not written yet, in /two."""
    node = Node()
    log = node.logs.create_log(T0, TOPIC_ID, LogConfig(), ONE)
    append(log, b"a", b"b")
    node.logs.future.create(T0, TWO)
    return node


def append(log: Log, *values: bytes, leader_epoch: int = 0) -> None:
    for value in values:
        log.append_as_leader(batch(value), leader_epoch=leader_epoch, now_ms=NOW_MS)


def test_a_clean_stop_leaves_future_logs_as_clean_as_others(node: Node) -> None:
    append(node.future(), b"a")
    node.logs.shutdown()
    assert read_offsets(node.files, f"{TWO}/recovery-point-offset-checkpoint") == {T0: 1}
    node.start()
    assert read_records(node.future(), 0) == [(0, b"a")]
    assert node.future().recovery_point == 1


def test_a_sync_by_the_old_name_does_not_count(node: Node) -> None:
    append(node.future(), b"a", b"b")
    node.future().flush_later()
    future = node.future()
    node.files.rename(future.directory, f"{TWO}/t-0")
    future.move(f"{TWO}/t-0")
    node.world.run_soon()
    assert future.recovery_point == 0


def test_the_new_name_is_synced(node: Node) -> None:
    append(node.future(), b"a", b"b")
    node.future().flush()
    node.files.synced_dirs.clear()
    node.logs.future.promote(T0)
    node.world.run_soon()
    assert TWO in node.files.synced_dirs


def test_truncation_lowers_the_recovery_point_on_the_disk(node: Node) -> None:
    append(node.future(), b"a", b"b")
    node.future().flush()
    node.logs.checkpoint_recovery_points()
    node.logs.truncate_to({T0: 1})
    assert read_offsets(node.files, f"{TWO}/recovery-point-offset-checkpoint")[T0] <= 1
    assert node.future().log_end_offset == 1


def test_a_future_log_beside_the_current_one_is_of_no_use(node: Node) -> None:
    name = node.files.list(TWO)[0]
    node.files.rename(f"{TWO}/{name}", f"{ONE}/{name}")
    node.start(assigned=ONE)
    assert node.logs.future.get(T0) is None
    assert [name[-7:] for name in node.files.list(ONE) if name.startswith("t-0.")] == ["-delete"]
    log = node.logs.log(T0)
    assert log is not None
    assert len(read_records(log, 0)) == 2


def test_of_two_future_logs_the_controllers_counts(node: Node) -> None:
    node.files.mkdir(f"{ONE}/t-0.{'0' * 32}-future")
    node.start(assigned=TWO)
    assert node.future().log_dir == TWO
    assert [name[-6:] for name in node.files.list(ONE) if name.startswith("t-0.")] == ["-stray"]


def test_of_two_logs_the_one_of_the_later_leader_counts(node: Node) -> None:
    """The other has more records, of a leader that was deposed."""
    append(node.future(), b"a", leader_epoch=1)
    node.files.rename(node.future().directory, f"{TWO}/t-0")
    node.start(assigned=ONE)
    log = node.logs.log(T0)
    assert log is not None
    assert read_records(log, 0) == [(0, b"a")]


@pytest.mark.parametrize("suffix", ["", f".{'0' * 32}-future"])
def test_two_logs_of_a_partition_that_the_controller_does_not_know_need_the_user(node: Node, suffix: str) -> None:
    for log_dir in (ONE, TWO):
        node.files.mkdir(f"{log_dir}/u-0{suffix}")
    with pytest.raises(KafkaError, match=r"u-0 is both in /one/u-0.* and in /two/u-0") as raised:
        node.start()
    assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR


def test_directories_count_future_logs_when_the_next_log_chooses(node: Node) -> None:
    chosen = [node.logs.create_log(TopicPartition("u", index), TOPIC_ID, LogConfig()).log_dir for index in range(2)]
    assert chosen == [ONE, TWO]
    assigned = node.logs.create_log(TopicPartition("u", 2), TOPIC_ID, LogConfig(), TWO)
    assert assigned.log_dir == TWO


def test_a_wish_comes_before_the_controllers_assignment_and_counts_once() -> None:
    choice = DirectoryChoice(())
    choice.prefer(T0, TWO)
    counts = {ONE: 0, TWO: 5, "/three": 1}
    assert choice.choose(T0, counts, "/three") == TWO
    assert choice.choose(T0, counts, "/three") == "/three"
    assert choice.choose(T0, counts, "/gone") == ONE
    choice.prefer(T0, "/gone")
    assert choice.choose(T0, counts, None) == ONE


def test_cordoned_directories_are_chosen_only_if_all_are() -> None:
    counts = {ONE: 0, TWO: 5}
    assert DirectoryChoice((ONE,)).choose(T0, counts, None) == TWO
    assert DirectoryChoice((ONE, TWO)).choose(T0, counts, None) == ONE
    with pytest.raises(KafkaError) as raised:
        DirectoryChoice(()).choose(T0, {}, None)
    assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR


def test_wishes_are_forgotten_when_there_are_too_many() -> None:
    choice = DirectoryChoice(())
    for index in range(MAX_PREFERRED + 1):
        choice.prefer(TopicPartition("t", index), TWO)
    counts = {ONE: 0, TWO: 5}
    assert choice.choose(T0, counts, None) == ONE
    assert choice.choose(TopicPartition("t", 1), counts, None) == TWO


def test_a_crash_after_the_move_finds_what_was_known_of_the_log_in_its_old_directory(node: Node) -> None:
    current, future = node.logs.log(T0), node.future()
    assert current is not None
    current.cleaned_offset = 2
    append(current, b"c")
    append(future, b"a", b"b", b"c")
    for log in (current, future):
        log.update_high_watermark(3)
        log.delete_records_before(1)
    node.logs.future.promote(T0)
    node.world.run_soon()
    assert read_offsets(node.files, f"{TWO}/recovery-point-offset-checkpoint") == {T0: 3}
    node.start()
    moved = node.logs.log(T0)
    assert moved is not None
    assert moved.directory == f"{TWO}/t-0"
    assert (moved.log_start_offset, moved.high_watermark, moved.cleaned_offset) == (1, 3, 2)


def test_a_moved_log_that_is_compacted_no_more_keeps_what_is_behind_a_gap(node: Node) -> None:
    future = node.future()
    for offset in (0, 2):
        data = batch(b"%d" % offset)
        rewrite_base_offset_and_epoch(data, 0, offset, 0)
        future.config = LogConfig(segment_bytes=len(data))
        future.append_as_follower(data)
    assert [segment.base_offset for segment in future.segments] == [0, 1]
    node.logs.future.promote(T0)
    node.start()  # without a checkpoint: before the executor had its turn
    moved = node.logs.log(T0)
    assert moved is not None
    assert read_records(moved, 0) == [(0, b"0"), (2, b"2")]
