"""Compaction as a client sees it: what is superseded goes, offsets stay, and what must outlive its records does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from odradek.wire.records.batch import build_batch, iter_records
from odradek.wire.records.compression import Codec
from odradek.wire.records.header import BatchHeader, iter_batches
from odradek.wire.records.record import Record
from tests.compat.conftest import target_kind
from tests.support.apache import Unavailable
from tests.support.batches import raw
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import (
    TOPIC,
    alter_configs,
    code,
    connect,
    create_topic,
    fetch,
    fetch_request,
    list_offset,
    produce,
)
from tests.support.targets import FAST_SETTINGS, new_broker
from tests.support.wire import Connection

pytestmark = pytest.mark.owns_broker

SETTINGS = {"log.cleaner.backoff.ms": "100", "log.cleaner.min.cleanable.ratio": "0.01"}
SEGMENT_MS = 1000
COMPACTED = {"cleanup.policy": "compact", "segment.ms": str(SEGMENT_MS)}
"""With timestamps further apart than `segment.ms` each batch is in a segment of its own."""
EARLIEST, LATEST = -2, -1
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    try:
        broker = new_broker(
            target_kind(request.config), tmp_path_factory.mktemp("broker"), {**FAST_SETTINGS, **SETTINGS}
        )
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka cannot be run here: {missing}")
    broker.start()
    yield broker
    broker.close()


@pytest.fixture
def connection(broker: BrokerProcess) -> Iterator[Connection]:
    with connect(broker) as connection:
        yield connection


class Writer:
    """Writes batches with timestamps that are far enough apart for each to begin a segment."""

    def __init__(self, connection: Connection, topic: str, *, age_ms: int = HOUR_MS, codec: Codec = Codec.NONE) -> None:
        self._connection = connection
        self.topic = topic
        self.timestamp_ms = int(time.time() * 1000) - age_ms
        self._codec = codec

    def write(
        self,
        *records: tuple[str, str | None],
        producer: tuple[int, int, int] = (-1, -1, -1),
        same_segment: bool = False,
    ) -> int:
        """Append a batch; its first offset."""
        if not same_segment:
            self.timestamp_ms += 2 * SEGMENT_MS
        producer_id, epoch, sequence = producer
        batch = build_batch(
            [
                Record(index, self.timestamp_ms, key.encode(), None if value is None else value.encode(), [("h", b"1")])
                for index, (key, value) in enumerate(records)
            ],
            codec=self._codec, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence,
        )  # fmt: skip
        answer = produce(self._connection, self.topic, batch)
        assert code(answer.error_code) == "NONE"
        return answer.base_offset

    def roll(self) -> None:
        """Close the segment that was written to."""
        self.write(("roll", "active"))


class Found(NamedTuple):
    offset: int
    key: str
    value: str | None


def headers(connection: Connection, topic: str) -> list[tuple[BatchHeader, memoryview]]:
    """All batches of the only partition, from the log start on."""
    offset = list_offset(connection, topic, EARLIEST).offset
    end = list_offset(connection, topic, LATEST).offset
    found = []
    while offset < end:
        answer = fetch(connection, fetch_request(topic, offset))
        if code(answer.error_code) == "OFFSET_OUT_OF_RANGE":
            return headers(connection, topic)  # retention has moved the start
        assert code(answer.error_code) == "NONE"
        data = raw(answer.records)
        assert data, f"nothing comes from offset {offset} of {end}"
        for position, header in iter_batches(data):
            found.append((header, memoryview(data)[position : position + header.size_bytes]))
            offset = header.next_offset
    return found


def records(connection: Connection, topic: str) -> list[Found]:
    """All records but those that only close a segment."""
    return [
        Found(record.offset, record.key.decode(), None if record.value is None else record.value.decode())
        for header, batch in headers(connection, topic)
        if not header.is_control
        for record in iter_records(batch)
        if record.key is not None and record.key != b"roll"
    ]


def becomes(connection: Connection, topic: str, expected: Sequence[tuple[int, str, str | None]]) -> None:
    """Wait until the topic has these records and no others."""
    wait_for(lambda: records(connection, topic) == list(expected), f"{topic} is compacted to {expected}")


@pytest.fixture
def compacted(connection: Connection, unique: Callable[[str], str]) -> Callable[..., Writer]:
    """Makes a compacted topic and something that writes to it."""

    def make(configs: Mapping[str, str] | None = None, **options: object) -> Writer:
        topic = unique("topic")
        create_topic(connection, topic, configs={**COMPACTED, **(configs or {})})
        return Writer(connection, topic, **options)  # type: ignore[arg-type] # named by each test

    return make


@pytest.mark.parametrize("codec", list(Codec), ids=lambda codec: codec.config_name)
def test_the_latest_value_of_each_key_remains_at_its_offset(
    connection: Connection, compacted: Callable[..., Writer], codec: Codec
) -> None:
    writer = compacted(codec=codec)
    writer.write(("a", "1"), ("b", "1"), ("c", "1"))
    writer.write(("a", "2"), ("d", "1"))
    writer.write(("b", "2"), ("a", "3"), ("a", "4"))
    writer.roll()
    becomes(connection, writer.topic, [(2, "c", "1"), (4, "d", "1"), (5, "b", "2"), (7, "a", "4")])
    assert list_offset(connection, writer.topic, EARLIEST).offset == 0
    found = headers(connection, writer.topic)
    assert [header.base_offset for header, _ in found] == [0, 3, 5, 8]
    assert [header.last_offset for header, _ in found] == [2, 4, 7, 8]
    assert [header.codec for header, _ in found] == [codec] * 4
    kept = [record for _, batch in found for record in iter_records(batch)]
    assert [record.headers for record in kept] == [(("h", b"1"),)] * 5
    assert [record.timestamp_ms - writer.timestamp_ms for record in kept] == [-6000, -4000, -2000, -2000, 0]
    # A fetch from an offset that is gone goes on with what comes next.
    answer = raw(fetch(connection, fetch_request(writer.topic, 1)).records)
    assert next(iter_batches(answer))[1].last_offset == 2


def test_nothing_happens_to_the_active_segment(connection: Connection, compacted: Callable[..., Writer]) -> None:
    beside, writer = compacted(), compacted()
    writer.write(("a", "1"))
    writer.write(("a", "2"))
    writer.write(("b", "1"))
    writer.write(("b", "2"), same_segment=True)
    becomes(connection, writer.topic, [(1, "a", "2"), (2, "b", "1"), (3, "b", "2")])
    beside.write(("a", "1"))
    beside.write(("a", "2"))
    beside.roll()
    becomes(connection, beside.topic, [(1, "a", "2")])
    assert records(connection, writer.topic) == [(1, "a", "2"), (2, "b", "1"), (3, "b", "2")]


def test_a_tombstone_removes_its_key_and_goes_once_it_has_had_its_time(
    connection: Connection, compacted: Callable[..., Writer]
) -> None:
    writer = compacted({"delete.retention.ms": "1500"})
    writer.write(("a", "1"), ("b", "1"))
    begun_ms = int(time.time() * 1000)
    writer.write(("a", None))
    writer.roll()
    becomes(connection, writer.topic, [(1, "b", "1"), (2, "a", None)])
    (tombstone,) = [header for header, _ in headers(connection, writer.topic) if header.base_offset == 2]
    horizon_ms = tombstone.delete_horizon_ms
    assert horizon_ms is not None
    assert begun_ms + 1500 <= horizon_ms <= int(time.time() * 1000) + 1500
    assert records(connection, writer.topic)[1].value is None
    # It is a cleaning that removes it, and that needs something to clean.
    wait_for(lambda: int(time.time() * 1000) > horizon_ms, "the horizon is over")
    writer.write(("b", "2"))
    writer.roll()
    becomes(connection, writer.topic, [(4, "b", "2")])


def test_tombstones_without_retention_go_at_the_second_cleaning(
    connection: Connection, compacted: Callable[..., Writer]
) -> None:
    writer = compacted({"delete.retention.ms": "0"})
    writer.write(("a", "1"))
    writer.write(("a", None), ("b", "1"))
    writer.roll()
    becomes(connection, writer.topic, [(1, "a", None), (2, "b", "1")])
    writer.write(("c", "1"))
    writer.roll()
    becomes(connection, writer.topic, [(2, "b", "1"), (4, "c", "1")])


def test_a_producers_last_sequence_outlives_its_records(
    broker: BrokerProcess, connection: Connection, compacted: Callable[..., Writer]
) -> None:
    writer = compacted()
    writer.write(("a", "1"), ("b", "1"), producer=(4711, 0, 0))
    last = writer.write(("a", "2"), ("b", "2"), producer=(4711, 0, 2))
    writer.write(("a", "3"), ("b", "3"))
    writer.roll()
    becomes(connection, writer.topic, [(4, "a", "3"), (5, "b", "3")])
    (empty,) = [header for header, _ in headers(connection, writer.topic) if header.producer_id == 4711]
    assert (empty.record_count, empty.base_sequence, empty.base_offset, empty.last_offset) == (0, 2, 2, 3)
    assert writer.write(("a", "2"), ("b", "2"), producer=(4711, 0, 2)) == last, "a duplicate is known"
    broker.restart(kill=True)
    with connect(broker) as again:
        after = Writer(again, writer.topic)
        assert after.write(("a", "2"), ("b", "2"), producer=(4711, 0, 2)) == last, "also after a crash"
        after.write(("x", "1"), producer=(4711, 0, 4))
        assert records(again, writer.topic)[-1].key == "x"


def test_aborted_records_go_and_markers_stay_with_what_is_left_of_their_transactions(
    broker: BrokerProcess, connection: Connection, compacted: Callable[..., Writer], unique: Callable[[str], str]
) -> None:
    # Markers have the time of day, and must not begin segments here. All is to be cleaned at once: a second cleaning
    # does not find the records that the first one removed, and forgets that their transaction was aborted.
    writer = compacted({"cleanup.policy": "delete"}, age_ms=-60_000)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": unique("producer")})
    producer.init_transactions()

    def transact(end: Callable[[], None], *pairs: tuple[str, str]) -> None:
        producer.begin_transaction()
        writer.timestamp_ms += 2 * SEGMENT_MS
        for key, value in pairs:
            producer.produce(writer.topic, value, key, timestamp=writer.timestamp_ms)
        producer.flush()
        end()

    transact(producer.commit_transaction, ("a", "1"), ("b", "1"))
    transact(producer.abort_transaction, ("a", "2"))
    transact(producer.commit_transaction, ("b", "2"))
    transact(producer.abort_transaction, ("b", "3"))
    wait_for(lambda: list_offset(connection, writer.topic, LATEST).offset == 9, "the last marker is written")
    writer.roll()
    alter_configs(connection, TOPIC, writer.topic, {"cleanup.policy": "compact"})
    becomes(connection, writer.topic, [(0, "a", "1"), (5, "b", "2")])
    found = [header for header, _ in headers(connection, writer.topic) if header.is_transactional]
    shapes = [(header.base_offset, header.last_offset, header.record_count, header.is_control) for header in found]
    assert shapes == [
        (0, 1, 1, False),
        (2, 2, 1, True),
        (4, 4, 1, True),  # what it aborted was there when it was read
        (5, 5, 1, False),
        (6, 6, 1, True),
        (7, 7, 0, False),  # the producer's last batch
        (8, 8, 1, True),
    ]
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": unique("group"), "isolation.level": "read_committed"}
    )
    consumer.assign([TopicPartition(writer.topic, 0, 0)])
    committed = [message.value() for message in consumer.consume(3, 20.0)]
    consumer.close()
    assert committed == [b"1", b"2", b"active"]
    answer = fetch(connection, fetch_request(writer.topic, 0, isolation_level=1))
    assert [(txn.first_offset) for txn in answer.aborted_transactions or ()] == [3, 7]


def test_compacted_logs_survive_a_crash(
    broker: BrokerProcess, connection: Connection, compacted: Callable[..., Writer]
) -> None:
    writer = compacted()
    for number in range(10):
        writer.write(("a", str(number)), ("b", str(number)), (f"once-{number}", "1"))
    writer.roll()
    expected = [(3 * number + 2, f"once-{number}", "1") for number in range(10)]
    expected += [(27, "a", "9"), (28, "b", "9")]
    becomes(connection, writer.topic, sorted(expected))
    broker.restart(kill=True)
    with connect(broker) as again:
        wait_for(lambda: records(again, writer.topic) == sorted(expected), "the same records")
        after = Writer(again, writer.topic, age_ms=HOUR_MS // 2)
        after.write(("a", "10"))
        after.roll()
        expected.remove((27, "a", "9"))
        becomes(again, writer.topic, [*sorted(expected), (31, "a", "10")])


def test_the_checkpoint_says_up_to_where_a_log_is_clean(
    broker: BrokerProcess, connection: Connection, compacted: Callable[..., Writer]
) -> None:
    writer = compacted()
    writer.write(("a", "1"))
    writer.write(("a", "2"))
    writer.roll()
    becomes(connection, writer.topic, [(1, "a", "2")])
    path = broker.data_dir / "cleaner-offset-checkpoint"
    wait_for(lambda: f"{writer.topic} 0 2" in path.read_text().splitlines(), "the checkpoint is written")
    version, count, *entries = path.read_text().splitlines()
    assert (version, int(count)) == ("0", len(entries))


def test_young_records_are_left_alone(connection: Connection, compacted: Callable[..., Writer]) -> None:
    writer = compacted({"min.compaction.lag.ms": str(HOUR_MS)}, age_ms=HOUR_MS + 6 * SEGMENT_MS)
    writer.write(("a", "1"))
    writer.write(("a", "2"))
    young = Writer(connection, writer.topic, age_ms=HOUR_MS // 2)
    young.write(("a", "3"))
    young.write(("a", "4"))
    young.roll()
    becomes(connection, writer.topic, [(1, "a", "2"), (2, "a", "3"), (3, "a", "4")])


def test_records_that_are_too_old_are_compacted_however_clean_the_log_is(
    connection: Connection, compacted: Callable[..., Writer]
) -> None:
    settings = {"min.cleanable.dirty.ratio": "1.0"}
    never, forced = compacted(settings), compacted({**settings, "max.compaction.lag.ms": "60000"})
    for writer in (never, forced):
        writer.write(("a", "1"))
        writer.write(("a", "2"))
        writer.roll()
    becomes(connection, forced.topic, [(1, "a", "2")])
    assert records(connection, never.topic) == [(0, "a", "1"), (1, "a", "2")]


def test_compact_and_delete_does_both(connection: Connection, compacted: Callable[..., Writer]) -> None:
    # Two of these values do not fit into one segment, so that old ones are not merged with young ones.
    settings = {"cleanup.policy": "compact,delete", "retention.ms": str(HOUR_MS), "segment.bytes": str(1 << 20)}
    writer = compacted(settings, age_ms=2 * HOUR_MS)
    large = "x" * 600_000
    writer.write(("a", large))
    writer.write(("b", large))
    young = Writer(connection, writer.topic, age_ms=HOUR_MS // 2)
    young.write(("c", large))
    young.write(("c", large), ("d", "1"))
    young.roll()
    becomes(connection, writer.topic, [(3, "c", large), (4, "d", "1")])
    assert list_offset(connection, writer.topic, EARLIEST).offset == 2


def test_a_log_whose_keys_do_not_fit_is_cleaned_in_several_goes(
    own_broker: Callable[..., BrokerProcess], unique: Callable[[str], str]
) -> None:
    # 1 MiB and a bit has 43,691 entries, of which this uses 43.
    small = {"log.cleaner.dedupe.buffer.size": "1048600", "log.cleaner.io.buffer.load.factor": "0.001"}
    topic = unique("topic")
    with connect(own_broker({**SETTINGS, **small})) as connection:
        create_topic(connection, topic, configs=COMPACTED)
        writer = Writer(connection, topic)
        for turn in range(3):
            for part in range(4):
                writer.write(*((f"key-{part * 50 + index}", str(turn)) for index in range(50)))
        writer.roll()
        becomes(connection, topic, [(400 + index, f"key-{index}", "2") for index in range(200)])


def test_committed_offsets_are_compacted(
    own_broker: Callable[..., BrokerProcess], unique: Callable[[str], str]
) -> None:
    broker = own_broker({**SETTINGS, "offsets.topic.num.partitions": "1", "log.roll.ms": "1"})
    topic = unique("topic")
    with connect(broker) as connection:
        create_topic(connection, topic)
        group = {"bootstrap.servers": broker.bootstrap, "group.id": "reader"}
        consumer = Consumer(group)
        for offset in range(30):
            consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
        commits = b"\x00\x01\x00\x06reader"

        def left() -> int:
            found = headers(connection, "__consumer_offsets")
            keys = [record.key or b"" for _, batch in found for record in iter_records(batch)]
            return sum(key.startswith(commits) for key in keys)

        def is_compacted() -> bool:
            consumer.commit(offsets=[TopicPartition(topic, 0, 30)], asynchronous=False)
            return left() <= 5

        wait_for(is_compacted, "old commits are gone")
        consumer.close()
        broker.restart(kill=True)
    reader = Consumer(group)
    (committed,) = reader.committed([TopicPartition(topic, 0)], timeout=20)
    assert committed.offset == 30
    reader.close()
