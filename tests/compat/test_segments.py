"""When segments begin, when they reach the disk and when they leave it: what lies in a broker's data directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from odradek.wire.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
)
from tests.support.batches import batch
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import code, connect, create_topic, list_offset, produce
from tests.support.wire import Connection

pytestmark = pytest.mark.owns_broker

SETTINGS = {
    "log.retention.check.interval.ms": "200",
    "log.initial.task.delay.ms": "200",
    "log.flush.offset.checkpoint.interval.ms": "200",
    "log.flush.scheduler.interval.ms": "100",
    # Else it would be the scheduler's interval.
    "log.flush.interval.ms": str(2**63 - 1),
}
SEGMENT_BYTES = 1 << 20
VALUE = b"x" * 600_000
"""Two do not fit into the smallest segment that a topic may have."""


@pytest.fixture
def broker(own_broker: Callable[..., BrokerProcess]) -> BrokerProcess:
    started = own_broker(SETTINGS)
    if not started.data_dir.exists():
        pytest.skip("the broker's data directory is not on this machine")
    return started


@pytest.fixture
def connection(broker: BrokerProcess) -> Iterator[Connection]:
    with connect(broker) as connection:
        yield connection


def now_ms() -> int:
    return int(time.time() * 1000)


def append(connection: Connection, topic: str, value: bytes, *, timestamp_ms: int, partition: int = 0) -> None:
    answer = produce(connection, topic, batch([value], timestamp_ms=timestamp_ms), partition=partition)
    assert code(answer.error_code) == "NONE"


def names(broker: BrokerProcess, topic: str, suffix: str, partition: int = 0) -> list[int]:
    """The offsets in the names of a partition's files that end in `suffix`."""
    found = (broker.data_dir / f"{topic}-{partition}").glob(f"*{suffix}")
    return sorted(int(path.name.partition(".")[0]) for path in found)


def recovery_point(broker: BrokerProcess, topic: str) -> int:
    """Up to where a partition is known to be on the disk, as the checkpoint says."""
    path = broker.data_dir / "recovery-point-offset-checkpoint"
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith(f"{topic} 0 "):
            return int(line.rpartition(" ")[2])
    return 0


def test_deleted_segments_stay_on_the_disk_for_file_delete_delay_ms(
    broker: BrokerProcess, connection: Connection
) -> None:
    """Under names that end in .deleted; nobody can read them any more."""
    configs = {"segment.bytes": str(SEGMENT_BYTES), "retention.bytes": "1", "file.delete.delay.ms": "3000"}
    create_topic(connection, "t", configs=configs)
    for _ in range(3):
        append(connection, "t", VALUE, timestamp_ms=now_ms())
    wait_for(lambda: names(broker, "t", ".log.deleted") == [0, 1], "the first segments are renamed")
    begun = time.monotonic()
    assert list_offset(connection, "t", -2).offset == 2
    assert names(broker, "t", ".log") == [2]
    wait_for(lambda: names(broker, "t", ".deleted") == [], "their files are gone")
    assert time.monotonic() - begun > 2.0


def test_segments_before_the_log_start_offset_leave_the_disk(broker: BrokerProcess, connection: Connection) -> None:
    """DeleteRecords moves the start within a segment, and that one stays (KIP-107)."""
    configs = {"segment.bytes": str(SEGMENT_BYTES), "retention.ms": "-1", "file.delete.delay.ms": "0"}
    create_topic(connection, "t", configs=configs)
    for _ in range(3):
        answer = produce(connection, "t", batch([VALUE, b"second"], timestamp_ms=now_ms()))
        assert code(answer.error_code) == "NONE"
    wanted = DeleteRecordsTopic(name="t", partitions=[DeleteRecordsPartition(partition_index=0, offset=3)])
    response = connection.call(DeleteRecordsRequest(topics=[wanted], timeout_ms=10_000), DeleteRecordsResponse)
    assert response.topics[0].partitions[0].low_watermark == 3
    wait_for(lambda: names(broker, "t", ".log") == [2, 4], "the segment before the start is gone")
    assert list_offset(connection, "t", -2).offset == 3


def test_a_full_index_begins_a_new_segment(broker: BrokerProcess, connection: Connection) -> None:
    """segment.index.bytes holds for each index; an entry of the time index is 12 bytes, and the last is kept free."""
    create_topic(connection, "t", configs={"segment.index.bytes": "60", "index.interval.bytes": "0"})
    for number in range(16):
        append(connection, "t", b"v", timestamp_ms=now_ms() + number)
    assert names(broker, "t", ".log") == [0, 5, 10, 15]


def test_jitter_lets_segments_end_before_segment_ms(broker: BrokerProcess, connection: Connection) -> None:
    """By a random part of segment.jitter.ms, so that not all partitions roll at once."""
    begun_ms = now_ms() - 3_600_000
    for name, jitter in (("even", "0"), ("jittered", "60000")):
        create_topic(connection, name, 4, {"segment.ms": "60000", "segment.jitter.ms": jitter})
        for partition in range(4):
            for timestamp_ms in (begun_ms, begun_ms + 59_000):
                append(connection, name, b"v", timestamp_ms=timestamp_ms, partition=partition)
    assert [names(broker, "even", ".log", partition) for partition in range(4)] == [[0]] * 4
    assert [0, 1] in [names(broker, "jittered", ".log", partition) for partition in range(4)]


def test_flush_messages_syncs_every_so_many_records(broker: BrokerProcess, connection: Connection) -> None:
    """The recovery point follows; without the setting it stays."""
    create_topic(connection, "never")
    create_topic(connection, "often", configs={"flush.messages": "3"})
    for _ in range(4):
        append(connection, "never", b"v", timestamp_ms=now_ms())
        append(connection, "often", b"v", timestamp_ms=now_ms())
    wait_for(lambda: recovery_point(broker, "often") == 3, "the checkpoint says so")
    assert recovery_point(broker, "never") == 0


def test_flush_ms_syncs_what_has_waited(broker: BrokerProcess, connection: Connection) -> None:
    """Looked at every log.flush.scheduler.interval.ms."""
    create_topic(connection, "never")
    create_topic(connection, "soon", configs={"flush.ms": "300"})
    for _ in range(4):
        append(connection, "never", b"v", timestamp_ms=now_ms())
        append(connection, "soon", b"v", timestamp_ms=now_ms())
    wait_for(lambda: recovery_point(broker, "soon") == 4, "the checkpoint says so")
    assert recovery_point(broker, "never") == 0


def test_retention_goes_by_the_time_of_appending_where_that_is_the_timestamp(
    broker: BrokerProcess, connection: Connection
) -> None:
    """message.timestamp.type=LogAppendTime: what producers say is of no account."""
    hour_ms = 3_600_000
    for name, kind in (("created", "CreateTime"), ("appended", "LogAppendTime")):
        create_topic(connection, name, configs={"message.timestamp.type": kind, "retention.ms": str(hour_ms)})
    for name in ("appended", "created"):
        append(connection, name, b"v", timestamp_ms=now_ms() - 2 * hour_ms)
    wait_for(lambda: list_offset(connection, "created", -2).offset == 1, "retention has run")
    assert list_offset(connection, "appended", -2).offset == 0
