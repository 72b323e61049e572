"""The runtime, with a coordinator of counters that is neither groups nor transactions."""

from __future__ import annotations

import pytest

from odradek.broker.coordinator.batches import RecordCodec
from odradek.broker.coordinator.loader import RECORDS_AT_ONCE
from odradek.broker.coordinator.result import CoordinatorRecord, CoordinatorResult, Producer
from odradek.broker.coordinator.runtime import CoordinatorRuntime
from odradek.broker.coordinator.shard import REPLY_SLICE_MS, TIMER_RETRY_MS, ShardContext, ShardState
from odradek.broker.coordinator.timeline import TimelineMap
from odradek.ports import Promise
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from tests.unit.broker.coordinator.counter_records import COUNTER, KEYS, VALUES, CounterKey, CounterValue
from tests.unit.broker.coordinator.fake_log import DISK_BROKEN, NO_LEADER, FakeLog
from tests.unit.fakes import FakeWorld

PARTITION = TopicPartition("counters", 3)
WRITE_TIMEOUT_MS = 5000
BUMP_AFTER_MS = 1000


class Counters:
    """Named counters, with records of their own: what the runtime carries beside groups and transactions."""

    def __init__(self, context: ShardContext[Counters]) -> None:
        self.context = context
        self.counts: TimelineMap[str, int] = TimelineMap(context.timeline)
        self.pending: dict[int, list[tuple[str, int]]] = {}
        self.loaded = False
        self.parked: list[Promise[str]] = []
        self.fail_replay = False
        self.unwritten = 0

    def replay(self, offset: int, producer_id: int, record: CoordinatorRecord) -> None:
        if self.fail_replay:
            raise RuntimeError("replay is broken")
        assert isinstance(record.key, CounterKey)
        name = record.key.name
        if record.value is None:
            self.counts.remove(name)
            return
        assert isinstance(record.value, CounterValue)
        if producer_id >= 0:
            self.pending.setdefault(producer_id, []).append((name, record.value.count))
        else:
            self.counts.set(name, record.value.count)

    def replay_end_of_transaction(self, producer_id: int, *, committed: bool) -> None:
        for name, count in self.pending.pop(producer_id, []) if committed else ():
            self.counts.set(name, count)

    def on_loaded(self) -> None:
        self.loaded = True

    def on_unloaded(self) -> None:
        for promise in self.parked:
            self.context.reply(promise, "unloaded")

    def bump(self, name: str) -> CoordinatorResult[int]:
        """Count up."""
        count = (self.counts.get(name) or 0) + 1
        return CoordinatorResult([counter(name, count)], count)

    def bump_later(self, name: str) -> CoordinatorResult[None]:
        """Count up in a second."""
        self.context.timers.schedule(name, BUMP_AFTER_MS, lambda: self.timer_bump(name))
        return CoordinatorResult((), None)

    def timer_bump(self, name: str) -> CoordinatorResult[None]:
        """What the timer does."""
        return CoordinatorResult(self.bump(name).records, None)


def counter(name: str, count: int) -> CoordinatorRecord:
    """A counter's record."""
    return CoordinatorRecord(CounterKey(name=name), CounterValue(count=count))


class Toy:
    """A runtime of counters on one partition."""

    def __init__(self, log: FakeLog | None = None, *, load: bool = True) -> None:
        self.world = FakeWorld()
        self.log = log or FakeLog()
        self.machines: list[Counters] = []
        self.runtime: CoordinatorRuntime[Counters] = CoordinatorRuntime(
            writer=self.log,
            codec=RecordCodec(KEYS, VALUES, (COUNTER,)),
            factory=self._machine,
            clock=self.world,
            scheduler=self.world,
            write_timeout_ms=WRITE_TIMEOUT_MS,
            load_buffer_bytes=300,
        )
        if load:
            self.runtime.load(PARTITION, 0)
            self.world.run_soon()

    def _machine(self, context: ShardContext[Counters]) -> Counters:
        self.machines.append(Counters(context))
        return self.machines[-1]

    def bump(self, name: str = "a") -> Promise[int]:
        """Count up."""
        return self.runtime.write(PARTITION, lambda machine: machine.bump(name))

    def committed(self, name: str = "a") -> int | None:
        """The count that readers see."""
        return self.runtime.read(PARTITION, lambda machine: machine.counts.committed(name)).result()

    def latest(self, name: str = "a") -> int | None:
        """The count that the next operation goes on from."""
        return self.machines[-1].counts.get(name)


def code(promise: Promise[int]) -> ErrorCode:
    """The error that a promise failed with."""
    assert isinstance(promise.error, KafkaError)
    return promise.error.code


def test_an_operation_is_answered_with_its_records_in_the_log() -> None:
    toy = Toy()
    assert toy.bump().result() == 1
    assert toy.bump().result() == 2
    assert toy.committed() == 2
    assert [record.offset for record in toy.log.records(PARTITION)] == [0, 1]


def test_the_answer_waits_for_the_high_watermark_and_so_do_reads() -> None:
    toy = Toy()
    toy.log.commits_at_once = False
    first, second = toy.bump(), toy.bump()
    assert not first.done
    assert (toy.latest(), toy.committed()) == (2, None)
    toy.log.commit(PARTITION, 1)
    assert (first.result(), second.done, toy.committed()) == (1, False, 1)
    toy.log.commit(PARTITION)
    assert (second.result(), toy.committed()) == (2, 2)


def test_an_operation_without_records_waits_for_those_before_it() -> None:
    toy = Toy()
    toy.log.commits_at_once = False
    toy.bump()
    quiet = toy.runtime.write(PARTITION, lambda machine: CoordinatorResult((), machine.counts.get("a")))
    assert not quiet.done
    toy.log.commit(PARTITION)
    assert quiet.result() == 1


def test_a_write_that_is_not_committed_in_time_fails_and_stays() -> None:
    toy = Toy()
    toy.log.commits_at_once = False
    late = toy.bump()
    toy.world.advance(WRITE_TIMEOUT_MS)
    assert code(late) is ErrorCode.COORDINATOR_NOT_AVAILABLE
    toy.log.commit(PARTITION)
    assert toy.committed() == 1


def test_what_an_append_commits_is_told_once_its_own_records_are_replayed() -> None:
    toy = Toy()
    seen: list[int | None] = []
    toy.log.commits_at_once = False
    toy.runtime.write(
        PARTITION,
        lambda machine: machine.bump("a")._replace(on_committed=lambda _: seen.append(machine.counts.get("a"))),
    )
    toy.log.commits_at_once = True
    assert toy.bump().result() == 2
    assert seen == [2]


def test_state_is_replayed_from_the_log() -> None:
    toy = Toy()
    for name in ("a", "b", "a", "c", "a"):
        toy.bump(name)
    again = Toy(toy.log)
    assert [again.committed(name) for name in "abc"] == [3, 1, 1]
    assert again.machines[-1].loaded
    assert toy.log.reads > 1


def test_what_was_not_committed_when_loading_began_is_not_read_before_it_is() -> None:
    toy = Toy()
    toy.bump()
    toy.log.commits_at_once = False
    toy.bump()
    again = Toy(toy.log)
    assert (again.latest(), again.committed()) == (2, 1)
    toy.log.commit(PARTITION)
    assert again.committed() == 2


def test_requests_are_refused_while_loading_and_without_a_shard() -> None:
    toy = Toy(load=False)
    assert code(toy.bump()) is ErrorCode.NOT_COORDINATOR
    toy.runtime.load(PARTITION, 0)
    assert code(toy.bump()) is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    toy.world.run_soon()
    assert toy.bump().result() == 1


def test_loading_gives_way_to_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy()
    for _ in range(200):
        toy.bump()
    slow = Toy(toy.log, load=False)
    slow.runtime = CoordinatorRuntime(
        writer=toy.log,
        codec=RecordCodec(KEYS, VALUES, (COUNTER,)),
        factory=slow._machine,
        clock=slow.world,
        scheduler=slow.world,
        write_timeout_ms=WRITE_TIMEOUT_MS,
        load_buffer_bytes=1 << 20,
    )
    ticks = iter(range(100_000))
    monkeypatch.setattr(slow.world, "monotonic_ms", lambda: float(next(ticks)))
    slow.runtime.load(PARTITION, 0)
    turns = 0
    while slow.runtime.state(PARTITION) is ShardState.LOADING:
        callbacks, slow.world._soon = slow.world._soon, []
        for callback in callbacks:
            callback()
        turns += 1
    assert turns > 200
    assert slow.committed() == 200


def many_counters(count: int = 1000) -> CoordinatorResult[int]:
    """One batch of many records."""
    return CoordinatorResult([counter(f"c{number}", number + 1) for number in range(count)], count)


def test_loading_gives_way_within_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy()
    toy.runtime.write(PARTITION, lambda _machine: many_counters())
    again = Toy(toy.log, load=False)
    monkeypatch.setattr(again.world, "monotonic_ms", iter(range(100_000)).__next__)
    again.runtime.load(PARTITION, 0)
    turns = 0
    while again.runtime.state(PARTITION) is ShardState.LOADING:
        again.world.run_one_turn()
        turns += 1
    assert turns > 1000 / RECORDS_AT_ONCE
    assert again.committed("c999") == 1000


def test_a_shard_that_is_given_up_while_it_loads_says_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy()
    toy.runtime.write(PARTITION, lambda _machine: many_counters())
    again = Toy(toy.log, load=False)
    monkeypatch.setattr(again.world, "monotonic_ms", iter(range(100_000)).__next__)
    again.runtime.load(PARTITION, 0)
    again.world.run_one_turn()
    again.runtime.unload(PARTITION)
    again.world.run_soon()
    assert again.runtime.state(PARTITION) is None
    assert not again.machines[-1].loaded
    assert again.latest("c999") is None


def test_a_long_operation_gives_way_to_others_and_is_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy()
    monkeypatch.setattr(toy.world, "monotonic_ms", iter(range(100_000)).__next__)

    async def operation(machine: Counters) -> CoordinatorResult[int]:
        async for _ in machine.context.slices().each(range(100)):
            assert machine.counts.get("a") is None, "another operation ran meanwhile"
        return many_counters()

    long = toy.runtime.write(PARTITION, operation)
    short = toy.bump()
    read = toy.runtime.read(PARTITION, lambda machine: machine.counts.committed("c999"))
    turns = 0
    while not long.done:
        assert not short.done
        assert not read.done
        toy.world.run_one_turn()
        turns += 1
    assert turns >= (100 + 1000 + 1000) // 16
    assert (long.result(), short.result(), read.result()) == (1000, 1, 1000)
    assert len(toy.log.batches[PARTITION]) == 2
    assert [record.offset for record in toy.log.records(PARTITION)] == list(range(1001))


def test_a_shard_that_is_given_up_during_a_long_operation_writes_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy()
    monkeypatch.setattr(toy.world, "monotonic_ms", iter(range(100_000)).__next__)
    long = toy.runtime.write(PARTITION, lambda _machine: many_counters())
    behind = toy.bump()
    toy.world.run_one_turn()
    toy.runtime.unload(PARTITION)
    toy.world.run_soon()
    assert (code(long), code(behind)) == (ErrorCode.NOT_COORDINATOR, ErrorCode.NOT_COORDINATOR)
    assert PARTITION not in toy.log.batches


def test_a_long_operation_that_fails_late_leaves_the_shard_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy()
    toy.bump()
    monkeypatch.setattr(toy.world, "monotonic_ms", iter(range(100_000)).__next__)
    toy.log.largest_batch_bytes = 1000
    refused = toy.runtime.write(PARTITION, lambda _machine: many_counters())
    behind = toy.bump()
    toy.world.run_soon()
    assert code(refused) is ErrorCode.UNKNOWN_SERVER_ERROR
    assert behind.result() == 2
    assert len(toy.machines) == 1


def test_a_log_that_makes_no_sense_fails_the_shard_alone() -> None:
    toy = Toy()
    toy.bump()
    broken = bytearray(toy.log.batches[PARTITION][0])
    broken[70:] = bytes(len(broken) - 70)
    toy.log.batches[PARTITION] = [bytes(broken)]
    again = Toy(toy.log)
    assert again.runtime.state(PARTITION) is ShardState.FAILED
    assert code(again.bump()) is ErrorCode.NOT_COORDINATOR
    toy.log.batches[PARTITION] = []
    again.runtime.load(PARTITION, 1)
    again.world.run_soon()
    assert again.bump().result() == 1


def test_losing_leadership_fails_what_waits() -> None:
    toy = Toy()
    toy.log.commits_at_once = False
    waiting = toy.bump()
    parked: Promise[str] = Promise()
    toy.machines[-1].parked.append(parked)
    toy.runtime.unload(PARTITION, 1)
    assert code(waiting) is ErrorCode.NOT_COORDINATOR
    assert parked.result() == "unloaded"
    assert code(toy.bump()) is ErrorCode.NOT_COORDINATOR


def test_an_outdated_resignation_is_ignored() -> None:
    toy = Toy()
    toy.runtime.load(PARTITION, 5)
    toy.runtime.unload(PARTITION, 4)
    assert toy.bump().result() == 1
    assert len(toy.machines) == 1


def test_a_refused_append_changes_nothing() -> None:
    toy = Toy()
    toy.bump()
    toy.log.append_error = NO_LEADER
    assert code(toy.bump()) is ErrorCode.NOT_COORDINATOR
    toy.log.append_error = None
    assert toy.bump().result() == 2
    assert len(toy.machines) == 1


@pytest.mark.parametrize("error", [DISK_BROKEN, OSError("no space")])
def test_an_append_that_may_have_been_written_makes_the_shard_load_again(error: Exception) -> None:
    toy = Toy()
    toy.bump()
    toy.log.append_error = error
    failed = toy.bump()
    assert code(failed) in (ErrorCode.NOT_COORDINATOR, ErrorCode.UNKNOWN_SERVER_ERROR)
    assert toy.runtime.state(PARTITION) is ShardState.LOADING
    toy.log.append_error = None
    toy.world.run_soon()
    assert len(toy.machines) == 2
    assert toy.bump().result() == 2


def test_a_replay_that_fails_makes_the_shard_load_again() -> None:
    toy = Toy()
    toy.machines[-1].fail_replay = True
    assert code(toy.bump()) is ErrorCode.UNKNOWN_SERVER_ERROR
    toy.world.run_soon()
    assert (len(toy.machines), toy.committed()) == (2, 1)


def test_an_operation_that_is_refused_changes_nothing() -> None:
    toy = Toy()

    def half_done(machine: Counters) -> CoordinatorResult[int]:
        machine.counts.set("a", 99)
        raise KafkaError(ErrorCode.ILLEGAL_GENERATION)

    assert code(toy.runtime.write(PARTITION, half_done)) is ErrorCode.ILLEGAL_GENERATION
    assert toy.latest() is None
    assert toy.bump().result() == 1


def test_what_an_operation_that_fails_unexpectedly_has_changed_is_forgotten() -> None:
    toy = Toy()
    toy.bump()

    def defect(machine: Counters) -> CoordinatorResult[int]:
        machine.unwritten = 99
        raise ValueError("oops")

    assert code(toy.runtime.write(PARTITION, defect)) is ErrorCode.UNKNOWN_SERVER_ERROR
    toy.world.run_soon()
    assert [machine.unwritten for machine in toy.machines] == [99, 0]
    assert toy.bump().result() == 2


def test_an_answer_that_causes_a_request_finds_the_operation_ended() -> None:
    toy = Toy()
    counts: list[int | None] = []

    def ask_again(_: Promise[str]) -> None:
        toy.runtime.read(PARTITION, lambda machine: counts.append(machine.counts.get("a")))

    def operation(machine: Counters) -> CoordinatorResult[int]:
        parked: Promise[str] = Promise()
        parked.on_done(ask_again)
        machine.context.reply(parked, "now")
        assert counts == []
        return machine.bump("a")

    toy.runtime.write(PARTITION, operation)
    assert counts == [1]


def test_a_timer_is_an_operation_like_any_other() -> None:
    toy = Toy()
    toy.runtime.write(PARTITION, lambda machine: machine.bump_later("a"))
    toy.world.advance(BUMP_AFTER_MS - 1)
    assert toy.committed() is None
    toy.world.advance(1)
    assert toy.committed() == 1
    toy.world.advance(BUMP_AFTER_MS * 3)
    assert toy.committed() == 1


def test_a_timer_that_could_not_be_written_down_comes_again() -> None:
    toy = Toy()
    toy.runtime.write(PARTITION, lambda machine: machine.bump_later("a"))
    toy.log.append_error = KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS)
    toy.world.advance(BUMP_AFTER_MS + TIMER_RETRY_MS)
    assert toy.committed() is None
    toy.log.append_error = None
    toy.world.advance(TIMER_RETRY_MS)
    assert toy.committed() == 1
    toy.world.advance(BUMP_AFTER_MS * 3)
    assert toy.committed() == 1


def test_a_timer_that_is_moved_or_cancelled_keeps_quiet() -> None:
    toy = Toy()
    timers = toy.machines[-1].context.timers
    toy.runtime.write(PARTITION, lambda machine: machine.bump_later("moved"))
    toy.runtime.write(PARTITION, lambda machine: machine.bump_later("cancelled"))
    toy.world.advance(BUMP_AFTER_MS - 1)
    toy.runtime.write(PARTITION, lambda machine: machine.bump_later("moved"))
    timers.cancel("cancelled")
    toy.world.advance(BUMP_AFTER_MS - 1)
    assert (toy.committed("moved"), toy.committed("cancelled")) == (None, None)
    timers.schedule("moved", 0, lambda: toy.machines[-1].timer_bump("moved"))
    toy.world.advance(0)
    assert toy.committed("moved") == 1
    toy.world.advance(BUMP_AFTER_MS * 2)
    assert toy.committed("moved") == 1


def test_timers_end_with_the_shard() -> None:
    toy = Toy()
    toy.runtime.write(PARTITION, lambda machine: machine.bump_later("a"))
    toy.runtime.unload(PARTITION)
    toy.world.advance(BUMP_AFTER_MS * 2)
    assert toy.log.records(PARTITION) == []


@pytest.mark.parametrize("committed", [True, False])
def test_records_of_a_transaction_count_when_its_marker_says_so(committed: bool) -> None:
    toy = Toy()
    producer = Producer(7, 0)
    assert toy.runtime.write(PARTITION, lambda machine: machine.bump("a"), producer).result() == 1
    assert toy.committed() is None
    assert toy.runtime.complete_transaction(PARTITION, producer, 0, committed=committed).error is None
    expected = 1 if committed else None
    assert toy.committed() == expected
    assert Toy(toy.log).committed() == expected


def test_records_of_unknown_types_are_stepped_over_and_kept() -> None:
    toy = Toy()
    toy.bump()
    log = toy.log
    stranger = bytearray(log.batches[PARTITION][0])
    key_at = stranger.index(b"\0\0\0\1a")
    stranger[key_at : key_at + 2] = b"\0\7"
    log.append(PARTITION, stranger, 0)
    assert Toy(log).bump().result() == 2
    assert len(log.records(PARTITION)) == 3


def test_all_shards_are_asked() -> None:
    toy = Toy()
    toy.runtime.load(TopicPartition("counters", 4), 0)
    toy.world.run_soon()
    assert [answer.result() for answer in toy.runtime.write_all(lambda machine: machine.bump("a"))] == [1, 1]
    assert [answer.result() for answer in toy.runtime.read_all(lambda machine: machine.counts.get("a"))] == [1, 1]
    toy.runtime.close()
    assert toy.runtime.partitions() == []


def test_a_write_that_fails_behind_its_first_batch_is_read_from_the_log_again() -> None:
    toy = Toy()
    toy.bump("before")
    toy.log.largest_batch_bytes = 150
    batches_before = len(toy.log.batches[PARTITION])
    accept = toy.log.append

    def append(partition: TopicPartition, batch: bytearray, leader_epoch: int, **_options: object) -> int:
        if len(toy.log.batches[PARTITION]) > batches_before:
            raise KafkaError(ErrorCode.RECORD_LIST_TOO_LARGE)
        return accept(partition, batch, leader_epoch)

    toy.log.append = append  # type: ignore[method-assign] # refuses the second batch of one write
    records = [counter(name, 7) for name in ("a", "b", "c", "d")]
    answer = toy.runtime.write(PARTITION, lambda _machine: CoordinatorResult(records, 0, atomic=False))
    assert answer.error is not None
    toy.world.run_soon()
    assert toy.latest("before") == 1
    assert toy.latest("a") == 7


def test_what_fails_when_records_are_committed_does_not_hold_up_other_requests() -> None:
    toy = Toy()

    def fail(_error: KafkaError | None) -> None:
        raise RuntimeError("the machine is broken")

    toy.log.commits_at_once = False
    broken = toy.runtime.write(PARTITION, lambda _machine: CoordinatorResult([counter("a", 1)], 1, on_committed=fail))
    other = toy.bump("b")
    toy.log.commit(PARTITION)
    assert code(broken) is ErrorCode.UNKNOWN_SERVER_ERROR
    assert other.done
    toy.world.run_soon()
    assert toy.runtime.state(PARTITION) is ShardState.ACTIVE
    assert (toy.latest("a"), toy.latest("b")) == (1, 1)


class Crowd:
    """Five who wait for one operation, and whose answers take long."""

    def __init__(self, toy: Toy) -> None:
        self.toy = toy
        self.answered: list[str] = []
        promises = [Promise[str]() for _ in range(5)]
        for promise in promises:
            promise.on_done(self._take)

        def answer(machine: Counters) -> CoordinatorResult[None]:
            for number, promise in enumerate(promises):
                machine.context.reply(promise, str(number))
            return CoordinatorResult((), None)

        assert toy.runtime.write(PARTITION, answer).done

    def _take(self, promise: Promise[str]) -> None:
        self.answered.append(promise.result())
        self.toy.world.advance_clock(REPLY_SLICE_MS * 0.6)


def test_many_replies_leave_in_turns_and_others_are_answered_between_them() -> None:
    toy = Toy()
    crowd = Crowd(toy)
    assert crowd.answered == ["0", "1"]
    assert toy.bump().result() == 1
    toy.world.run_one_turn()
    assert crowd.answered == ["0", "1", "2", "3"]
    toy.world.run_one_turn()
    assert crowd.answered == ["0", "1", "2", "3", "4"]
    assert Crowd(toy).answered == ["0", "1"]


def test_replies_that_are_left_when_a_shard_is_given_up_leave_at_once() -> None:
    toy = Toy()
    crowd = Crowd(toy)
    toy.runtime.close()
    assert crowd.answered == ["0", "1", "2", "3", "4"]
