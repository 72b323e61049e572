"""Requests of one form that lie behind each other are answered and stored as one by one, the long way."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odradek.ports.network import Outcome
from odradek.storage.segment import Segment
from odradek.storage.topic_partition import TopicPartition
from odradek.storage.uniform_run import UniformRun
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from odradek.wire.records.batch import build_batch
from odradek.wire.records.compression import Codec
from odradek.wire.records.header import HEADER_BYTES, LEADER_EPOCH_AT, parse_header, seal_batch
from odradek.wire.records.record import Record
from tests.unit.broker.api.produce_pair import PLAIN_VERSIONS, TIME_MS, Broker, batch, data, frame


@pytest.fixture
def short() -> Broker:
    return Broker(takes_the_short_way=True)


@pytest.fixture
def long() -> Broker:
    return Broker(takes_the_short_way=False)


def sequence(first: int, **fields: int | bool) -> bytes:
    return batch(1, **{"producer_id": 5, "producer_epoch": 0, "base_sequence": first, **fields})


def saying(**fields: int) -> bytes:
    """A batch whose header says something else; its checksum is right."""
    whole = batch()
    return seal_batch(parse_header(whole)._replace(**fields), whole[HEADER_BYTES:])


def requests(
    broker: Broker, topic: str, batches: Sequence[bytes], *, version: int = 13, **more: int | str | None
) -> list[bytes]:
    """Requests with a batch each, whose correlation ids ascend."""
    return [
        frame(version, [data(broker, topic, records)], correlation_id=100 + number, **more)  # type: ignore[arg-type] # acks and so on
        for number, records in enumerate(batches)
    ]


def alike(short: Broker, long: Broker, frames: Sequence[bytes], *, together: Sequence[int], topic: str = "t") -> None:
    """Both answer and store the same, and so many at a time are answered together the short way."""
    replies, counts = short.send_stretch(frames)
    assert replies == [long.send(each) for each in frames]
    assert_same_logs(short, long, topic)
    assert counts == list(together)


def assert_same_logs(short: Broker, long: Broker, topic: str) -> None:
    assert short.log_of(topic) == long.log_of(topic)
    mine, theirs = (broker.scene.replicas.partition(TopicPartition(topic, 0)).local_log() for broker in (short, long))
    assert mine.high_watermark == theirs.high_watermark == mine.log_end_offset
    producers = [
        [
            (entry.producer_id, entry.producer_epoch, entry.last_timestamp_ms, list(entry.batches))
            for entry in log.producers.active_producers()
        ]
        for log in (mine, theirs)
    ]
    assert producers[0] == producers[1]


@pytest.mark.parametrize("acks", [1, -1, 0])
@pytest.mark.parametrize("version", PLAIN_VERSIONS)
def test_all_of_one_form_are_answered_together(short: Broker, long: Broker, version: int, acks: int) -> None:
    for client_id in ("me", "", None):
        for count in (2, 5):
            frames = requests(short, "t", [batch()] * count, version=version, acks=acks, client_id=client_id)
            alike(short, long, frames, together=[count])


def test_one_alone_is_not_answered_together(short: Broker, long: Broker) -> None:
    alike(short, long, requests(short, "t", [batch(), batch(1)]), together=[])


def test_client_ids_may_differ_and_not_their_sizes(short: Broker, long: Broker) -> None:
    frames = [frame(13, [data(short, "t", batch())], client_id=client_id) for client_id in ("me", "it", "me")]
    alike(short, long, frames, together=[3])
    # Of the same length on the whole, as the topic's name is shorter by what the client id has more.
    for broker in (short, long):
        broker.ids["tt"] = broker.scene.create_topic("tt")
    frames = [
        frame(12, [data(short, topic, batch())], client_id=client_id)
        for topic, client_id in (("tt", "m"), ("tt", "m"), ("t", "me"), ("t", "me"), ("tt", "m"))
    ]
    assert len({len(each) for each in frames}) == 1
    alike(short, long, frames, together=[2, 2])
    assert_same_logs(short, long, "tt")


def test_what_is_not_like_the_first_ends_the_run(short: Broker, long: Broker) -> None:
    plain = frame(13, [data(short, "t", batch())])
    damaged = bytearray(plain)
    damaged[-5] ^= 1
    for other in (
        frame(13, [data(short, "t", saying(record_count=5))]),
        frame(13, [data(short, "t", saying(last_offset_delta=5, record_count=6))]),
        frame(13, [data(short, "t", saying(base_timestamp_ms=TIME_MS + 1))]),
        frame(13, [data(short, "t", saying(max_timestamp_ms=1 << 50))]),
        plain[:1] + b"\1" + plain[2:],
        plain[:9] + b"\1" + plain[10:],
        bytes(damaged),
        plain[:-1] + b"\1",
        plain[:-2] + b"\1\0",
        frame(13, [data(short, "t", batch(), index=1)]),
        frame(13, [data(short, "small", batch())]),
        frame(13, [data(short, "t", batch())], acks=-1),
        frame(13, [data(short, "t", batch())], timeout_ms=29_999),
        frame(13, [data(short, "t", batch(is_transactional=True, producer_id=5, producer_epoch=0, base_sequence=0))]),
        frame(13, [data(short, "t", b"\0" * 7 + b"\1" + batch()[8:])]),
        frame(13, [data(short, "t", batch()[:16] + b"\1" + batch()[17:])]),
    ):
        assert len(other) == len(plain)
        alike(short, long, [plain, plain, other, plain, plain, plain], together=[2, 3])
        alike(short, long, [plain, other, plain], together=[])


def test_tagged_fields_of_the_header_are_not_for_this_way(short: Broker, long: Broker) -> None:
    plain = frame(13, [data(short, "t", batch())], client_id="me")
    tags_at = 10 + len("me")
    assert plain[tags_at] == 0
    tagged = plain[:tags_at] + b"\1" + plain[tags_at + 1 :]
    alike(short, long, [tagged, tagged], together=[])
    alike(short, long, [plain, plain, tagged, tagged], together=[2])


def test_versions_of_one_layout_are_not_mixed(short: Broker, long: Broker) -> None:
    frames = [frame(version, [data(short, "t", batch())]) for version in (12, 12, 11, 11, 11)]
    alike(short, long, frames, together=[2, 3])


@pytest.mark.parametrize(
    ("records", "together"),
    [
        (batch() + batch()[:20], []),
        (batch(is_transactional=True, producer_id=5, producer_epoch=0, base_sequence=0), []),
        (saying(record_count=5), []),
        (batch(producer_id=-1, producer_epoch=3, base_sequence=9), [3]),
        (saying(producer_id=-7, base_sequence=3), [3]),
    ],
)
def test_unusual_batches(short: Broker, long: Broker, records: bytes, together: list[int]) -> None:
    alike(short, long, requests(short, "t", [records] * 3), together=together)


def test_a_log_that_begins_later_says_so(short: Broker, long: Broker) -> None:
    for count in (2, 3):
        alike(short, long, requests(short, "t", [batch()] * count), together=[count])
        for broker in (short, long):
            broker.scene.replicas.partition(TopicPartition("t", 0)).local_log().delete_records_before(-1)
    alike(short, long, requests(short, "t", [batch()] * 2), together=[2])


def test_lengths_that_change_end_the_run(short: Broker, long: Broker) -> None:
    first, second = requests(short, "t", [batch(1), batch()])
    framed = [len(each).to_bytes(4, "big") + each for each in (first, first, second, second)]
    stretch = b"".join(framed)
    stretch = stretch[: len(stretch) - len(stretch) % len(framed[0])]
    answered = short.runs.answer_uniform(short.connection, memoryview(bytearray(stretch)))
    assert answered is not None
    assert answered.requests == 2
    assert [base for base, _ in short.log_of("t")] == [0, 1]


def test_a_form_that_others_took_the_place_of_is_learnt_anew(short: Broker, long: Broker) -> None:
    one = build_batch([Record(0, TIME_MS, None, b"v" * 20)])
    two = build_batch([Record(0, TIME_MS, None, b"v" * 6), Record(1, TIME_MS, None, b"v" * 7)])
    assert len(one) == len(two)
    alike(short, long, requests(short, "t", [one, one, one]), together=[3])
    alike(short, long, requests(short, "t", [one, two, one, two]), together=[])
    alike(short, long, requests(short, "t", [two, two, two, two]), together=[3])
    alike(short, long, requests(short, "t", [two, two, one, one, one]), together=[2, 2])


def test_partitions_that_take_turns_are_answered_one_by_one(short: Broker, long: Broker) -> None:
    first, second = (frame(12, [data(short, "t", batch(), index=index)], correlation_id=index) for index in range(2))
    alike(short, long, [first, second] * 3, together=[])
    alike(short, long, [first, first, second, second, first, first], together=[2, 2, 2])


@pytest.mark.parametrize("epoch", [-1, 0, 3])
def test_a_failure_leaves_nothing_and_the_requests_as_they_were(
    short: Broker, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    short.send(frame(13, [data(short, "t", batch())]))
    records = bytearray(batch())
    struct.pack_into(">i", records, LEADER_EPOCH_AT, epoch)
    note = Segment.note_uniform

    def fail(segment: Segment, run: UniformRun, *place: int) -> None:
        note(segment, run, *place)
        raise ArithmeticError("unforeseen")

    monkeypatch.setattr(Segment, "note_uniform", fail)
    before = b"".join(len(each).to_bytes(4, "big") + each for each in requests(short, "t", [bytes(records)] * 3))
    stretch = memoryview(bytearray(before))
    assert short.runs.answer_uniform(short.connection, stretch) is None
    assert bytes(stretch) == before
    short.send(frame(13, [data(short, "t", batch())]))
    assert [parse_header(stored).base_offset for _, stored in short.log_of("t")] == [0, 3]


@pytest.mark.parametrize("topic", ["s", "small", "compacted", "packed", "elsewhere", "unknown", "__consumer_offsets"])
def test_topics_with_wishes_of_their_own(short: Broker, long: Broker, topic: str) -> None:
    for broker in (short, long):
        broker.ids["compacted"] = broker.scene.create_topic("compacted", config={"cleanup.policy": "compact"})
        broker.ids["packed"] = broker.scene.create_topic("packed", config={"compression.type": "gzip"})
    frames = requests(short, topic, [batch()] * 3)
    replies, together = short.send_stretch(frames)
    assert (replies, together) == ([long.send(each) for each in frames], [])


def test_batches_that_are_compressed_stay_closed(short: Broker, long: Broker) -> None:
    packed = build_batch([Record(index, TIME_MS, None, bytes(100)) for index in range(9)], codec=Codec.GZIP)
    alike(short, long, requests(short, "t", [packed] * 3), together=[3])


def test_settings_that_change_count_from_then_on(short: Broker, long: Broker) -> None:
    frames = requests(short, "t", [batch()] * 3)
    alike(short, long, frames, together=[3])
    for broker in (short, long):
        log = broker.scene.replicas.partition(TopicPartition("t", 0)).local_log()
        log.update_config(log.config._replace(max_message_bytes=70))
    alike(short, long, frames, together=[])


def test_the_leader_is_followed(short: Broker) -> None:
    frames = requests(short, "t", [batch()] * 2)
    assert short.send_stretch(frames)[1] == [2]
    short.scene.apply(
        PartitionChangeRecord(topic_id=short.ids["t"], partition_id=0, leader=2, isr=[2], replicas=[1, 2])
    )
    assert short.send_stretch(frames)[1] == []
    short.scene.apply(
        PartitionChangeRecord(topic_id=short.ids["t"], partition_id=0, leader=1, isr=[1], replicas=[1, 2])
    )
    assert short.send_stretch(frames)[1] == [2]
    assert short.send_stretch(requests(short, "t", [batch()] * 2, acks=-1))[1] == []


@pytest.mark.parametrize(("acks", "is_leader", "together"), [(1, False, []), (-1, True, []), (1, True, [2])])
def test_what_the_controller_says_counts_before_it_is_metadata(
    short: Broker, acks: int, is_leader: bool, together: list[int]
) -> None:
    frames = requests(short, "t", [batch()] * 2, acks=acks)
    assert short.send_stretch(frames)[1] == [2]
    replicas = short.scene.replicas
    image = replicas.image.topics.by_name["t"].partitions[0]
    newer = image._replace(leader=1 if is_leader else 2, replicas=(1, 2), partition_epoch=image.partition_epoch + 1)
    replicas.partition(TopicPartition("t", 0)).apply(newer)
    assert short.send_stretch(frames)[1] == together


def test_a_topic_made_anew_is_another_one(short: Broker, long: Broker) -> None:
    alike(short, long, requests(short, "t", [batch()] * 2, version=12), together=[2])
    for broker in (short, long):
        broker.scene.delete_topic(broker.ids["t"])
    frames = requests(short, "t", [batch()] * 2, version=12)
    assert short.send_stretch(frames) == ([long.send(each) for each in frames], [])
    for broker in (short, long):
        broker.ids["t"] = broker.scene.create_topic("t")
    alike(short, long, requests(short, "t", [batch()] * 2, version=12), together=[2])
    assert [base for base, _ in short.log_of("t")] == [0, 3]


@pytest.mark.parametrize(
    ("batches", "together"),
    [
        ([sequence(1), sequence(2), sequence(3)], [3]),
        ([sequence(1), sequence(3), sequence(2), sequence(3)], [2]),
        ([sequence(0), sequence(1), sequence(2)], [2]),
        ([sequence(1), sequence(2), sequence(2), sequence(3)], [2]),
        ([sequence(1), sequence(2), sequence(3, producer_epoch=1)], []),
        ([sequence(0, producer_id=6), sequence(1, producer_id=6), sequence(1), sequence(2)], [3]),
        ([sequence(1), sequence(2), sequence(1, producer_id=7), sequence(2, producer_id=7)], [4]),
        ([sequence(1), sequence(1, producer_id=7), sequence(2), sequence(3)], [3]),
        ([batch(1), sequence(1), batch(1), sequence(1, producer_id=7), batch(1)], [5]),
        ([sequence(1), sequence(2, producer_epoch=1), sequence(2)], []),
    ],
)
def test_together_only_sequences_that_go_on(
    short: Broker, long: Broker, batches: list[bytes], together: list[int]
) -> None:
    for producer_id in (5, 7):
        first = requests(short, "t", [sequence(0, producer_id=producer_id)])
        alike(short, long, first, together=[])
    alike(short, long, requests(short, "t", batches), together=together)


def test_segments_are_rolled_where_they_would_be_one_by_one(short: Broker, long: Broker) -> None:
    large = build_batch([Record(0, TIME_MS, None, bytes(300_000))])
    for count in (2, 3, 2, 4):
        frames = requests(short, "rolling", [large] * count)
        replies, _ = short.send_stretch(frames)
        assert replies == [long.send(each) for each in frames]
    logs = [broker.scene.replicas.partition(TopicPartition("rolling", 0)).local_log() for broker in (short, long)]
    mine, theirs = ([segment.base_offset for segment in log.segments] for log in logs)
    assert mine == theirs == [0, 3, 6, 9]


@pytest.mark.parametrize("size", [5, 14, 18, 30])
def test_stretches_that_are_no_requests_of_produce_are_left_alone(short: Broker, size: int) -> None:
    whole = len(requests(short, "t", [batch()])[0]).to_bytes(4, "big") + requests(short, "t", [batch()])[0]
    for stretch in (bytes(2 * size), (size - 4).to_bytes(4, "big") + whole[4:size], whole[:size]):
        assert short.runs.answer_uniform(short.connection, memoryview(bytearray(stretch * 2))) is None
    assert short.log_of("t") == []


@pytest.mark.parametrize("version", [12, 13])
def test_requests_that_are_changed_anywhere_are_answered_alike(short: Broker, long: Broker, version: int) -> None:
    plain = frame(version, [data(short, "t", batch())])
    for at in range(len(plain)):
        for bit in (0x01, 0x80):
            changed = plain[:at] + bytes((plain[at] ^ bit,)) + plain[at + 1 :]
            for frames in ([changed, changed], [plain, changed], [plain, changed, changed]):
                replies, _ = short.send_stretch(frames)
                assert replies == [long.send(each) for each in frames], (at, bit)
    assert_same_logs(short, long, "t")


class Mixture:
    """Streams of requests, some alike, by what hypothesis draws."""

    one = st.tuples(
        st.sampled_from(("plain", "plain", "plain", "sequence", "sequence", "gap", "repeated", "damaged", "other")),
        st.integers(1, 3),
        st.integers(-3, 3),
    )
    streams = st.lists(st.tuples(one, st.integers(1, 6)), max_size=8)

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._sequences = {5: 0, 7: 0}
        self.frames: list[bytes] = []

    def add(self, kind: str, count: int, lag: int) -> None:
        producer_id = 5 if count == 1 else 7
        following = self._sequences[producer_id]
        first = {"sequence": following, "gap": following + 1, "repeated": max(following - count, 0)}.get(kind)
        fields = {} if first is None else {"producer_id": producer_id, "producer_epoch": 0, "base_sequence": first}
        if kind == "sequence":
            self._sequences[producer_id] += count
        records = bytearray(
            build_batch([Record(index, TIME_MS + 1000 * lag, None, b"v") for index in range(count)], **fields)  # type: ignore[arg-type] # as built
        )
        if kind == "damaged":
            records[-1] ^= 1
        index = 1 if kind == "other" else 0
        request = frame(
            13, [data(self._broker, "t", bytes(records), index=index)], correlation_id=len(self.frames), acks=lag % 2
        )
        self.frames.append(request)


@given(Mixture.streams)
@settings(max_examples=60, deadline=None)
def test_random_mixtures_are_answered_and_stored_as_one_by_one(
    stream: list[tuple[tuple[str, int, int], int]],
) -> None:
    short, long = Broker(takes_the_short_way=True), Broker(takes_the_short_way=False)
    mixture = Mixture(short)
    for (kind, count, lag), times in stream:
        for _ in range(times):
            mixture.add(kind, count, lag)
    replies, _ = short.send_stretch(mixture.frames)
    assert replies == [long.send(each) for each in mixture.frames]
    assert_same_logs(short, long, "t")


def test_no_reply_is_made_where_none_is_wanted(short: Broker) -> None:
    replies, together = short.send_stretch(requests(short, "t", [batch()] * 3, acks=0))
    assert (replies, together) == ([Outcome.NO_REPLY] * 3, [3])
