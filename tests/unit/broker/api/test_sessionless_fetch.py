"""Fetches without a session are answered the short way as the long way would: when, and byte for byte."""

from __future__ import annotations

import gc
import random

import pytest

from odradek.broker.api import sessionless_fetch
from odradek.storage.log_results import AppendOrigin
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.fetch import ForgottenTopic, ReplicaState
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from tests.unit.broker.api.fetch_pair import (
    Asked,
    Pair,
    Wanted,
    answered,
    counted_reads,
    decoded,
    fail_reads,
    record_sizes,
    told,
)
from tests.unit.broker.scene import Scene, batch_of
from tests.unit.storage.support import marker

BATCH_BYTES = len(batch_of(b"x" * 50))
VERSIONS = tuple(range(11, 19))
PARTITIONS = (("t", 0), ("t", 1), ("t", 2), ("u", 0))


def _pair(version: int = 16, isolation_level: int = 0, max_bytes: int = 1 << 20) -> Pair:
    pair = Pair(version, isolation_level, max_bytes)
    pair.without_session()
    return pair


def _append(
    scene: Scene, batch: bytes, origin: AppendOrigin = AppendOrigin.CLIENT, place: tuple[str, int] = ("t", 0)
) -> None:
    partition = scene.replicas.partition(TopicPartition(*place))
    scene.replicas.append(partition, memoryview(bytearray(batch)), all_replicas=True, origin=origin)


def _transactional(producer_id: int) -> bytes:
    return batch_of(b"x", producer_id=producer_id, producer_epoch=0, base_sequence=0, is_transactional=True)


@pytest.mark.parametrize("isolation_level", [0, 1])
@pytest.mark.parametrize("version", VERSIONS)
def test_all_partitions_are_told_of_in_the_order_of_the_request(version: int, isolation_level: int) -> None:
    pair = _pair(version, isolation_level)
    answer = decoded(pair.fetch(("t", 2, 5), ("u", 0, 3), ("t", 1, 0), ("t", 0, 4)), version)
    assert [len(topic.partitions) for topic in answer.responses] == [1, 1, 2]
    assert told(answer) == [
        (2, 0, 0),
        (0, 0, 2 * BATCH_BYTES),
        (1, 0, 5 * BATCH_BYTES),
        (0, 0, BATCH_BYTES),
    ]
    assert answer.session_id == 0
    assert pair.short_answers == [True]


def test_a_partition_that_is_named_twice_is_read_from_where_it_was_said_last() -> None:
    pair = _pair()
    assert told(decoded(pair.fetch(("t", 1, 0), ("t", 0, 5), ("t", 1, 4)), 16)) == [(1, 0, BATCH_BYTES), (0, 0, 0)]
    assert pair.short_answers == [True]


@pytest.mark.parametrize("isolation_level", [0, 1])
@pytest.mark.parametrize("max_bytes", [0, 1, 130, 260, 1 << 20])
@pytest.mark.parametrize("partition_max_bytes", [0, 1, 130, 260, 1 << 20])
def test_the_limits_of_a_response(max_bytes: int, partition_max_bytes: int, isolation_level: int) -> None:
    pair = _pair(isolation_level=isolation_level)
    wanted = ("t", 0, 5), ("t", 1, 2), ("u", 0, 4)
    pair.fetch(*wanted, max_bytes=max_bytes, partition_max_bytes=partition_max_bytes)
    assert pair.short_answers == [True]


def test_the_limit_of_the_broker() -> None:
    pair = _pair(max_bytes=260)
    sizes = [size for _, _, size in told(decoded(pair.fetch(("t", 0, 0), ("t", 1, 0)), 16)) or []]
    assert 0 < sum(sizes) <= 260
    assert pair.short_answers == [True]


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        ([], {}),
        ([("t", 0, 0)], {"rack_id": "r"}),
        ([("t", 0, 0)], {"forgotten": True}),
        ([("t", 0, 0)], {"replica_state": ReplicaState(replica_id=2, replica_epoch=1)}),
        ([("t", 0, 0)], {"session_id": 12345}),
        ([("t", 0, 0)], {"session_epoch": 0}),
        ([("t", 0, 0)], {"isolation_level": 2}),
        ([("nobody's", 0, 0), ("t", 0, 0)], {}),
        ([("t", 7, 0)], {}),
        ([("t", 0, 0), ("t", 1, 9)], {}),
        ([("t", 0, -5)], {}),
        ([("t", 0, 0)], {"of_partition": {"current_leader_epoch": 1}}),
        ([("t", 0, 0)], {"of_partition": {"last_fetched_epoch": 1}}),
        ([("t", 0, 0)], {"of_partition": {"high_watermark": 3}}),
    ],
)
def test_what_is_unusual_goes_the_long_way(wanted: list[Wanted], fields: dict[str, object]) -> None:
    pair = _pair(18)
    of_partition = fields.pop("of_partition", None)
    if fields.pop("forgotten", False):
        fields["forgotten_topics_data"] = [ForgottenTopic(topic_id=pair.short.ids["u"], partitions=[0])]
    pair.both(pair.request(wanted, fields=fields, of_partition=of_partition))  # type: ignore[arg-type] # as above
    assert pair.short_answers == [False]


@pytest.mark.parametrize("version", [11, 14])
def test_a_replica_goes_the_long_way(version: int) -> None:
    pair = _pair(version)
    pair.both(pair.request([("t", 0, 0)], fields={"replica_id": 2}))
    assert pair.short_answers == [False]


@pytest.mark.parametrize(("count", "is_short"), [(500, True), (501, False)])
def test_many_partitions_give_way_to_others_the_long_way(count: int, is_short: bool) -> None:
    pair = _pair(11)
    for broker in (pair.short, pair.long):
        broker.ids["many"] = broker.scene.create_topic("many", partitions=count)
    pair.fetch(*(("many", index, 0) for index in range(count)))
    assert pair.short_answers == [is_short]
    assert sessionless_fetch.MAX_PARTITIONS == 500


def test_leaders_that_change_and_topics_that_go() -> None:
    pair = _pair()
    topic_id = pair.short.ids["t"]
    pair.fetch(("t", 0, 0))
    pair.change(PartitionChangeRecord(topic_id=topic_id, partition_id=0, leader=2, isr=[2], replicas=[1, 2]))
    pair.fetch(("t", 0, 0))
    pair.change(PartitionChangeRecord(topic_id=topic_id, partition_id=0, leader=1, isr=[1], replicas=[1]))
    pair.fetch(("t", 0, 0))
    for broker in (pair.short, pair.long):
        broker.scene.delete_topic(topic_id)
    pair.fetch(("t", 0, 0))
    assert pair.short_answers == [True, False, True, False]


def test_a_topic_that_comes_again_is_read_by_its_name() -> None:
    pair = _pair(12)
    pair.fetch(("u", 0, 0))
    for broker in (pair.short, pair.long):
        broker.scene.delete_topic(broker.ids["u"])
        broker.scene.create_topic("u")
        broker.scene.append("u", b"again")
    assert [index for index, _, _ in told(decoded(pair.fetch(("u", 0, 0)), 12)) or []] == [0]
    assert pair.short_answers == [True, True]


@pytest.mark.parametrize(
    ("offset", "last_fetched_epoch", "is_short"),
    [(5, 0, True), (5, 1, False), (5, 2, True), (6, 0, False), (6, 2, True), (3, 0, True), (5, 3, False)],
)
def test_readers_whose_log_has_parted_from_this_one_are_told_so(
    offset: int, last_fetched_epoch: int, is_short: bool
) -> None:
    pair = _pair()
    for leader in (2, 1):
        pair.change(
            PartitionChangeRecord(topic_id=pair.short.ids["t"], partition_id=0, leader=leader, isr=[1], replicas=[1])
        )
    pair.each(lambda scene: scene.append("t", b"x" * 50))
    pair.both(pair.request([("t", 0, offset)], of_partition={"last_fetched_epoch": last_fetched_epoch}))
    assert pair.short_answers == [is_short]


@pytest.mark.parametrize("version", [11, 12, 16])
def test_transactions_that_were_aborted_are_listed(version: int) -> None:
    pair = _pair(version, isolation_level=1)
    pair.each(lambda scene: _append(scene, _transactional(5)))
    assert told(decoded(pair.fetch(("t", 0, 4)), version)) == [(0, 0, BATCH_BYTES)]
    pair.each(lambda scene: _append(scene, bytes(marker(5, 0, commit=False)), AppendOrigin.COORDINATOR))
    answer = decoded(pair.fetch(("t", 1, 5), ("t", 0, 4)), version)
    aborted = [part.aborted_transactions for topic in answer.responses for part in topic.partitions]
    assert [[(each.producer_id, each.first_offset) for each in part or []] for part in aborted] == [[], [(5, 5)]]
    assert pair.short_answers == [True, True]


def test_records_are_sent_when_they_are_appended() -> None:
    pair = _pair()
    asked = pair.ask(("t", 0, 5), ("t", 1, 5))
    pair.each(lambda scene: scene.append("u", b"x"))
    pair.each(lambda scene: scene.world.advance(499))
    assert answered(asked) is None
    for broker in (pair.short, pair.long):
        broker.scene.append("t", b"x" * 50, partition=1)
    assert answered(asked) is None
    pair.each(lambda scene: scene.append("t", b"x" * 50, partition=1))
    assert told(answered(asked)) == [(0, 0, 0), (1, 0, 2 * BATCH_BYTES)]
    assert pair.short_answers == [True]
    assert pair.short.scene.replicas.readers.count == 0
    pair.each(lambda scene: scene.world.advance(500))
    assert pair.short.scene.world.waiting_timers == pair.long.scene.world.waiting_timers


def test_the_time_to_wait_ends_it_with_what_there_is_then() -> None:
    pair = _pair()
    asked = pair.ask(("t", 0, 4), ("t", 1, 5), min_bytes=BATCH_BYTES * 3)
    pair.each(lambda scene: scene.append("t", b"x" * 50, partition=1))
    for broker in (pair.short, pair.long):
        broker.scene.replicas.partition(TopicPartition("t", 0)).local_log().delete_records_before(2)
    pair.each(lambda scene: scene.world.advance(499))
    assert answered(asked) is None
    assert not pair.short.holds_ranges()
    pair.each(lambda scene: scene.world.advance(1))
    response = answered(asked)
    assert told(response) == [(0, 0, BATCH_BYTES), (1, 0, BATCH_BYTES)]
    assert response is not None
    assert response.responses[0].partitions[0].log_start_offset == 2
    assert pair.short_answers == [True]
    assert pair.short.scene.replicas.readers.count == 0


def test_what_moved_before_it_came_does_not_have_it_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = _pair()
    fields: dict[str, object] = {"max_wait_ms": 500, "min_bytes": 100_000}
    first = pair.short.ask(pair.request([("t", 0, 5)], fields=fields))
    pair.short.scene.append("t", b"x" * 50)
    second = pair.short.ask(pair.request([("t", 0, 6), ("t", 1, 4)], fields=fields))
    read = counted_reads(monkeypatch)
    pair.short.scene.world.run_soon()
    assert (first.answer, second.answer) == (None, None)
    assert read == [5]


def test_long_records_are_not_held_while_more_are_waited_for() -> None:
    pair = _pair()
    pair.each(lambda scene: scene.append("t", b"x" * 20_000))
    asked = pair.ask(("t", 0, 5), min_bytes=30_000)
    assert not pair.short.holds_ranges()
    pair.each(lambda scene: scene.append("t", b"x" * 50))
    assert answered(asked) is None
    assert not pair.short.holds_ranges()
    pair.each(lambda scene: scene.append("t", b"x" * 20_000))
    assert [size > 40_000 for _, _, size in told(answered(asked)) or []] == [True]
    assert not pair.short.holds_ranges()


def test_long_records_are_not_held_if_it_goes_the_long_way_after_all() -> None:
    pair = _pair()
    pair.each(lambda scene: scene.append("t", b"x" * 20_000))
    pair.fetch(("t", 0, 5), ("t", 1, 9))
    assert pair.short_answers == [False]


def test_a_log_whose_disk_failed_is_told_of_at_its_end_too() -> None:
    pair = _pair()
    for broker in (pair.short, pair.long):
        broker.scene.replicas.partition(TopicPartition("t", 0)).local_log().is_offline = True
    assert told(decoded(pair.fetch(("t", 0, 5)), 16)) == [(0, ErrorCode.KAFKA_STORAGE_ERROR, 0)]


def test_what_was_answered_before_its_time_is_forgotten() -> None:
    pair = _pair()
    for number in range(300):
        request = pair.request([("t", 0, 5 + number)], fields={"max_wait_ms": 3_600_000})
        asked = pair.short.ask(request)
        pair.short.scene.append("t", b"x")
        pair.short.scene.world.run_soon()
        assert asked.answer is not None
    remembered = [each for each in gc.get_objects() if isinstance(each, sessionless_fetch._Waiting)]
    assert len(remembered) < 150


@pytest.mark.parametrize("version", [12, 16])
def test_a_leader_that_changes_ends_it(version: int) -> None:
    pair = _pair(version)
    asked = pair.ask(("t", 0, 5), ("u", 0, 5))
    record = PartitionChangeRecord(topic_id=pair.short.ids["t"], partition_id=0, leader=2, isr=[2], replicas=[2])
    pair.each(lambda scene: scene.apply(record))
    assert told(answered(asked, version)) == [(0, ErrorCode.NOT_LEADER_OR_FOLLOWER, 0), (0, 0, 0)]
    assert pair.short.scene.replicas.readers.count == 0


def test_a_client_that_is_gone_is_forgotten() -> None:
    pair = _pair()
    mine, theirs = pair.ask(("t", 0, 5))
    for asked in (mine, theirs):
        asked.abandon()
    assert pair.short.scene.replicas.readers.count == 0
    pair.each(lambda scene: scene.append("t", b"x" * 50))
    assert not pair.short.holds_ranges()
    pair.each(lambda scene: scene.world.advance(500))
    assert pair.short.scene.world.waiting_timers == pair.long.scene.world.waiting_timers


def _waiting(pair: Pair, *limits: int) -> list[Asked]:
    """Fetches of the short way that wait for the end of a partition, for so many bytes."""
    fields: dict[str, object] = {"max_wait_ms": 500}
    return [pair.short.ask(pair.request([("t", 0, 5)], partition_max_bytes=limit, fields=fields)) for limit in limits]


@pytest.mark.parametrize("isolation_level", [0, 1])
def test_those_who_wait_for_the_same_records_have_them_read_once(
    monkeypatch: pytest.MonkeyPatch, isolation_level: int
) -> None:
    pair = _pair(isolation_level=isolation_level)
    asked = _waiting(pair, 1 << 20, 1 << 20, 130, 1 << 20)
    read = counted_reads(monkeypatch)
    for _ in range(2):
        pair.short.scene.append("t", b"x" * 50)
    pair.short.scene.world.run_soon()
    assert record_sizes(asked, 16) == [2 * BATCH_BYTES, 2 * BATCH_BYTES, 130, 2 * BATCH_BYTES]
    assert read == [5, 5]
    assert not pair.short.holds_ranges()


def test_one_that_fails_is_told_so_and_costs_no_other_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = _pair()
    asked = _waiting(pair, 130, 1 << 20)
    fail_reads(monkeypatch, 130)
    pair.each(lambda scene: scene.append("t", b"x" * 50))
    assert record_sizes(asked, 16) == [0, BATCH_BYTES]


@pytest.mark.parametrize("version", [11, 12, 16])
def test_a_request_that_is_cut_or_changed_anywhere_is_answered_alike(version: int) -> None:
    pair = _pair(version)
    whole = pair.request([("t", 0, 0), ("u", 0, 0)])
    requests = [bytearray(whole[:end]) for end in range(8, len(whole))]
    assert len(requests) > 100
    for at in range(14, len(whole)):
        for bits in (1, 0x80, 0xFF):
            changed = bytearray(whole)
            changed[at] ^= bits
            requests.append(changed)
    for request in requests:
        asked = pair.short.ask(bytes(request)), pair.long.ask(bytes(request))
        pair.each(lambda _scene: None)
        assert asked[0].answer == asked[1].answer
        for each in asked:
            if each.answer is None:
                each.abandon()
        assert not pair.short.holds_ranges()


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_both_ways_answer_the_same(seed: int) -> None:
    random_ = random.Random(seed)
    version = random_.choice(VERSIONS)
    pair = _pair(version, isolation_level=random_.randrange(2))
    for _ in range(40):
        wanted = [
            (
                *random_.choice(PARTITIONS),
                random_.randint(0, pair.short.scene.end_offset("t") + (random_.random() < 0.1)),
            )
            for _ in range(random_.randint(1, 6))
        ]
        request = pair.request(
            wanted,
            max_bytes=random_.choice([0, 150, 1 << 20]),
            partition_max_bytes=random_.choice([0, 130, 1 << 20]),
            fields={"max_wait_ms": random_.choice([0, 50, 500]), "min_bytes": random_.choice([0, 1, 300, 1000])},
            of_partition={
                "current_leader_epoch": random_.choice([-1, 0, 0]),
                "last_fetched_epoch": random_.choice([-1, 0, 0]) if version >= 12 else -1,
            },
        )
        asked = pair.short.ask(request), pair.long.ask(request)
        while answered(asked, version) is None:
            _something(pair, random_)
        _something(pair, random_)
        assert not pair.short.holds_ranges()
        assert pair.short.scene.replicas.readers.count == 0
    assert any(pair.short_answers)


def _something(pair: Pair, random_: random.Random) -> None:
    """Let the same thing happen at both brokers."""
    place = topic, index = random_.choice(PARTITIONS)
    what = random_.randrange(7)
    if what == 0:
        pair.each(lambda scene: scene.world.advance(30))
    elif what == 1:
        name = f"topic-{random_.random()}"
        pair.each(lambda scene: scene.create_topic(name))
    elif what == 2:
        end = pair.short.scene.end_offset(topic, index)
        start = random_.randint(0, end)
        for broker in (pair.short, pair.long):
            log = broker.scene.replicas.partition(TopicPartition(topic, index)).local_log()
            log.delete_records_before(min(start, log.last_stable_offset))
    elif what == 3:
        producer_id = random_.randrange(1 << 30)
        commit = random_.random() < 0.5
        pair.each(lambda scene: _append(scene, _transactional(producer_id), place=place))
        pair.each(
            lambda scene: _append(scene, bytes(marker(producer_id, 0, commit=commit)), AppendOrigin.COORDINATOR, place)
        )
    else:
        pair.each(lambda scene: scene.append(topic, b"x" * 50, partition=index))
