"""Many partitions that come and go at once: in slices, with files that are made elsewhere, and whole in the end."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from typing import TypeVar

from odradek.broker.replication.catching_up import FOLLOW_SLICE_MS, MADE_AT_ONCE, MADE_TOGETHER
from odradek.ports import Promise
from odradek.storage.log_config import LogConfig
from odradek.storage.memory_files import MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from odradek.wire.persistent.metadata.partition_record import PartitionRecord
from tests.unit.broker.scene import NODE_ID, Scene
from tests.unit.fakes import FakeWorld

T = TypeVar("T")
MANY = 3 * MADE_AT_ONCE
STEP_MS = 0.4 * FOLLOW_SLICE_MS


class World(FakeWorld):
    """Tells what is done by the executor."""

    def __init__(self) -> None:
        super().__init__()
        self.in_executor = False
        self.pieces = 0

    def submit(self, work: Callable[[], T]) -> Promise[T]:
        def watched() -> T:
            self.in_executor = True
            self.pieces += 1
            try:
                return work()
            finally:
                self.in_executor = False

        return super().submit(watched)


class Files(MemoryFileSystem):
    """Counts directories by who makes them, and fails when told to."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.made_by_executor = 0
        self.made_by_loop = 0
        self.fails_at = ""

    def mkdir(self, path: str) -> None:
        if self.fails_at and path.endswith(self.fails_at):
            raise OSError(errno.EIO, "input/output error", path)
        if "-" in path:
            if self._world.in_executor:
                self.made_by_executor += 1
            else:
                self.made_by_loop += 1
        super().mkdir(path)


class Broker(Scene):
    def __init__(self) -> None:
        world = World()
        self.files = Files(world)
        self.executor = world
        super().__init__(world=world, files=self.files)
        self.replicas.catching_up.made_at_once = MADE_AT_ONCE

    def code(self, topic: str, partition: int) -> ErrorCode:
        try:
            self.replicas.partition(TopicPartition(topic, partition)).leader_log()
        except KafkaError as error:
            return error.code
        return ErrorCode.NONE

    def usable(self, topic: str) -> int:
        """How many partitions of a topic take records."""
        return sum(
            partition.is_leader and partition.log is not None
            for name, partition in self.replicas.partitions.items()
            if name.topic == topic
        )

    def directories(self) -> list[str]:
        return [name for name in self.files.list("/data") if self.files.is_dir(f"/data/{name}")]

    def take_time_with_each(self) -> None:
        """From now on each partition that comes or goes takes a part of a slice."""
        self.replicas.catching_up.clock = _Ticking(self)


class _Ticking:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._changes = 0
        self._known = -1

    def now_ms(self) -> int:
        return self._broker.world.now_ms()

    def monotonic_ms(self) -> float:
        known = len(self._broker.replicas.partitions)
        self._changes += abs(known - self._known) if self._known >= 0 else 0
        self._known = known
        return self._changes * STEP_MS


def test_few_partitions_are_there_at_once() -> None:
    broker = Broker()
    broker.create_topic("t", partitions=MADE_AT_ONCE)
    assert broker.usable("t") == MADE_AT_ONCE
    assert (broker.executor.pieces, broker.replicas.catching_up.when_done().done) == (0, True)


def test_of_many_partitions_the_executor_makes_the_files_some_at_a_time() -> None:
    broker = Broker()
    broker.create_topic("t", partitions=MANY)
    usable = [broker.usable("t")]
    while usable[-1] < MANY:
        broker.world.run_one_turn()
        usable.append(broker.usable("t"))
    assert usable[0] == MADE_AT_ONCE
    assert max(later - before for before, later in itertools.pairwise(usable)) == MADE_TOGETHER
    assert (broker.files.made_by_loop, broker.files.made_by_executor) == (MADE_AT_ONCE, MANY - MADE_AT_ONCE)
    broker.append("t", b"a", partition=MANY - 1)
    assert broker.end_offset("t", MANY - 1) == 1


def test_a_slow_disk_leaves_even_few_partitions_to_the_executor() -> None:
    broker = Broker()
    broker.take_time_with_each()
    broker.create_topic("t", partitions=MADE_AT_ONCE)
    assert broker.usable("t") == 3
    broker.world.run_soon()
    assert (broker.usable("t"), broker.files.made_by_loop) == (MADE_AT_ONCE, 3)


def test_partitions_are_deleted_in_slices_and_nothing_of_them_stays() -> None:
    broker = Broker()
    topic_id = broker.create_topic("t", partitions=MANY)
    broker.world.run_soon()
    broker.take_time_with_each()
    broker.delete_topic(topic_id)
    gone = broker.replicas.catching_up.when_done(["t"])
    left = [broker.usable("t")]
    while left[-1]:
        assert not gone.done
        broker.world.run_one_turn()
        left.append(broker.usable("t"))
    assert {before - later for before, later in itertools.pairwise(left)} == {3}
    assert gone.done
    broker.world.advance(60_000)
    assert (list(broker.logs.logs()), broker.directories()) == ([], [])


def test_who_waits_for_a_topic_is_told_when_all_of_it_is_there_and_not_of_others() -> None:
    broker = Broker()
    broker.create_topic("t", partitions=MANY)
    there, other = broker.replicas.catching_up.when_done(["t"]), broker.replicas.catching_up.when_done(["other"])
    everything = broker.replicas.catching_up.when_done()
    assert (there.done, everything.done, other.done) == (False, False, True)
    while not there.done:
        assert broker.usable("t") < MANY
        broker.world.run_one_turn()
    assert (broker.usable("t"), everything.done) == (MANY, True)


def test_who_waits_while_the_last_files_are_made_waits_for_them() -> None:
    broker = Broker()
    broker.create_topic("t", partitions=MADE_AT_ONCE + 1)
    there = broker.replicas.catching_up.when_done(["t"])
    assert (there.done, broker.usable("t")) == (False, MADE_AT_ONCE)
    broker.world.run_soon()
    assert (there.done, broker.usable("t")) == (True, MADE_AT_ONCE + 1)


def test_a_small_topic_does_not_wait_for_a_large_one() -> None:
    broker = Broker()
    broker.create_topic("large", partitions=MANY)
    broker.create_topic("small")
    assert (broker.usable("small"), broker.usable("large")) == (1, MADE_AT_ONCE)


def test_a_new_leader_epoch_does_not_wait_for_files_of_others() -> None:
    broker = Broker()
    topic_id = broker.create_topic("led")
    broker.create_topic("large", partitions=MANY)
    broker.apply(PartitionChangeRecord(partition_id=0, topic_id=topic_id, leader=NODE_ID))
    assert broker.replicas.partition(TopicPartition("led", 0)).leader_epoch == 1
    assert broker.usable("large") == MADE_AT_ONCE


def test_partitions_added_to_a_topic_come_while_the_others_go_on() -> None:
    broker = Broker()
    topic_id = broker.create_topic("t")
    broker.append("t", b"a")
    broker.apply(
        *(
            PartitionRecord(partition_id=index, topic_id=topic_id, replicas=[1], isr=[1], leader=1, leader_epoch=0)
            for index in range(1, MANY)
        )
    )
    assert broker.code("t", MANY - 1) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    broker.append("t", b"b")
    broker.world.run_soon()
    assert (broker.usable("t"), broker.end_offset("t")) == (MANY, 2)


def test_a_topic_deleted_while_its_files_are_made_leaves_none() -> None:
    broker = Broker()
    topic_id = broker.create_topic("t", partitions=MANY)
    broker.delete_topic(topic_id)
    assert broker.usable("t") == 0
    broker.world.run_soon()
    assert broker.files.made_by_executor == MADE_TOGETHER  # of what was under way
    assert (broker.usable("t"), list(broker.logs.logs())) == (0, [])
    broker.world.advance(60_000)
    assert broker.directories() == []


def test_a_topic_made_again_while_the_first_ones_files_are_made_is_the_second() -> None:
    broker = Broker()
    broker.delete_topic(broker.create_topic("t", partitions=MANY))
    second = broker.create_topic("t", partitions=MANY)
    broker.world.run_soon()
    assert {partition.topic_id for partition in broker.replicas.partitions.values()} == {second}
    assert {log.topic_id for log in broker.logs.logs()} == {second}
    assert broker.usable("t") == MANY
    broker.world.advance(60_000)
    assert broker.directories() == sorted(f"t-{index}" for index in range(MANY))


def test_a_topic_made_again_at_once_waits_for_the_files_that_are_being_made_by_its_name() -> None:
    broker = Broker()
    broker.replicas.catching_up.made_at_once = 0
    first = broker.create_topic("t", partitions=2)
    broker.replicas.catching_up.made_at_once = MADE_AT_ONCE
    broker.delete_topic(first)
    second = broker.create_topic("t", partitions=2)
    broker.world.run_soon()
    assert [log.topic_id for log in broker.logs.logs()] == [second] * 2
    broker.append("t", b"a", partition=1)
    broker.world.advance(60_000)
    assert broker.directories() == ["t-0", "t-1"]


def test_a_log_of_another_topic_that_has_the_name_gives_way() -> None:
    broker = Broker()
    broker.replicas.catching_up.made_at_once = 0
    broker.logs.create_log(TopicPartition("t", 0), b"another topic id", LogConfig())
    topic_id = broker.create_topic("t")
    broker.world.run_soon()
    broker.append("t", b"a")
    assert [log.topic_id for log in broker.logs.logs()] == [topic_id]
    broker.world.advance(60_000)
    assert broker.directories() == ["t-0"]


def test_a_disk_that_fails_while_files_are_made_takes_the_partitions_offline() -> None:
    broker = Broker()
    failed: list[str] = []

    def dir_failed(log_dir: str) -> None:
        failed.append(log_dir)
        broker.replicas.dir_failed()

    broker.logs.on_dir_failure = dir_failed
    broker.files.fails_at = f"/t-{MADE_AT_ONCE + 3}"
    broker.create_topic("t", partitions=MANY)
    there = broker.replicas.catching_up.when_done(["t"])
    broker.world.run_soon()
    assert (failed, there.done) == (["/data"], True)
    assert [broker.code("t", index) for index in range(MANY)] == [ErrorCode.KAFKA_STORAGE_ERROR] * MANY


def test_a_stop_makes_nothing_more_and_finishes_what_is_deleted() -> None:
    broker = Broker()
    first = broker.create_topic("first", partitions=MADE_AT_ONCE)
    broker.take_time_with_each()
    broker.delete_topic(first)
    broker.create_topic("t", partitions=MANY)
    assert 0 < broker.usable("first") < MADE_AT_ONCE
    waiting = broker.replicas.catching_up.when_done()
    broker.replicas.close()
    broker.logs.shutdown()
    broker.world.run_soon()
    assert (broker.usable("first"), broker.usable("t"), waiting.done) == (0, 0, True)
    assert [name for name in broker.directories() if not name.endswith("-delete")] == []


def test_files_that_are_there_only_after_the_stop_are_a_log_of_the_next_start() -> None:
    broker = Broker()
    topic_id = broker.create_topic("t", partitions=MANY)
    broker.replicas.close()
    broker.logs.shutdown()
    broker.world.run_soon()
    again = Scene(files=broker.files)
    assert {log.topic_id for log in again.logs.logs()} == {topic_id}
    assert len(list(again.logs.logs())) == MADE_AT_ONCE + MADE_TOGETHER
    assert again.logs.offline_dirs() == {}
