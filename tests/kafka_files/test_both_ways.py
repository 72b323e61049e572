"""Files that Apache Kafka reads as we wrote them, and the other way round. Needs Java, and Maven or the jars."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from odradek.net.files import OsFileSystem
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.manager import LogManager
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.records.batch import iter_records
from tests.support.apache import ApacheKafka, Unavailable, require, tools_libs
from tests.unit.fakes import FakeWorld
from tests.unit.storage.support import NOW_MS, Disk, batch, stored_batches

SEGMENT_BYTES = 1 << 20
CONFIG = LogConfig(segment_bytes=SEGMENT_BYTES, index_interval_bytes=512)
TOPIC_CONFIG = {"segment.bytes": str(SEGMENT_BYTES), "index.interval.bytes": "512"}


@pytest.fixture(scope="module")
def tools() -> Path:
    try:
        require("java")
        return tools_libs()
    except Unavailable as error:
        pytest.skip(f"Apache Kafka's tools cannot be run: {error}")


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[ApacheKafka]:
    (tmp_path / "kafka").mkdir()
    try:
        node = ApacheKafka(tmp_path / "kafka", {"log.index.interval.bytes": "512"})
    except Unavailable as error:
        pytest.skip(f"Apache Kafka cannot be run: {error}")
    node.start()
    yield node
    node.close()


def dump(libs: Path, directory: Path, *arguments: str) -> str:
    files = ",".join(str(path) for path in sorted(directory.iterdir()) if re.fullmatch(r"\d{20}\.\w+", path.name))
    command = ["java", "-cp", f"{libs}/*", "org.apache.kafka.tools.DumpLogSegments", *arguments, "--files", files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout + done.stderr


def write_everything(disk: Disk) -> int:
    """A log with all that the format has; the number of records."""
    for number in range(200):
        disk.append(b"v%d" % number, b"w" * 20, timestamp_ms=NOW_MS + number, leader_epoch=number // 70)
        if number % 10 == 5:
            sequence = number // 10
            disk.append(b"txn", producer_id=7, producer_epoch=0, base_sequence=sequence, is_transactional=True)
            disk.append(b"idempotent", producer_id=9, producer_epoch=0, base_sequence=sequence)
            disk.marker(7, 0, commit=number % 20 != 5)
    disk.append(b"open", producer_id=8, producer_epoch=0, base_sequence=0, is_transactional=True)
    return disk.log.log_end_offset


@pytest.mark.parametrize("how", ["clean stop", "recovered", "truncated"])
def test_the_dump_tool_reads_what_we_write(tools: Path, tmp_path: Path, how: str) -> None:
    directory = tmp_path / "topic-0"
    disk = Disk(LogConfig(segment_bytes=15_000, index_interval_bytes=500), OsFileSystem(), str(directory))
    write_everything(disk)
    if how == "recovered":
        for path in directory.glob("*index"):
            path.unlink()
        disk.open()
    elif how == "truncated":
        disk.log.truncate_to(300)
    end = disk.log.log_end_offset
    disk.log.close()
    text = dump(tools, directory, "--deep-iteration", "--print-data-log")
    assert len(re.findall(r"^\| offset: ", text, re.MULTILINE)) == end
    assert "isvalid: false" not in text
    assert "Mismatches" not in text
    assert "out of order" not in text.lower()
    aborted = re.findall(r"producerId: 7 firstOffset: \d+ lastOffset: (\d+)", text)
    assert len(aborted) == len(disk.log.aborted_transactions(0, end)) > 0
    assert "producerId: 9 producerEpoch: 0" in text
    sane = dump(tools, directory, "--index-sanity-check")
    assert sane.count("passed sanity check") == len(list(directory.glob("*.index"))) * 2


def load(directory: Path) -> LogManager:
    world = FakeWorld(now_ms=NOW_MS)
    logs = LogManager(OsFileSystem(), world, world, world, world, [str(directory)])
    logs.load(lambda _topic: CONFIG)
    return logs


def records(log: Log) -> list[tuple[int, bytes | None]]:
    return [(record.offset, record.value) for _, view in stored_batches(log) for record in iter_records(view)]


def fill(bootstrap: str) -> dict[str, list[bytes]]:
    """Topics with plain, idempotent, compressed and transactional records; what read_uncommitted sees in each."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = ["plain", "idempotent", "transactional"]
    for future in admin.create_topics([NewTopic(topic, 1, 1, config=TOPIC_CONFIG) for topic in topics]).values():
        future.result()
    sent: dict[str, list[bytes]] = {topic: [] for topic in topics}

    def send(producer: Producer, topic: str, count: int, size: int) -> None:
        for _ in range(count):
            sent[topic].append(os.urandom(size))
            producer.produce(topic, sent[topic][-1])
        producer.flush()

    plain = Producer({"bootstrap.servers": bootstrap, "compression.type": "lz4"})
    idempotent = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    transactional = Producer({"bootstrap.servers": bootstrap, "transactional.id": "t"})
    transactional.init_transactions()
    for number in range(30):
        send(plain, "plain", 100, 600)
        send(idempotent, "idempotent", 40, 200)
        transactional.begin_transaction()
        send(transactional, "transactional", 5, 100)
        (transactional.abort_transaction if number % 3 == 1 else transactional.commit_transaction)()
    return sent


def consume(bootstrap: str, topic: str, count: int) -> list[tuple[int, bytes | None]]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "isolation.level": "read_uncommitted"})
    consumer.assign([ClientPartition(topic, 0, 0)])
    found: list[tuple[int, bytes | None]] = []
    while len(found) < count:
        messages = consumer.consume(1000, 20.0)
        assert messages, f"{len(found)} of {count} records of {topic} came"
        for message in messages:
            offset = message.offset()
            assert offset is not None
            found.append((offset, message.value()))
    consumer.close()
    return found


@pytest.mark.parametrize("how", ["stopped", "killed", "truncated"])
def test_a_directory_moves_to_us_and_back(kafka: ApacheKafka, tmp_path: Path, how: str) -> None:
    sent = fill(kafka.bootstrap)
    if how == "killed":
        kafka.kill()
    else:
        kafka.stop()
    ours = tmp_path / "ours"
    shutil.copytree(kafka.data_dir, ours)

    logs = load(ours)
    for topic, values in sent.items():
        log = logs.log(TopicPartition(topic, 0))
        assert log is not None
        data = [value for _, value in records(log) if value is not None and len(value) >= 100]
        assert data == values
        assert log.high_watermark == log.log_end_offset or how == "killed"
        log.update_high_watermark(log.log_end_offset)
    assert (logs.previous_broker_epoch >= 0) is (how != "killed")
    if how == "stopped":
        logs.shutdown(logs.previous_broker_epoch)
        assert_same_files(kafka.data_dir, ours)
        logs = load(ours)

    # What we add, Kafka serves, also when we have cut something off before, or are killed in a write.
    plain = logs.log(TopicPartition("plain", 0))
    assert plain is not None
    if how == "truncated":
        logs.truncate_to({plain.topic_partition: 1234})
        assert 1134 < plain.log_end_offset <= 1234
    for number in range(2000):
        plain.append_as_leader(batch(b"%d" % number + b"." * 700), leader_epoch=5, now_ms=NOW_MS)
    plain.update_high_watermark(plain.log_end_offset)
    expected = records(plain)
    if how != "killed":
        logs.shutdown(1)
    else:
        logs.checkpoint_high_watermarks()
        active = plain.segments.active
        with Path(active.log.path).open("ab") as file:
            file.write(batch(b"torn" * 100)[:200])
    shutil.rmtree(kafka.data_dir)
    shutil.copytree(ours, kafka.data_dir)
    kafka.start()
    assert consume(kafka.bootstrap, "plain", len(expected)) == expected


def assert_same_files(theirs: Path, ours: Path) -> None:
    """Opening and stopping changes no byte but the order of checkpoints' lines."""
    compared = 0
    for path in theirs.rglob("*"):
        if path.is_dir() or path.parent.name.startswith("__") or "checkpoint" in path.name:
            continue
        assert (ours / path.relative_to(theirs)).read_bytes() == path.read_bytes(), path
        compared += 1
    assert compared > 15
    for path in theirs.glob("*-checkpoint"):
        assert sorted((ours / path.name).read_text().split("\n")) == sorted(path.read_text().split("\n")), path
