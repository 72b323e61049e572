"""Fetches that wait for records are answered the short way as the long way would: when, and with what."""

from __future__ import annotations

import random

import pytest

from odradek.broker.api import plain_fetch
from odradek.storage.log_results import AppendOrigin
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.fetch import FetchResponse
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from tests.unit.broker.api.fetch_pair import Asked, Pair, answered, counted_reads, fail_reads, record_sizes, told
from tests.unit.broker.scene import Scene, batch_of
from tests.unit.storage.support import marker

BATCH_BYTES = len(batch_of(b"x" * 50))


def _partition_start(scene: Scene, offset: int) -> None:
    scene.replicas.partition(TopicPartition("t", 1)).local_log().delete_records_before(offset)


def _append_to_t(scene: Scene, batch: bytes, origin: AppendOrigin) -> None:
    partition = scene.replicas.partition(TopicPartition("t", 0))
    scene.replicas.append(partition, memoryview(bytearray(batch)), all_replicas=True, origin=origin)


def test_records_are_sent_when_they_are_appended() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5), ("t", 1, 5))
    asked = pair.ask()
    assert answered(asked) is None
    pair.each(lambda scene: scene.append("u", b"x"))
    pair.each(lambda scene: scene.world.advance(499))
    assert answered(asked) is None
    pair.each(lambda scene: scene.append("t", b"x" * 50, partition=1))
    assert told(answered(asked)) == [(1, 0, BATCH_BYTES)]
    assert pair.short_answers == [True]
    assert not pair.short.holds_ranges()


def test_all_that_is_appended_in_one_turn_is_sent_together() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5))
    asked = pair.ask(("t", 0, 5))
    for broker in (pair.short, pair.long):
        for _ in range(3):
            broker.scene.append("t", b"x" * 50)
    assert answered(asked) is None
    pair.each(lambda scene: scene.append("t", b"x" * 50))
    assert told(answered(asked)) == [(0, 0, 4 * BATCH_BYTES)]


def test_what_was_appended_before_it_in_the_same_turn_is_read() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5))
    pair.fetch(("t", 0, 5))
    for broker in (pair.short, pair.long):
        broker.scene.append("t", b"x" * 50)
    assert told(answered(pair.ask(max_wait_ms=0))) == [(0, 0, BATCH_BYTES)]


def test_the_time_to_wait_ends_it() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5))
    for wait_ms in (500, 100, 700):
        asked = pair.ask(max_wait_ms=wait_ms)
        pair.each(lambda scene, wait_ms=wait_ms: scene.world.advance(wait_ms - 2))  # type: ignore[misc] # bound now
        assert answered(asked) is None
        pair.each(lambda scene: scene.world.advance(2))
        assert answered(asked) is not None
    assert pair.short_answers == [True, True, True]


def test_a_timer_of_the_fetch_before_does_not_end_it() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5))
    asked = pair.ask()
    pair.each(lambda scene: scene.world.advance(400))
    pair.each(lambda scene: scene.append("t", b"x"))
    assert answered(asked) is not None
    asked = pair.ask(("t", 0, 6))
    pair.each(lambda scene: scene.world.advance(498))
    assert answered(asked) is None
    pair.each(lambda scene: scene.world.advance(2))
    assert told(answered(asked)) == []


def test_fewer_bytes_than_wanted_are_waited_with() -> None:
    pair = Pair()
    pair.begin(("t", 0, 4), ("t", 1, 5))
    asked = pair.ask(("t", 0, 4), ("t", 1, 5), min_bytes=BATCH_BYTES * 3)
    pair.each(lambda scene: scene.append("t", b"x" * 50, partition=1))
    assert answered(asked) is None
    assert not pair.short.holds_ranges()
    pair.each(lambda scene: scene.append("t", b"x" * 50, partition=1))
    assert told(answered(asked)) == [(0, 0, BATCH_BYTES), (1, 0, 2 * BATCH_BYTES)]
    asked = pair.ask(("t", 0, 4), ("t", 1, 7), min_bytes=BATCH_BYTES * 3)
    pair.each(lambda scene: scene.world.advance(500))
    assert told(answered(asked)) == [(0, 0, BATCH_BYTES)]
    assert pair.short_answers == [True, True]


def test_no_bytes_are_not_waited_for() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5))
    assert told(answered(pair.ask(min_bytes=0))) == []


def test_a_log_that_starts_elsewhere_is_told_with_the_next_answer() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5), ("t", 1, 5))
    pair.fetch(("t", 0, 4))
    pair.each(lambda scene: _partition_start(scene, 3))
    asked = pair.ask(("t", 0, 5))
    pair.each(lambda scene: scene.world.advance(100))
    assert answered(asked) is None
    pair.each(lambda scene: scene.append("t", b"x" * 50))
    assert told(answered(asked)) == [(1, 0, 0), (0, 0, BATCH_BYTES)]


def test_a_leader_that_changes_ends_it() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5), ("u", 0, 5))
    request = pair.request([("t", 0, 5)], fields={"max_wait_ms": 500}, of_partition={"current_leader_epoch": 0})
    asked = pair.short.ask(request), pair.long.ask(request)
    pair.epoch += 1
    record = PartitionChangeRecord(topic_id=pair.short.ids["t"], partition_id=0, leader=2, isr=[2], replicas=[1, 2])
    pair.each(lambda scene: scene.apply(record))
    assert told(answered(asked)) == [(0, ErrorCode.FENCED_LEADER_EPOCH, 0)]
    pair.fetch(("u", 0, 4))


def test_a_topic_that_is_deleted_ends_it() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5), ("u", 0, 5))
    asked = pair.ask()
    pair.each(lambda scene: scene.delete_topic(pair.short.ids["u"]))
    assert (0, ErrorCode.UNKNOWN_TOPIC_ID, 0) in (told(answered(asked)) or [])


def test_other_topics_come_and_it_waits_no_longer_for_that() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5))
    asked = pair.ask()
    pair.each(lambda scene: scene.create_topic("other"))
    pair.each(lambda scene: scene.world.advance(500))
    assert told(answered(asked)) == []
    asked = pair.ask()
    pair.each(lambda scene: scene.create_topic("another"))
    pair.each(lambda scene: scene.append("t", b"x" * 50))
    assert told(answered(asked)) == [(0, 0, BATCH_BYTES)]
    assert pair.short_answers == [True, True]


def test_aborted_transactions_are_told() -> None:
    pair = Pair(isolation_level=1)
    pair.begin(("t", 0, 5))
    asked = pair.ask()
    transactional = batch_of(b"x", producer_id=5, producer_epoch=0, base_sequence=0, is_transactional=True)
    pair.each(lambda scene: _append_to_t(scene, transactional, AppendOrigin.CLIENT))
    assert answered(asked) is None
    pair.each(lambda scene: _append_to_t(scene, bytes(marker(5, 0, commit=False)), AppendOrigin.COORDINATOR))
    response = answered(asked)
    assert response is not None
    (aborted,) = response.responses[0].partitions[0].aborted_transactions or []
    assert (aborted.producer_id, aborted.first_offset) == (5, 5)
    pair.fetch(("t", 0, 4), partition_max_bytes=BATCH_BYTES)


def test_a_client_that_is_gone_is_forgotten() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5))
    pair.ask()[0].abandon()
    pair.each(lambda scene: scene.append("t", b"x" * 50))
    assert not pair.short.holds_ranges()
    assert told(answered(pair.ask())) == [(0, 0, BATCH_BYTES)]
    assert pair.short_answers == [True, True]


def test_two_fetches_of_one_session_wait() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5))
    first, second = pair.ask(), pair.ask()
    pair.each(lambda scene: scene.append("t", b"x" * 50))
    assert told(answered(first)) == told(answered(second)) == [(0, 0, BATCH_BYTES)]
    pair.fetch(("t", 0, 5))


def _two_sessions(pair: Pair, *limits: int) -> list[Asked]:
    """Fetches of the short way that wait for the end of a partition, in sessions of their own, for so many bytes."""
    asked = []
    for limit in limits:
        pair.session_id = pair.epoch = 0
        pair.begin(("t", 0, 5))
        fields: dict[str, object] = {"max_wait_ms": 500}
        asked.append(pair.short.ask(pair.request([("t", 0, 5)], partition_max_bytes=limit, fields=fields)))
    return asked


def test_those_who_wait_for_the_same_records_have_them_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    asked = _two_sessions(pair, 1 << 20, 1 << 20, 130, 1 << 20)
    read = counted_reads(monkeypatch)
    for broker in (pair.short, pair.long):
        broker.scene.append("t", b"x" * 50)
        broker.scene.append("t", b"y" * 50)
        broker.scene.world.run_soon()
    assert record_sizes(asked, 17) == [2 * BATCH_BYTES, 2 * BATCH_BYTES, 130, 2 * BATCH_BYTES]
    assert read == [5, 5]
    assert not pair.short.holds_ranges()


def test_what_was_read_for_others_is_forgotten_afterwards() -> None:
    pair = Pair()
    first = _two_sessions(pair, 1 << 20)
    pair.each(lambda scene: scene.append("t", b"x" * 50))
    pair.each(lambda scene: scene.replicas.partition(TopicPartition("t", 0)).local_log().truncate_to(5))
    second = _two_sessions(pair, 1 << 20)
    pair.each(lambda scene: scene.append("t", b"z" * 50))
    answers = [each.answer for each in (*first, *second)]
    assert [b"x" * 50 in answer for answer in answers if isinstance(answer, bytes)] == [True, False]


def test_one_that_fails_is_told_so_and_costs_no_other_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    asked = _two_sessions(pair, 130, 1 << 20)
    fail_reads(monkeypatch, 130)
    pair.each(lambda scene: scene.append("t", b"x" * 50))
    assert record_sizes(asked, 17) == [0, BATCH_BYTES]


def test_of_two_that_wait_one_meets_something_unusual() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5), ("u", 0, 5))
    first, second = pair.ask(), pair.ask()
    pair.each(lambda scene: scene.delete_topic(pair.short.ids["u"]))
    answers = [asked[0].answer for asked in (first, second)]
    assert [told(FetchResponse.decode(answer[5:], 17)) for answer in answers if isinstance(answer, bytes)] == [
        [],
        [(0, ErrorCode.UNKNOWN_TOPIC_ID, 0)],
    ]


def test_a_partition_that_joins_the_session_is_waited_for() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5))
    pair.fetch(("t", 0, 5))
    pair.fetch(("u", 0, 5))
    asked = pair.ask()
    pair.each(lambda scene: scene.append("u", b"x" * 50))
    assert told(answered(asked)) == [(0, 0, BATCH_BYTES)]
    assert pair.short_answers == [True, False, True]


def test_a_session_may_change_its_isolation() -> None:
    pair = Pair(isolation_level=1)
    pair.begin(("t", 0, 5))
    transactional = batch_of(b"x", producer_id=5, producer_epoch=0, base_sequence=0, is_transactional=True)
    pair.each(lambda scene: _append_to_t(scene, transactional, AppendOrigin.CLIENT))
    assert told(answered(pair.ask(max_wait_ms=0))) == [(0, 0, 0)]
    pair.isolation_level = 0
    assert told(answered(pair.ask())) == [(0, 0, len(transactional))]


def test_only_so_many_partitions_are_tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_fetch, "MAX_TRACKED", 2)
    pair = Pair()
    pair.begin(("t", 0, 0), ("t", 1, 0))
    pair.fetch()
    first = pair.session_id
    pair.session_id = pair.epoch = 0
    pair.begin(("u", 0, 0))
    pair.fetch()
    pair.both(pair.request([], fields={"session_id": first, "session_epoch": -1}))
    pair.fetch()
    assert pair.short_answers == [False, False, True]


def test_a_session_that_ends_answers_what_waits() -> None:
    pair = Pair()
    pair.begin(("t", 0, 5))
    asked = pair.ask()
    pair.short.send(pair.request([("t", 0, 5)], fields={"session_epoch": -1}))
    assert asked[0].answer is not None
    assert pair.short.scene.replicas.readers.count == 0
    assert pair.short.scene.world.waiting_timers == pair.long.scene.world.waiting_timers - 1


def test_what_it_waits_for_is_looked_at_and_nothing_else() -> None:
    pair = Pair()
    for broker in (pair.short, pair.long):
        broker.ids["many"] = broker.scene.create_topic("many", partitions=1_000)
    pair.begin(*(("many", index, 0) for index in range(1_000)))
    pair.fetch()
    read: list[int] = []
    for index in range(1_000):
        log = pair.short.scene.replicas.partition(TopicPartition("many", index)).local_log()

        class Spied(type(log)):  # type: ignore[misc] # counts who asks, and is the same otherwise
            @property
            def last_stable_offset(self, index: int = index) -> int:
                read.append(index)
                return super().last_stable_offset  # type: ignore[no-any-return] # an int

        log.__class__ = Spied
    asked = pair.ask()
    pair.each(lambda scene: scene.append("many", b"x" * 50, partition=700))
    assert told(answered(asked)) == [(700, 0, BATCH_BYTES)]
    assert set(read) == {700}


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_both_ways_answer_the_same(seed: int) -> None:
    random_ = random.Random(seed)
    version = random_.choice([11, 12, 13, 15, 18])
    pair = Pair(version, isolation_level=random_.randrange(2))
    partitions = [("t", 0), ("t", 1), ("t", 2), ("u", 0)]
    ends = dict.fromkeys(partitions, 5)
    offsets = {place: random_.choice([0, 5]) for place in partitions}
    pair.begin(*((*place, offset) for place, offset in offsets.items()))
    for _ in range(40):
        moved = random_.sample(partitions, random_.randrange(3))
        for place in moved:
            offsets[place] = random_.choice([ends[place], random_.randint(0, ends[place])])
        request = pair.request(
            [(*place, offsets[place]) for place in sorted(moved)],
            max_bytes=random_.choice([0, 150, 1 << 20]),
            partition_max_bytes=random_.choice([0, 130, 1 << 20]),
            fields={"max_wait_ms": random_.choice([0, 50, 500]), "min_bytes": random_.choice([0, 1, 1, 300])},
        )
        pair.epoch += 1
        asked = pair.short.ask(request), pair.long.ask(request)
        while answered(asked, version) is None:
            what = random_.randrange(4)
            if what == 0:
                pair.each(lambda scene: scene.world.advance(30))
            elif what == 1:
                name = f"topic-{random_.random()}"
                pair.each(lambda scene, name=name: scene.create_topic(name))  # type: ignore[misc] # bound now
            else:
                topic, index = place = random_.choice(partitions)
                ends[place] += 1
                pair.each(lambda scene, topic=topic, index=index: scene.append(topic, b"x" * 50, partition=index))  # type: ignore[misc] # bound now
        if random_.random() < 0.3:
            topic, index = place = random_.choice(partitions)
            start = random_.randint(0, ends[place])
            for broker in (pair.short, pair.long):
                log = broker.scene.replicas.partition(TopicPartition(topic, index)).local_log()
                log.delete_records_before(start)
        assert not pair.short.holds_ranges()
