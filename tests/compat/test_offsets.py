"""ListOffsets (API 2), OffsetForLeaderEpoch (API 23) and DeleteRecords (API 21)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from odradek.wire.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
)
from odradek.wire.messages.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from tests.support.batches import batch, batches
from tests.support.requests import code, fetch, fetch_request, list_offset, produce
from tests.support.wire import Connection

NewTopic = Callable[..., str]
START_MS = 1_700_000_000_000
LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING_UPLOAD = -1, -2, -3, -4, -5, -6


def fill(connection: Connection, topic: str) -> None:
    """Offsets 0 to 3; the latest time is at offset 2."""
    produce(connection, topic, batch([b"a", b"b"], timestamps_ms=[START_MS, START_MS + 10]))
    produce(connection, topic, batch([b"c", b"d"], timestamps_ms=[START_MS + 30, START_MS + 20]))


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (LATEST, (-1, 0)),
        (EARLIEST, (-1, 0)),
        (MAX_TIMESTAMP, (-1, -1)),
        (EARLIEST_LOCAL, (-1, 0)),
        (LATEST_TIERED, (-1, -1)),
        (EARLIEST_PENDING_UPLOAD, (-1, -1)),
        (START_MS, (-1, -1)),
    ],
)
def test_special_timestamps_on_an_empty_partition(
    connection: Connection, new_topic: NewTopic, timestamp: int, expected: tuple[int, int]
) -> None:
    """KIP-734 (-3), KIP-405 (-4), KIP-1005 (-5), KIP-1023 (-6)."""
    answer = list_offset(connection, new_topic(), timestamp)
    assert code(answer.error_code) == "NONE"
    assert (answer.timestamp, answer.offset) == expected


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (LATEST, (-1, 4)),
        (EARLIEST, (-1, 0)),
        (MAX_TIMESTAMP, (START_MS + 30, 2)),
        (EARLIEST_LOCAL, (-1, 0)),
        (LATEST_TIERED, (-1, -1)),
        (EARLIEST_PENDING_UPLOAD, (-1, -1)),
        (0, (START_MS, 0)),
        (START_MS, (START_MS, 0)),
        (START_MS + 1, (START_MS + 10, 1)),
        (START_MS + 11, (START_MS + 30, 2)),
        (START_MS + 30, (START_MS + 30, 2)),
        (START_MS + 31, (-1, -1)),
    ],
)
def test_timestamps_on_a_partition_with_records(
    connection: Connection, new_topic: NewTopic, timestamp: int, expected: tuple[int, int]
) -> None:
    """KIP-79: the first record at or after a time, and its own time; then the special values."""
    topic = new_topic()
    fill(connection, topic)
    answer = list_offset(connection, topic, timestamp)
    assert code(answer.error_code) == "NONE"
    assert (answer.timestamp, answer.offset) == expected


@pytest.mark.parametrize("version", range(1, 12))
def test_every_version_finds_both_ends(connection: Connection, new_topic: NewTopic, version: int) -> None:
    """Versions 1 to 11; the leader epoch is there from 4 on."""
    topic = new_topic()
    fill(connection, topic)
    latest = list_offset(connection, topic, LATEST, version=version)
    assert (latest.offset, latest.leader_epoch) == (4, 0 if version >= 4 else -1)
    assert list_offset(connection, topic, EARLIEST, version=version).offset == 0


@pytest.mark.parametrize(
    ("timestamp", "version"),
    [(MAX_TIMESTAMP, 6), (EARLIEST_LOCAL, 7), (LATEST_TIERED, 8), (EARLIEST_PENDING_UPLOAD, 10)],
)
def test_a_special_value_newer_than_the_version(
    connection: Connection, new_topic: NewTopic, timestamp: int, version: int
) -> None:
    """UNSUPPORTED_VERSION for that partition."""
    answer = list_offset(connection, new_topic(), timestamp, version=version)
    assert code(answer.error_code) == "UNSUPPORTED_VERSION"


def test_list_offsets_of_what_is_not_there(connection: Connection, new_topic: NewTopic) -> None:
    """UNKNOWN_TOPIC_OR_PARTITION."""
    answer = list_offset(connection, new_topic(), LATEST, partition=3)
    assert code(answer.error_code) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert (answer.timestamp, answer.offset) == (-1, -1)


def test_list_offsets_checks_the_leader_epoch(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-320."""
    answer = list_offset(connection, new_topic(), LATEST, leader_epoch=9)
    assert code(answer.error_code) == "UNKNOWN_LEADER_EPOCH"


def epoch_end(
    connection: Connection, topic: str, epoch: int, *, current: int = -1, partition: int = 0
) -> EpochEndOffset:
    wanted = OffsetForLeaderPartition(partition=partition, current_leader_epoch=current, leader_epoch=epoch)
    request = OffsetForLeaderEpochRequest(
        replica_id=-1, topics=[OffsetForLeaderTopic(topic=topic, partitions=[wanted])]
    )
    return connection.call(request, OffsetForLeaderEpochResponse).topics[0].partitions[0]


def test_the_current_epoch_ends_at_the_log_end(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-101 and KIP-320."""
    topic = new_topic()
    fill(connection, topic)
    answer = epoch_end(connection, topic, 0)
    assert (code(answer.error_code), answer.leader_epoch, answer.end_offset) == ("NONE", 0, 4)


def test_an_epoch_that_never_was_has_no_end(connection: Connection, new_topic: NewTopic) -> None:
    """Undefined is -1 and -1."""
    topic = new_topic()
    fill(connection, topic)
    answer = epoch_end(connection, topic, 5)
    assert (code(answer.error_code), answer.leader_epoch, answer.end_offset) == ("NONE", -1, -1)


def test_offset_for_leader_epoch_checks_the_leader_epoch_and_the_partition(
    connection: Connection, new_topic: NewTopic
) -> None:
    """KIP-320: UNKNOWN_LEADER_EPOCH; and UNKNOWN_TOPIC_OR_PARTITION."""
    topic = new_topic()
    assert code(epoch_end(connection, topic, 0, current=4).error_code) == "UNKNOWN_LEADER_EPOCH"
    assert code(epoch_end(connection, topic, 0, partition=4).error_code) == "UNKNOWN_TOPIC_OR_PARTITION"


def delete_before(connection: Connection, topic: str, offset: int, partition: int = 0) -> DeleteRecordsPartitionResult:
    wanted = DeleteRecordsPartition(partition_index=partition, offset=offset)
    request = DeleteRecordsRequest(topics=[DeleteRecordsTopic(name=topic, partitions=[wanted])], timeout_ms=10_000)
    return connection.call(request, DeleteRecordsResponse).topics[0].partitions[0]


def test_delete_records_moves_the_log_start(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-107: the low watermark moves into the middle of a batch, and what is before it is out of range."""
    topic = new_topic()
    fill(connection, topic)
    answer = delete_before(connection, topic, 3)
    assert (code(answer.error_code), answer.low_watermark) == ("NONE", 3)
    assert list_offset(connection, topic, EARLIEST).offset == 3
    before = fetch(connection, fetch_request(topic, 2))
    assert code(before.error_code) == "OFFSET_OUT_OF_RANGE"
    after = fetch(connection, fetch_request(topic, 3))
    assert after.log_start_offset == 3
    assert [stored.base_offset for stored in batches(after.records)] == [2]


def test_delete_records_to_the_high_watermark(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-107: offset -1 is the high watermark."""
    topic = new_topic()
    fill(connection, topic)
    assert delete_before(connection, topic, -1).low_watermark == 4
    assert list_offset(connection, topic, EARLIEST).offset == 4
    assert produce(connection, topic, batch()).base_offset == 4


@pytest.mark.parametrize(
    ("offset", "partition", "expected"),
    [
        (5, 0, "OFFSET_OUT_OF_RANGE"),
        (-2, 0, "OFFSET_OUT_OF_RANGE"),
        (0, 3, "UNKNOWN_TOPIC_OR_PARTITION"),
    ],
)
def test_delete_records_of_what_is_not_there(
    connection: Connection, new_topic: NewTopic, offset: int, partition: int, expected: str
) -> None:
    """Errors are per partition, with a low watermark of -1."""
    topic = new_topic()
    fill(connection, topic)
    answer = delete_before(connection, topic, offset, partition)
    assert (code(answer.error_code), answer.low_watermark) == (expected, -1)


def test_delete_records_refuses_compacted_topics(connection: Connection, new_topic: NewTopic) -> None:
    """POLICY_VIOLATION where only compaction removes records."""
    topic = new_topic(configs={"cleanup.policy": "compact"})
    produce(connection, topic, batch([b"v"], keys=[b"k"]))
    assert code(delete_before(connection, topic, 1).error_code) == "POLICY_VIOLATION"
