"""The short way through Produce answers what the long way does, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from odradek.ports.network import Outcome
from odradek.storage.segment import Segment
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.produce import ProduceResponse, TopicProduceData
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from odradek.wire.records.batch import build_batch
from odradek.wire.records.header import BatchHeader, parse_header
from odradek.wire.records.record import Record
from tests.unit.broker.api.produce_pair import PLAIN_VERSIONS, TIME_MS, Broker, batch, both, data, frame

VERSIONS = (8, 9, 12, 13)


@pytest.fixture
def short() -> Broker:
    return Broker(takes_the_short_way=True)


@pytest.fixture
def long() -> Broker:
    return Broker(takes_the_short_way=False)


@pytest.mark.parametrize("acks", [1, -1, 0])
@pytest.mark.parametrize("topic", ["t", "s"])
@pytest.mark.parametrize("version", VERSIONS)
def test_plain_requests_are_answered_at_once(short: Broker, long: Broker, version: int, topic: str, acks: int) -> None:
    for client_id in ("me", "", None):
        both(short, long, version, topic, batch(), acks=acks, client_id=client_id)  # type: ignore[arg-type] # None too
    assert short.log_of(topic) == long.log_of(topic)
    assert [base for base, _ in short.log_of(topic)] == [0, 3, 6]
    assert [answer is not None for answer in short.plain_answers] == [version in PLAIN_VERSIONS] * (
        3 if version in PLAIN_VERSIONS else 0
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_duplicates_and_gaps_of_idempotent_producers(short: Broker, long: Broker, version: int) -> None:
    for sequence in (0, 3, 0, 9, 6):
        records = batch(producer_id=5, producer_epoch=0, base_sequence=sequence)
        both(short, long, version, "t", records, acks=-1)
    assert short.log_of("t") == long.log_of("t")
    assert [base for base, _ in short.log_of("t")] == [0, 3, 6]


@pytest.mark.parametrize("version", PLAIN_VERSIONS)
@pytest.mark.parametrize(
    ("topic", "index", "acks"),
    [
        ("t", 2, 1),
        ("t", -1, 1),
        ("t", 2, 0),
        ("small", 0, 0),
        ("t", 0, 5),
        ("unknown", 0, 1),
        ("elsewhere", 0, 1),
        ("small", 0, 1),
    ],
)
def test_what_is_refused_is_refused_alike(
    short: Broker, long: Broker, version: int, topic: str, index: int, acks: int
) -> None:
    both(short, long, version, topic, batch(), index=index, acks=acks)
    assert not any(short.plain_answers)


@pytest.mark.parametrize("version", PLAIN_VERSIONS)
def test_internal_topics_are_for_kafkas_tools_only(short: Broker, long: Broker, version: int) -> None:
    for client_id in ("me", "__admin_client"):
        both(short, long, version, "__consumer_offsets", batch(), client_id=client_id)
    assert not any(short.plain_answers)
    assert short.log_of("__consumer_offsets") == long.log_of("__consumer_offsets") != []


@pytest.mark.parametrize("version", PLAIN_VERSIONS)
def test_bad_records_and_transactions(short: Broker, long: Broker, version: int) -> None:
    damaged = bytearray(batch())
    damaged[-1] ^= 1
    of_a_transaction = batch(producer_id=5, producer_epoch=0, base_sequence=0, is_transactional=True)
    for records in (None, b"", b"x" * 100, bytes(damaged), batch() + batch(), batch()[:-1], of_a_transaction):
        both(short, long, version, "t", records)
    both(short, long, version, "t", batch(), transactional_id="tx")
    both(short, long, version, "t", of_a_transaction, transactional_id="tx")
    assert short.log_of("t") == long.log_of("t")


@pytest.mark.parametrize("version", PLAIN_VERSIONS)
def test_other_shapes_go_the_long_way(short: Broker, long: Broker, version: int) -> None:
    for broker in (short, long):
        one, other = data(broker, "t", batch()), data(broker, "t", batch(), index=1)
        several = TopicProduceData(
            name="t", topic_id=broker.ids["t"], partition_data=[*one.partition_data, *other.partition_data]
        )
        tagged = data(broker, "t", batch())
        tagged.partition_data[0].unknown_tags = ((99, b"x"),)
        assert broker.send(frame(version, [one, data(broker, "s", batch())])) is not None
        assert broker.send(frame(version, [several])) is not None
        assert broker.send(frame(version, [tagged])) is not None
        assert broker.send(frame(version, [one], rest=b"behind it")) is not None
        assert broker.send(frame(version, [])) is not None
    assert short.plain_answers == [None] * 5
    assert short.log_of("t") == long.log_of("t")


@pytest.mark.parametrize("version", PLAIN_VERSIONS)
def test_a_cut_frame_ends_the_connection_and_changes_nothing(short: Broker, version: int) -> None:
    whole = frame(version, [data(short, "t", batch())])
    for size in range(8, len(whole)):
        assert short.send(whole[:size]) is Outcome.CLOSE
    for ending in (b"\1\0\0", b"\0\1\0", b"\0\0\1"):
        assert short.send(whole[:-3] + ending) is Outcome.CLOSE
    assert short.log_of("t") == []


def test_an_unforeseen_failure_is_told_the_long_way(short: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    log = short.scene.replicas.partition(TopicPartition("t", 0)).local_log()
    short.send(frame(13, [data(short, "t", batch())]))
    calls = []

    def fail_once(*arguments: object, **named: object) -> bool:
        calls.append(arguments)
        if len(calls) == 1:
            raise ArithmeticError("unforeseen")
        return False

    monkeypatch.setattr(type(log.segments.active), "should_roll", fail_once)
    assert short.send(frame(13, [data(short, "t", batch())])) is not None
    assert [parse_header(stored).base_offset for _, stored in short.log_of("t")] == [0, 3]


@pytest.mark.parametrize("version", PLAIN_VERSIONS)
def test_a_topic_that_was_deleted_is_unknown_and_one_made_anew_is_another(
    short: Broker, long: Broker, version: int
) -> None:
    both(short, long, version, "t", batch())
    for broker in (short, long):
        broker.scene.delete_topic(broker.ids["t"])
    answer = both(short, long, version, "t", batch())
    assert isinstance(answer, bytes)
    refused = ProduceResponse.decode(answer[5:], version).responses[0].partition_responses[0]
    assert refused.error_code == (ErrorCode.UNKNOWN_TOPIC_ID if version >= 13 else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    for broker in (short, long):
        broker.ids["t"] = broker.scene.create_topic("t")
    both(short, long, version, "t", batch(2))
    assert short.log_of("t") == long.log_of("t")
    assert [base for base, _ in short.log_of("t")] == [0]
    assert [answer is None for answer in short.plain_answers] == [False, True, False]


def test_the_short_way_follows_the_leader(short: Broker) -> None:
    request = frame(13, [data(short, "t", batch())])
    short.send(request)
    short.scene.apply(
        PartitionChangeRecord(topic_id=short.ids["t"], partition_id=0, leader=2, isr=[2], replicas=[1, 2])
    )
    short.send(request)
    assert short.plain_answers[-1] is None
    assert len(short.log_of("t")) == 1


def together(
    short: Broker, long: Broker, version: int, topic: str, batches: Sequence[bytes], *, answered: int, **more: int | str
) -> None:
    """Frames that arrive together are answered and stored as one by one, and so many of them are answered together."""
    frames = [
        frame(version, [data(short, topic, records)], **more)  # type: ignore[arg-type] # acks and so on
        for records in batches
    ]
    replies, answered_together = short.send_together(frames)
    assert replies == [long.send(each) for each in frames]
    assert short.log_of(topic) == long.log_of(topic)
    assert answered_together == answered


def sequence(first: int, count: int = 3, **fields: int | bool) -> bytes:
    return batch(count, **{"producer_id": 5, "producer_epoch": 0, "base_sequence": first, **fields})


@pytest.mark.parametrize("acks", [1, -1, 0])
@pytest.mark.parametrize("version", PLAIN_VERSIONS)
def test_requests_for_one_partition_are_answered_together(short: Broker, long: Broker, version: int, acks: int) -> None:
    together(short, long, version, "t", [batch(), batch(1), batch(7)], answered=3, acks=acks)
    assert [base for base, _ in short.log_of("t")] == [0, 3, 4]
    together(short, long, version, "t", [batch(), batch()], answered=2, acks=acks, client_id="")


def test_what_else_requests_say_may_differ(short: Broker, long: Broker) -> None:
    other_time = frame(13, [data(short, "t", batch())], timeout_ms=29_999)
    plain = frame(13, [data(short, "t", batch())])
    frames = [plain, other_time, plain, plain[:-1] + b"\x01\x00"]
    replies, answered = short.send_together(frames)
    assert (replies, answered) == ([long.send(each) for each in frames], 3)
    frames = [plain, plain[:-2] + b"\x01\x00"]
    assert short.send_together(frames) == ([long.send(each) for each in frames], 1)


def test_a_producers_batches_are_appended_together_once_it_is_known(short: Broker, long: Broker) -> None:
    together(short, long, 13, "t", [sequence(0), sequence(3)], answered=0)
    together(short, long, 13, "t", [sequence(6), sequence(9), sequence(12)], answered=3)
    together(short, long, 13, "t", [sequence(15), sequence(18)], answered=2)


@pytest.mark.parametrize(
    ("batches", "answered"),
    [
        ([sequence(3), sequence(9)], 1),
        ([sequence(3), sequence(3)], 1),
        ([sequence(0), sequence(3)], 0),
        ([sequence(3), sequence(6), sequence(0)], 2),
        ([sequence(3), sequence(0, producer_epoch=1)], 1),
        ([sequence(3), sequence(0, producer_id=6)], 1),
        ([sequence(3), batch()], 2),
        ([batch(), sequence(3), sequence(6), batch(), batch()], 5),
        ([sequence(3), batch(), sequence(3)], 2),
        ([sequence(3), batch(), sequence(6)], 2),
        ([sequence(3), sequence(9, producer_id=7), sequence(12, producer_id=7), sequence(6)], 1),
        ([batch(), sequence(0)], 1),
        ([sequence(6), sequence(3)], 0),
        ([sequence(3), sequence(6), sequence(9, is_transactional=True)], 2),
        ([sequence(3, is_transactional=True), sequence(6)], 0),
        ([batch(), batch()[:-1], batch()], 1),
        ([b"", batch()], 0),
    ],
)
def test_together_only_what_follows(short: Broker, long: Broker, batches: list[bytes], answered: int) -> None:
    both(short, long, 13, "t", sequence(0))
    together(short, long, 13, "t", batches, answered=answered)


def test_several_go_together_again_behind_a_window_of_duplicates(short: Broker, long: Broker) -> None:
    for first in range(0, 18, 3):
        both(short, long, 13, "t", sequence(first))
    together(short, long, 13, "t", [sequence(18), sequence(21)], answered=2)
    for first in (9, 21, 6):
        both(short, long, 13, "t", sequence(first))


def test_requests_that_are_not_plain_are_answered_one_by_one(short: Broker, long: Broker) -> None:
    together(short, long, 13, "t", [batch(), batch()], answered=0, acks=5)


@pytest.mark.parametrize("topic", ["s", "small", "elsewhere", "unknown", "__consumer_offsets"])
def test_topics_with_wishes_of_their_own(short: Broker, long: Broker, topic: str) -> None:
    frames = [frame(13, [data(short, topic, batch())])] * 3
    replies, answered = short.send_together(frames)
    assert (replies, answered) == ([long.send(each) for each in frames], 0)


def test_requests_that_differ_end_what_is_answered_together(short: Broker, long: Broker) -> None:
    plain = frame(13, [data(short, "t", batch())])
    for other in (
        frame(13, [data(short, "t", batch(), index=1)]),
        frame(13, [data(short, "s", batch())]),
        frame(13, [data(short, "t", batch())], acks=-1),
        frame(12, [data(short, "t", batch())]),
        frame(13, [data(short, "t", batch())], client_id="you too"),
        frame(13, [data(short, "t", batch())], client_id=None),
        plain[:3],
        plain[:-1],
    ):
        frames = [plain, plain, other, plain]
        replies, answered = short.send_together(frames)
        assert (replies, answered) == ([long.send(each) for each in frames], 2)
    assert short.log_of("t") == long.log_of("t")


def test_segments_are_rolled_where_they_would_be_one_by_one(short: Broker, long: Broker) -> None:
    large = build_batch([Record(0, TIME_MS, None, bytes(300_000))])
    for count in (2, 3, 2, 1, 4):
        frames = [frame(13, [data(short, "rolling", large)])] * count
        replies, _ = short.send_together(frames)
        assert replies == [long.send(each) for each in frames]
    logs = [broker.scene.replicas.partition(TopicPartition("rolling", 0)).local_log() for broker in (short, long)]
    mine, theirs = ([segment.base_offset for segment in log.segments] for log in logs)
    assert mine == theirs == [0, 3, 6, 9]


def test_a_failure_while_several_are_written_leaves_nothing_and_is_told_to_each(
    short: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = short.scene.replicas.partition(TopicPartition("t", 0)).local_log()
    short.send(frame(13, [data(short, "t", batch())]))
    calls = []
    note = Segment.note

    def fail_once(segment: Segment, header: BatchHeader, *place: int) -> None:
        calls.append(place)
        if len(calls) == 2:
            raise ArithmeticError("unforeseen")
        note(segment, header, *place)

    monkeypatch.setattr(type(log.segments.active), "note", fail_once)
    replies, answered = short.send_together([frame(13, [data(short, "t", batch())])] * 2)
    assert answered == 0
    assert len(replies) == 2
    assert [parse_header(stored).base_offset for _, stored in short.log_of("t")] == [0, 3, 6]
