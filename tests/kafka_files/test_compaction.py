"""What compaction leaves, also where it was killed midway, in the eyes of Apache Kafka's broker and dump tool."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from odradek.net.files import OsFileSystem
from odradek.storage.cleaner.job import clean
from odradek.storage.cleaner.plan import CleanedSegment, CleanerLimits
from odradek.storage.cleaner.selection import look_at, plan_for
from odradek.storage.log import Log
from odradek.storage.log_results import AppendOrigin
from odradek.storage.manager import LogManager
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.records.batch import build_batch
from odradek.wire.records.record import Record
from tests.kafka_files.dump import complaints, dump, files_of, tools_or_skip
from tests.support.apache import ApacheKafka, Unavailable
from tests.unit.fakes import FakeWorld
from tests.unit.storage.cleaner.support import COMPACTED, committed_records, latest
from tests.unit.storage.support import NOW_MS, marker

STEPS = 32
"""More renames than a swap has."""
TOPICS = [f"cut-before-{step}" for step in range(STEPS)]


class KilledError(Exception):
    """Nothing after this happened."""


class KilledFiles(OsFileSystem):
    """Files of a process that is killed before a certain rename of a compaction."""

    def __init__(self) -> None:
        super().__init__()
        self.renames_left: int | None = None

    def rename(self, source: str, target: str) -> None:
        if self.renames_left == 0:
            raise KilledError
        super().rename(source, target)
        if self.renames_left is not None:
            self.renames_left -= 1


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[ApacheKafka]:
    try:
        node = ApacheKafka(tmp_path, {})
    except Unavailable as error:
        pytest.skip(f"Apache Kafka cannot be run: {error}")
    yield node
    node.close()


def append(
    log: Log, *pairs: tuple[str, str | None], producer_id: int = -1, sequence: int = -1, in_transaction: bool = False
) -> None:
    records = [
        Record(index, NOW_MS, key.encode(), None if value is None else value.encode())
        for index, (key, value) in enumerate(pairs)
    ]
    epoch = 0 if producer_id >= 0 else -1
    batch = build_batch(
        records, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence, is_transactional=in_transaction
    )
    log.append_as_leader(bytearray(batch), leader_epoch=5, now_ms=NOW_MS)


def fill(log: Log) -> None:
    """Four closed segments: what is superseded, aborted, deleted, and what stays."""
    append(log, ("a", "1"), ("b", "1"), ("gone", "1"))
    append(log, ("t", "1"), producer_id=7, sequence=0, in_transaction=True)
    log.roll()
    append(log, ("a", "2"), ("c", "1"))
    log.append_as_leader(marker(7, 0, commit=False), leader_epoch=5, now_ms=NOW_MS, origin=AppendOrigin.COORDINATOR)
    append(log, ("u", "1"), ("b", "2"), producer_id=7, sequence=1, in_transaction=True)
    log.roll()
    log.append_as_leader(marker(7, 0, commit=True), leader_epoch=5, now_ms=NOW_MS, origin=AppendOrigin.COORDINATOR)
    append(log, ("gone", None), ("d", "1"), producer_id=8, sequence=0)
    log.roll()
    append(log, ("d", "2"))
    log.roll()
    log.flush()
    log.update_high_watermark(log.log_end_offset)


def compact(log: Log) -> None:
    found = look_at(log, NOW_MS)
    assert found is not None
    steps = clean(OsFileSystem(), plan_for(found, NOW_MS, CleanerLimits(1 << 16)))
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            log.cleaned_offset = stop.value.end_offset
            return
        if isinstance(step, CleanedSegment):
            log.replace_segments(step)


def consumed(bootstrap: str, topic: str) -> tuple[dict[str, str], int]:
    """The table that committed records make, and the log end offset."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap, "group.id": "reader", "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )  # fmt: skip
    consumer.assign([ClientPartition(topic, 0, 0)])
    table: dict[str, str] = {}
    while True:
        message = consumer.poll(20.0)
        assert message is not None, f"{topic} does not come to its end"
        if message.error():
            break
        key, value = message.key(), message.value()
        assert isinstance(key, bytes)
        if value is None:
            table.pop(key.decode(), None)
        else:
            table[key.decode()] = value.decode()
    _, end = consumer.get_watermark_offsets(ClientPartition(topic, 0))
    consumer.close()
    return table, end


@pytest.mark.parametrize("is_stopped", [True, False], ids=["stopped", "killed"])
def test_kafka_serves_what_compaction_leaves_wherever_it_was_killed(
    kafka: ApacheKafka, tmp_path: Path, is_stopped: bool
) -> None:
    kafka.start()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    topics = [NewTopic(topic, 1, 1, config={"cleanup.policy": "compact"}) for topic in TOPICS]
    for future in admin.create_topics(topics).values():
        future.result()
    kafka.stop()
    files, world = KilledFiles(), FakeWorld(now_ms=NOW_MS)
    ours = tmp_path / "ours"
    shutil.copytree(kafka.data_dir, ours)
    logs = LogManager(files, world, world, world, world, [str(ours)])
    logs.load(lambda _topic: COMPACTED)
    expected: dict[str, tuple[dict[str, str], int]] = {}
    killed = 0
    for step, topic in enumerate(TOPICS):
        log = logs.log(TopicPartition(topic, 0))
        assert log is not None
        fill(log)
        expected[topic] = latest(committed_records(log)), log.log_end_offset
        logs.checkpoint(str(ours))
        files.renames_left = None if is_stopped else step
        try:
            compact(log)
        except KilledError:
            killed += 1
        files.renames_left = None
    if is_stopped:
        logs.shutdown(logs.previous_broker_epoch)
        check_dump(ours)
    else:
        assert 10 <= killed < STEPS
        logs.checkpoint_high_watermarks()
    shutil.rmtree(kafka.data_dir)
    shutil.copytree(ours, kafka.data_dir)
    kafka.start()
    assert {topic: consumed(kafka.bootstrap, topic) for topic in TOPICS} == expected


def check_dump(ours: Path) -> None:
    """The dump tool finds nothing wrong."""
    files = files_of(ours / f"{TOPICS[0]}-0")
    assert {path.suffix for path in files} >= {".log", ".index", ".timeindex", ".txnindex", ".snapshot"}
    text = dump(tools_or_skip(), files, "--deep-iteration", "--print-data-log")
    assert complaints(text) == []
    assert "payload: 2" in text
