"""The main job, through every client library: what was produced is what is consumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import groupby

import certifi
import pytest

from tests.support.drivers.base import (
    CODECS,
    Ack,
    ConsumerSettings,
    Driver,
    ProducerSettings,
    Record,
    TopicPartition,
    collect,
)
from tests.support.polling import group_of
from tests.support.process import wait_for

NewTopic = Callable[..., str]
Unique = Callable[[str], str]
CODECS_OF = {"kafka-python": ("none", "gzip")}


def read_all(driver: Driver, topic: str, count: int, partitions: int = 1) -> list[Record]:
    consumer = driver.assign({(topic, index): -2 for index in range(partitions)}, ConsumerSettings())
    try:
        return collect(consumer, count)
    finally:
        consumer.close()


def contents(records: list[Record]) -> list[tuple[bytes | None, bytes | None, object]]:
    return [record.content for record in records]


def text_records() -> Iterator[Record]:
    """Ordinary data: the lines of the certificate bundle that certifi ships, keyed by the line's first letter."""
    with open(certifi.where(), encoding="utf-8") as bundle:
        for number, line in enumerate(bundle):
            yield Record(value=line.rstrip("\n").encode(), key=line[:1].encode(), headers=(("line", b"%d" % number),))


def mixed_records() -> list[Record]:
    """Sizes from nothing to 200 kB, keys and headers of all sorts, values that do and do not compress."""
    sizes = [0, 1, 127, 128, 1000, 16_383, 16_384, 70_000, 200_000]
    noise = bytes((index * 2_654_435_761 >> 16) & 0xFF for index in range(200_000))
    records = [Record(value=noise[:size], key=b"%d" % size, headers=(("size", b"%d" % size),)) for size in sizes]
    records += [Record(value=b"x" * size, key=b"") for size in sizes]
    return [*records, Record(value=b"many headers", headers=tuple((f"h{index}", b"v" * index) for index in range(40)))]


@pytest.mark.parametrize("codec", CODECS)
def test_records_come_back_as_they_were_sent_in_every_codec(driver: Driver, new_topic: NewTopic, codec: str) -> None:
    """KIP-98's record format: key, value, headers, order and offsets survive, compressed or not."""
    if codec not in CODECS_OF.get(driver.name, CODECS):
        pytest.skip(f"{driver.name} has no {codec} without further packages")
    topic, sent = new_topic(), mixed_records()
    acks = driver.produce(topic, sent, ProducerSettings(compression=codec))
    assert [ack.offset for ack in acks] == list(range(len(sent)))
    received = read_all(driver, topic, len(sent))
    assert contents(received) == contents(sent)
    assert [record.offset for record in received] == list(range(len(sent)))


@pytest.mark.parametrize("acks", [0, 1, -1])
def test_every_acks_setting_stores_the_record(driver: Driver, new_topic: NewTopic, acks: int) -> None:
    """acks=0 is never answered, 1 and all are; the record is stored in each case."""
    topic = new_topic()
    (ack,) = driver.produce(topic, [Record(b"value", b"key")], ProducerSettings(acks=acks))
    assert ack.error == ""
    assert contents(read_all(driver, topic, 1)) == [(b"key", b"value", ())]


def test_an_idempotent_producer_numbers_its_batches_without_errors(driver: Driver, new_topic: NewTopic) -> None:
    """KIP-98: InitProducerId, then sequences per partition."""
    topic = new_topic(partitions=2)
    sent = [Record(b"%d" % number, partition=number % 2) for number in range(400)]
    acks = driver.produce(topic, sent, ProducerSettings(idempotent=True, linger_ms=1))
    assert {ack.error for ack in acks} == {""}
    received = sorted(read_all(driver, topic, 400, 2), key=lambda record: (record.partition, record.offset))
    for partition, records in groupby(received, key=lambda record: record.partition):
        assert [record.value for record in records] == [b"%d" % n for n in range(400) if n % 2 == partition]


def test_null_keys_and_values_stay_null(driver: Driver, new_topic: NewTopic) -> None:
    """A null value is a tombstone; null and empty are two things."""
    topic = new_topic()
    sent = [Record(None, b"key"), Record(b"", b""), Record(b"value", None)]
    driver.produce(topic, sent, ProducerSettings())
    received = contents(read_all(driver, topic, 3))
    if driver.name == "sarama":
        received = [(key, value, ()) for key, value, _ in received]
    assert received == [(b"key", None, ()), (b"", b"", ()), (None, b"value", ())]


def test_null_header_values_stay_null(driver: Driver, new_topic: NewTopic) -> None:
    """KIP-82: a header's value may be null, and a name may come twice."""
    if driver.name == "kafka-python":
        pytest.skip("kafka-python refuses null header values")
    topic = new_topic()
    headers = (("twice", b"1"), ("null", None), ("twice", b"2"), ("empty", b""), ("ключ", b"\x00\xff"))
    driver.produce(topic, [Record(b"value", b"key", headers)], ProducerSettings())
    assert contents(read_all(driver, topic, 1)) == [(b"key", b"value", headers)]


def test_create_time_is_the_producers(driver: Driver, new_topic: NewTopic) -> None:
    """KIP-32: message.timestamp.type=CreateTime keeps what the producer said, out of order too."""
    topic = new_topic()
    times = [1_600_000_000_123, 1_600_000_000_001, 1_700_000_000_000]
    driver.produce(topic, [Record(b"v", timestamp_ms=time_ms) for time_ms in times], ProducerSettings())
    assert [record.timestamp_ms for record in read_all(driver, topic, 3)] == times


def test_log_append_time_is_the_brokers(driver: Driver, new_topic: NewTopic) -> None:
    """KIP-32: message.timestamp.type=LogAppendTime replaces the time, in the log and in the answer."""
    topic = new_topic(configs={"message.timestamp.type": "LogAppendTime"})
    before_ms = int(time.time() * 1000) - 1000
    acks = driver.produce(topic, [Record(b"v", timestamp_ms=1_600_000_000_000)] * 2, ProducerSettings())
    after_ms = int(time.time() * 1000) + 1000
    received = read_all(driver, topic, 2)
    assert all(before_ms <= (record.timestamp_ms or 0) <= after_ms for record in received)
    assert [ack.timestamp_ms for ack in acks] == [record.timestamp_ms for record in received]


def test_a_batch_over_max_message_bytes_is_refused_and_the_next_one_is_not(driver: Driver, new_topic: NewTopic) -> None:
    """max.message.bytes per topic: MESSAGE_TOO_LARGE, and the connection goes on."""
    topic = new_topic(configs={"max.message.bytes": "20000"})
    settings = ProducerSettings(max_request_bytes=1_000_000, linger_ms=0)
    (refused,) = driver.produce(topic, [Record(bytes(50_000))], settings)
    assert refused.error == "MESSAGE_TOO_LARGE"
    (accepted,) = driver.produce(topic, [Record(bytes(10_000))], settings)
    assert accepted == Ack(0, 0, accepted.timestamp_ms)


def test_producing_to_a_missing_topic_creates_it(driver: Driver, unique: Unique) -> None:
    """auto.create.topics.enable, as Metadata asks for it."""
    topic = unique("auto")
    (ack,) = driver.produce(topic, [Record(b"first")], ProducerSettings())
    assert (ack.partition, ack.offset, ack.error) == (0, 0, "")
    assert contents(read_all(driver, topic, 1)) == [(None, b"first", ())]


def test_keys_choose_partitions_alike_in_java_and_librdkafka(
    drivers: Callable[[str], Driver], new_topic: NewTopic
) -> None:
    """murmur2 over the key, modulo the number of partitions in Metadata."""
    topic = new_topic(partitions=5)
    records = [Record(b"v", b"key-%d" % number) for number in range(30)]
    by_java = drivers("java").produce(topic, records, ProducerSettings())
    by_librdkafka = drivers("librdkafka").produce(topic, records, ProducerSettings(partitioner="murmur2_random"))
    assert [ack.partition for ack in by_java] == [ack.partition for ack in by_librdkafka]
    assert len({ack.partition for ack in by_java}) == 5


def test_lines_of_a_real_file_keep_their_order_per_key(driver: Driver, new_topic: NewTopic) -> None:
    """Ordinary data: some thousand lines, keyed, over three partitions."""
    topic, sent = new_topic(partitions=3), list(text_records())
    acks = driver.produce(topic, sent, ProducerSettings(compression="gzip"))
    assert {ack.error for ack in acks} == {""}
    received = sorted(read_all(driver, topic, len(sent), 3), key=lambda record: (record.partition, record.offset))
    places = sorted((ack.partition, ack.offset, number) for number, ack in enumerate(acks))
    assert contents(received) == contents([sent[number] for _, _, number in places])


def test_consuming_starts_where_it_is_told(driver: Driver, new_topic: NewTopic) -> None:
    """Earliest, an offset in the middle of a batch, and latest."""
    topic = new_topic()
    driver.produce(topic, [Record(b"%d" % number) for number in range(10)], ProducerSettings())
    for start, expected in ((-2, range(10)), (7, range(7, 10))):
        consumer = driver.assign({(topic, 0): start}, ConsumerSettings())
        received = collect(consumer, len(expected))
        consumer.close()
        assert [record.value for record in received] == [b"%d" % number for number in expected]


def test_a_consumer_at_the_end_receives_only_what_comes(driver: Driver, new_topic: NewTopic) -> None:
    """Latest, and a long poll that wakes for new data."""
    topic = new_topic()
    driver.produce(topic, [Record(b"old")], ProducerSettings())
    consumer = driver.assign({(topic, 0): -1}, ConsumerSettings())
    assert consumer.poll(0.5) == []
    driver.produce(topic, [Record(b"new")], ProducerSettings())
    received = collect(consumer, 1)
    consumer.close()
    assert [record.value for record in received] == [b"new"]


def test_offsets_are_found_by_time(driver: Driver, new_topic: NewTopic) -> None:
    """KIP-79: the first offset whose time is at or after the one asked for; none when there is no such record."""
    topic = new_topic()
    times = [1_600_000_000_000, 1_600_000_001_000, 1_600_000_002_000]
    driver.produce(topic, [Record(b"v", timestamp_ms=time_ms) for time_ms in times], ProducerSettings())
    assert driver.offsets(topic, 0, -2) == 0
    assert driver.offsets(topic, 0, -1) == 3
    assert driver.offsets(topic, 0, times[0]) == 0
    assert driver.offsets(topic, 0, times[0] + 1) == 1
    assert driver.offsets(topic, 0, times[2]) == 2
    beyond = driver.offsets(topic, 0, times[2] + 1)
    assert beyond is None or (driver.name == "librdkafka" and beyond == -1)


def test_a_record_larger_than_the_fetch_limit_is_still_delivered(driver: Driver, new_topic: NewTopic) -> None:
    """KIP-74: the first batch comes whole even if it is larger than the limits."""
    topic = new_topic()
    driver.produce(topic, [Record(b"x" * 300_000), Record(b"small")], ProducerSettings(linger_ms=0))
    settings = ConsumerSettings(fetch_max_bytes=400_000, partition_max_bytes=2_000)
    consumer = driver.assign({(topic, 0): 0}, settings)
    received = collect(consumer, 2)
    consumer.close()
    assert [len(record.value or b"") for record in received] == [300_000, 5]


def test_an_offset_out_of_range_follows_the_reset_policy(driver: Driver, new_topic: NewTopic) -> None:
    """OFFSET_OUT_OF_RANGE makes a client start again at what auto.offset.reset says."""
    if driver.name == "sarama":
        pytest.skip("Sarama reports the error and leaves the reset to its caller")
    topic = new_topic()
    driver.produce(topic, [Record(b"a"), Record(b"b")], ProducerSettings())
    consumer = driver.assign({(topic, 0): 1000}, ConsumerSettings(reset="earliest"))
    received = collect(consumer, 2)
    consumer.close()
    assert [record.value for record in received] == [b"a", b"b"]


def test_read_committed_returns_plain_records(driver: Driver, new_topic: NewTopic) -> None:
    """Without transactions the last stable offset is the high watermark."""
    topic = new_topic()
    driver.produce(topic, [Record(b"a"), Record(b"b")], ProducerSettings())
    consumer = driver.assign({(topic, 0): -2}, ConsumerSettings(isolation="read_committed"))
    received = collect(consumer, 2)
    consumer.close()
    assert [record.value for record in received] == [b"a", b"b"]


def test_a_group_member_continues_where_the_group_committed(
    driver: Driver, new_topic: NewTopic, unique: Unique
) -> None:
    """OffsetCommit and OffsetFetch through a restart of the member."""
    topic, settings = new_topic(), ConsumerSettings(group=unique("group"))
    driver.produce(topic, [Record(b"%d" % number) for number in range(10)], ProducerSettings())
    first = driver.subscribe([topic], settings)
    assert len(collect(first, 10)) == 10
    first.commit({(topic, 0): 6})
    assert first.committed((topic, 0)) == 6
    first.close()
    second = driver.subscribe([topic], settings)
    received = collect(second, 4)
    second.close()
    assert [record.value for record in received] == [b"6", b"7", b"8", b"9"]


@pytest.mark.parametrize("assignor", ["range", "roundrobin"])
def test_members_share_the_partitions_and_inherit_them(
    driver: Driver, new_topic: NewTopic, unique: Unique, assignor: str
) -> None:
    """JoinGroup, SyncGroup and LeaveGroup: two members have half each, the one who stays has all."""
    topic = new_topic(partitions=4)
    settings = ConsumerSettings(group=unique("group"), assignor=assignor)
    everything: set[TopicPartition] = {(topic, index) for index in range(4)}
    with group_of(driver.subscribe([topic], settings) for _ in range(2)) as (first, second):
        wait_for(lambda: len(first.assignment) == len(second.assignment) == 2, "two partitions each", 30.0)
        assert first.assignment | second.assignment == everything
        first.leave()
        wait_for(lambda: second.assignment == everything, "all partitions for the one who stays", 30.0)


def test_members_of_three_libraries_form_one_group(
    drivers: Callable[[str], Driver], new_topic: NewTopic, unique: Unique
) -> None:
    """The consumer protocol's subscriptions and assignments are readable across libraries."""
    topic, settings = new_topic(partitions=6), ConsumerSettings(group=unique("group"), assignor="range")
    names = ("kafka-python", "librdkafka", "aiokafka")
    with group_of(drivers(name).subscribe([topic], settings) for name in names) as members:
        wait_for(lambda: all(len(member.assignment) == 2 for member in members), "two partitions for each", 30.0)
        assert len({place for member in members for place in member.assignment}) == 6


def test_a_static_member_returns_to_its_partitions(driver: Driver, new_topic: NewTopic, unique: Unique) -> None:
    """KIP-345: a member with a group.instance.id gets its assignment back without waiting for a session to end."""
    topic = new_topic(partitions=2)
    settings = ConsumerSettings(group=unique("group"), instance_id="one")
    driver.produce(topic, [Record(b"v", partition=number) for number in (0, 1)], ProducerSettings())
    first = driver.subscribe([topic], settings)
    collect(first, 2)
    assigned = first.assignment()
    first.close()
    second = driver.subscribe([topic], settings)
    collect(second, 2)
    assert second.assignment() == assigned == {(topic, 0), (topic, 1)}
    second.close()
