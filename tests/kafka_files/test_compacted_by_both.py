"""Logs that we compacted in Apache Kafka and its dump tool, and logs that Kafka compacted in ours. Needs Java."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from odradek.net.files import OsFileSystem
from odradek.storage.log import Log
from odradek.storage.log_cleaner import CleanerSettings
from odradek.storage.log_config import LogConfig
from odradek.storage.manager import LogManager
from odradek.storage.manager_settings import LogManagerSettings
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from odradek.wire.records.record import Record
from tests.kafka_files.dump import complaints, dump, files_of, tools_or_skip
from tests.support.apache import ApacheKafka, Unavailable
from tests.support.process import wait_for
from tests.support.requests import connect
from tests.unit.fakes import FakeWorld
from tests.unit.storage.cleaner.support import all_records, committed_records, decoded, latest

TOPICS = ("plain", "compressed", "transactional")
ROUNDS = 30
BACKOFF_MS = 1000
CLEANED_LATER = {"log.cleaner.min.cleanable.ratio": "1.0", "log.cleaner.backoff.ms": "100"}
"""Nothing is dirty enough."""
TOPIC = 2
SET = 0
Table = dict[str, str]


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[ApacheKafka]:
    (tmp_path / "kafka").mkdir()
    try:
        node = ApacheKafka(tmp_path / "kafka", CLEANED_LATER)
    except Unavailable as error:
        pytest.skip(f"Apache Kafka cannot be run: {error}")
    node.start()
    yield node
    node.close()


def fill(bootstrap: str, topics: tuple[str, ...] = TOPICS) -> dict[str, Table]:
    """Topics with a segment for each round, the last of which is active; what a table of each would hold."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    configs = {"cleanup.policy": "compact", "segment.ms": "1000", "index.interval.bytes": "512"}
    for future in admin.create_topics([NewTopic(topic, 1, 1, config=configs) for topic in topics]).values():
        future.result()
    producers = {
        "plain": Producer({"bootstrap.servers": bootstrap, "linger.ms": 50}),
        "compressed": Producer(
            {"bootstrap.servers": bootstrap, "compression.type": "zstd", "enable.idempotence": True}
        ),
        "transactional": Producer({"bootstrap.servers": bootstrap, "transactional.id": "t", "linger.ms": 50}),
    }
    producers["transactional"].init_transactions()
    tables: dict[str, Table] = {topic: {} for topic in topics}
    begun_ms = int(time.time() * 1000) + 60_000  # markers have the time of day, and must not begin segments
    for number in range(ROUNDS):
        is_aborted = number % 3 == 1
        for topic in topics:
            producer, table = producers[topic], tables[topic]
            if topic == "transactional":
                producer.begin_transaction()
            for index in range(20):
                key = f"key-{index % 7 * number % 40}"
                value = None if topic != "plain" and (number + index) % 9 == 0 else f"{number}-{index}-" + "v" * 40
                timestamp_ms = begun_ms + 3000 * number + index
                producer.produce(topic, value, key, timestamp=timestamp_ms)
                if topic == "transactional" and is_aborted:
                    continue
                if value is None:
                    table.pop(key, None)
                else:
                    table[key] = value
            producer.flush()
            if topic == "transactional":
                (producer.abort_transaction if is_aborted else producer.commit_transaction)()
    return tables


def let_kafka_compact(kafka: ApacheKafka, topics: tuple[str, ...]) -> None:
    """Have any share of dirty bytes suffice."""
    config = AlterableConfig(name="min.cleanable.dirty.ratio", config_operation=SET, value="0.001")
    resources = [AlterConfigsResource(resource_type=TOPIC, resource_name=topic, configs=[config]) for topic in topics]
    with connect(kafka) as connection:
        request = IncrementalAlterConfigsRequest(resources=resources)
        answer = connection.call(request, IncrementalAlterConfigsResponse)
    assert [response.error_code for response in answer.responses] == [0] * len(topics)


def load(directory: Path, ratio: float) -> tuple[LogManager, FakeWorld]:
    """Our logs in a directory; below `ratio` dirty bytes nothing is cleaned."""
    config = LogConfig(
        cleanup_policy=("compact",), segment_ms=1000, index_interval_bytes=512, min_cleanable_dirty_ratio=ratio,
        file_delete_delay_ms=10,
    )  # fmt: skip
    world = FakeWorld(now_ms=int(time.time() * 1000))
    settings = LogManagerSettings(cleaner=CleanerSettings(backoff_ms=BACKOFF_MS))
    logs = LogManager(OsFileSystem(), world, world, world, world, [str(directory)], settings)
    logs.load(lambda _topic: config)
    return logs, world


def log_of(logs: LogManager, topic: str) -> Log:
    log = logs.log(TopicPartition(topic, 0))
    assert log is not None
    return log


def compact(directory: Path) -> None:
    """Let our cleaner do all there is to do."""
    logs, world = load(directory, 0.0)
    world.advance(10 * BACKOFF_MS)
    for topic in TOPICS:
        log = logs.log(TopicPartition(topic, 0))
        assert log is None or log.cleaned_offset == log.segments.active.base_offset
    logs.shutdown(1)


def consume(bootstrap: str, topic: str, isolation: str) -> list[tuple[int, str, str | None, int]]:
    """(offset, key, value, timestamp) of everything that a consumer gets."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "reader", "isolation.level": isolation}
    consumer = Consumer({**settings, "enable.partition.eof": True})
    consumer.assign([ClientPartition(topic, 0, 0)])
    found: list[tuple[int, str, str | None, int]] = []
    while True:
        message = consumer.poll(20.0)
        assert message is not None, f"{topic} does not end"
        if message.error() is not None:
            consumer.close()
            return found
        offset, key, value = message.offset(), message.key(), message.value()
        assert offset is not None
        assert isinstance(key, bytes)
        found.append((offset, key.decode(), value.decode() if value is not None else None, message.timestamp()[1]))


def described(records: list[Record]) -> list[tuple[int, str, str | None, int]]:
    return [(record.offset, *decoded(record), record.timestamp_ms) for record in records]


def test_kafka_reads_what_we_compacted(kafka: ApacheKafka) -> None:
    tools = tools_or_skip()
    tables = fill(kafka.bootstrap)
    sizes = {topic: len(consume(kafka.bootstrap, topic, "read_uncommitted")) for topic in TOPICS}
    kafka.stop()
    compact(kafka.data_dir)
    expected = {}
    logs, _ = load(kafka.data_dir, 1.0)
    for topic in TOPICS:
        log = log_of(logs, topic)
        expected[topic] = described(all_records(log)), described(committed_records(log))
        assert len(expected[topic][0]) < sizes[topic] / 3
        assert latest(committed_records(log)) == tables[topic]
    logs.shutdown(1)
    for topic in TOPICS:
        text = dump(tools, files_of(kafka.data_dir / f"{topic}-0"), "--deep-iteration", "--print-data-log")
        assert len(re.findall(r"^\| offset: \d+ .*keySize", text, re.MULTILINE)) >= len(expected[topic][0])
        assert [line for line in complaints(text) if not line.startswith("SLF4J")] == []
        assert ("deleteHorizonMs: OptionalLong[" in text) is (topic != "plain")
    kafka.start()
    for topic in TOPICS:
        assert consume(kafka.bootstrap, topic, "read_uncommitted") == expected[topic][0]
        assert consume(kafka.bootstrap, topic, "read_committed") == expected[topic][1]


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_we_read_what_kafka_compacted(kafka: ApacheKafka, how: str) -> None:
    tables = fill(kafka.bootstrap)
    let_kafka_compact(kafka, TOPICS)
    checkpoint = kafka.data_dir / "cleaner-offset-checkpoint"
    wait_for(lambda: len(checkpoint.read_text().splitlines()) == 2 + len(TOPICS), "all are compacted", 30)
    expected = {topic: consume(kafka.bootstrap, topic, "read_uncommitted") for topic in TOPICS}
    committed = {topic: consume(kafka.bootstrap, topic, "read_committed") for topic in TOPICS}
    if how == "stopped":
        kafka.stop()
    else:
        kafka.kill()
    logs, _ = load(kafka.data_dir, 1.0)
    for topic in TOPICS:
        log = log_of(logs, topic)
        log.update_high_watermark(log.log_end_offset)
        assert described(all_records(log)) == expected[topic]
        assert described(committed_records(log)) == committed[topic]
        assert latest(committed_records(log)) == tables[topic]
        assert log.cleaned_offset == log.segments.active.base_offset
    logs.shutdown(1)


def test_uncompressed_logs_are_compacted_to_the_same_bytes(kafka: ApacheKafka, tmp_path: Path) -> None:
    fill(kafka.bootstrap, ("plain",))
    kafka.stop()
    ours = tmp_path / "ours"
    shutil.copytree(kafka.data_dir, ours)
    kafka.start()
    let_kafka_compact(kafka, ("plain",))
    checkpoint = kafka.data_dir / "cleaner-offset-checkpoint"
    wait_for(lambda: "plain 0 " in checkpoint.read_text(), "it is compacted", 30)
    kafka.stop()
    compact(ours)
    theirs = kafka.data_dir / "plain-0"
    names = [path.name for path in theirs.iterdir() if re.fullmatch(r"\d{20}\.(log|index|timeindex)", path.name)]
    assert len(names) == 6
    for name in names:
        assert (ours / "plain-0" / name).read_bytes() == (theirs / name).read_bytes(), name
    assert (ours / "cleaner-offset-checkpoint").read_text() == checkpoint.read_text()
