"""Retention as a client sees it: the earliest offset moves by time, by size, and at once when a topic is altered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.batches import batch
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
from tests.support.wire import Connection

pytestmark = pytest.mark.owns_broker

EARLIEST = -2
LATEST = -1
SETTINGS = {"log.retention.check.interval.ms": "200", "log.initial.task.delay.ms": "200"}
HOUR_MS = 3_600_000
SEGMENT_BYTES = 1 << 20
"""The smallest that a topic may have, so that two of these records do not fit in one."""
VALUE = b"x" * 600_000


@pytest.fixture
def broker(own_broker: Callable[..., BrokerProcess]) -> BrokerProcess:
    return own_broker(SETTINGS)


@pytest.fixture
def connection(broker: BrokerProcess) -> Iterator[Connection]:
    with connect(broker) as connection:
        yield connection


def append(connection: Connection, topic: str, *timestamps_ms: int) -> None:
    """One large record for each timestamp, each of which fills a segment."""
    for timestamp_ms in timestamps_ms:
        answer = produce(connection, topic, batch([VALUE], timestamp_ms=timestamp_ms))
        assert code(answer.error_code) == "NONE"


def earliest(connection: Connection, topic: str) -> int:
    return list_offset(connection, topic, EARLIEST).offset


def now_ms() -> int:
    return int(time.time() * 1000)


def test_segments_go_when_their_last_record_is_older_than_retention_ms(connection: Connection) -> None:
    configs = {"segment.bytes": str(SEGMENT_BYTES), "retention.ms": str(HOUR_MS)}
    create_topic(connection, "by-time", configs=configs)
    append(connection, "by-time", *(now_ms() - 2 * HOUR_MS,) * 3, now_ms(), now_ms())
    wait_for(lambda: earliest(connection, "by-time") == 3, "the old segments are gone")
    answer = fetch(connection, fetch_request("by-time", 2))
    assert code(answer.error_code) == "OFFSET_OUT_OF_RANGE"
    assert fetch(connection, fetch_request("by-time", 3)).log_start_offset == 3


def test_retention_by_time_takes_the_active_segment_as_well(connection: Connection) -> None:
    create_topic(connection, "all", configs={"retention.ms": str(HOUR_MS)})
    append(connection, "all", now_ms() - 2 * HOUR_MS)
    wait_for(lambda: earliest(connection, "all") == 1, "the only segment is gone")
    append(connection, "all", now_ms())
    assert (earliest(connection, "all"), list_offset(connection, "all", LATEST).offset) == (1, 2)


def test_retention_by_size_keeps_at_least_the_bytes_it_names(connection: Connection) -> None:
    configs = {"segment.bytes": str(SEGMENT_BYTES), "retention.bytes": str(2 * len(VALUE))}
    create_topic(connection, "by-size", configs=configs)
    append(connection, "by-size", *(now_ms(),) * 5)
    wait_for(lambda: earliest(connection, "by-size") == 3, "what is over the limit is gone")


def test_retention_without_limits_keeps_everything_until_the_topic_is_altered(connection: Connection) -> None:
    configs = {"segment.bytes": str(SEGMENT_BYTES), "retention.ms": "-1", "retention.bytes": "-1"}
    create_topic(connection, "altered", configs=configs)
    append(connection, "altered", 1000, 2000, now_ms())
    create_topic(connection, "beside", configs={"retention.ms": str(HOUR_MS)})
    append(connection, "beside", 1000)
    wait_for(lambda: earliest(connection, "beside") == 1, "retention has run")
    assert earliest(connection, "altered") == 0
    alter_configs(connection, TOPIC, "altered", {"retention.ms": str(HOUR_MS)})
    wait_for(lambda: earliest(connection, "altered") == 2, "the new setting has its effect")


def test_a_smaller_segment_size_rolls_from_the_next_append_on(connection: Connection) -> None:
    create_topic(connection, "smaller", configs={"retention.ms": str(HOUR_MS)})
    append(connection, "smaller", 1000)
    alter_configs(connection, TOPIC, "smaller", {"segment.bytes": str(SEGMENT_BYTES)})
    append(connection, "smaller", now_ms())
    wait_for(lambda: earliest(connection, "smaller") == 1, "the first record is in a segment of its own")


def test_a_segment_rolls_when_a_record_is_segment_ms_younger_than_its_first(connection: Connection) -> None:
    create_topic(connection, "rolled", configs={"segment.ms": "60000", "retention.ms": str(HOUR_MS)})
    append(connection, "rolled", now_ms() - HOUR_MS * 2, now_ms())
    wait_for(lambda: earliest(connection, "rolled") == 1, "the old record's segment is gone")


def test_a_compacted_topic_loses_nothing_by_retention(connection: Connection) -> None:
    configs = {"cleanup.policy": "compact", "segment.bytes": str(SEGMENT_BYTES), "retention.ms": "1000"}
    create_topic(connection, "compacted", configs=configs)
    for _ in range(3):
        answer = produce(connection, "compacted", batch([VALUE], keys=[b"key"], timestamp_ms=1000))
        assert code(answer.error_code) == "NONE"
    create_topic(connection, "beside-2", configs={"retention.ms": str(HOUR_MS)})
    append(connection, "beside-2", 1000)
    wait_for(lambda: earliest(connection, "beside-2") == 1, "retention has run")
    assert earliest(connection, "compacted") == 0
