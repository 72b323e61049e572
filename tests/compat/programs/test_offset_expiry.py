"""offsets.retention.minutes: a group's offsets go that long after it has lost its last member, or its commit's end."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, TopicPartition

from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from tests.support.groups import RawMember, commit, committed
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import await_coordinator, code, connect, create_topic
from tests.support.wire import Connection

pytestmark = [pytest.mark.owns_broker, pytest.mark.timeout(240)]

RETENTION_S = 60
STAYED_S = 10
SETTINGS = {"offsets.retention.minutes": "1", "offsets.retention.check.interval.ms": "500"}


def test_offsets_expire_when_nobody_can_want_them(
    own_broker: Callable[..., BrokerProcess], unique: Callable[[str], str]
) -> None:
    """Of a simple group from its commit on, of others from when they became empty, of readers only what they left."""
    broker = own_broker(SETTINGS)
    topic, other = unique("topic"), unique("other")
    simple, left, reading, short = (unique(kind) for kind in ("simple", "left", "reading", "short"))
    with connect(broker) as connection:
        for name in (topic, other):
            create_topic(connection, name, 1)
        for group in (simple, left, reading, short):
            await_coordinator(connection, group)
        member = RawMember(broker, left, session_timeout_ms=60_000)
        member.join()
        member.sync({member.member_id: b""})
        assert commit(connection, reading, other, 3) == "NONE"
        consumer = _reader(broker, reading, topic)
        begun = time.monotonic()
        assert _commit_for(connection, short, topic, 2000) == "NONE"
        assert commit(connection, simple, topic, 1) == "NONE"
        assert member.commit(topic, 2) == "NONE"
        consumer.commit(offsets=[TopicPartition(topic, 0, 4)], asynchronous=False)

        wait_for(lambda: _offset(connection, short, topic) == -1, "an offset whose client gave it two seconds", 20)
        assert 2 <= time.monotonic() - begun < 20
        _wait(consumer, begun + STAYED_S)
        assert member.leave() == "NONE"
        member.close()
        _wait(consumer, begun + RETENTION_S - 2)
        assert [_offset(connection, group, topic) for group in (simple, left, reading)] == [1, 2, 4]
        wait_for(lambda: _offset(connection, simple, topic) == -1, "the simple group's offset is gone", 20)
        wait_for(lambda: _offset(connection, reading, other) == -1, "what the reader does not read is gone", 20)
        assert _offset(connection, left, topic) == 2
        assert time.monotonic() - begun < RETENTION_S + STAYED_S
        wait_for(lambda: _offset(connection, left, topic) == -1, "the offset of the group that was left", 20)
        assert time.monotonic() - begun >= RETENTION_S + STAYED_S
        assert _offset(connection, reading, topic) == 4
        consumer.close()


def _reader(broker: BrokerProcess, group: str, topic: str) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
        }
    )
    consumer.subscribe([topic])

    def assigned() -> bool:
        consumer.poll(0.1)
        return len(consumer.assignment()) == 1

    wait_for(assigned, "the reader has its partition", 20)
    return consumer


def _wait(consumer: Consumer, deadline: float) -> None:
    """Let the time pass, while the reader stays in its group."""
    while time.monotonic() < deadline:
        consumer.poll(0.2)


def _offset(connection: Connection, group: str, topic: str) -> int:
    return committed(connection, group, topic).committed_offset


def _commit_for(connection: Connection, group: str, topic: str, retention_ms: int) -> str:
    """A commit of an old client, that says itself how long it is to be kept."""
    partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=9, committed_metadata="")
    topics = [OffsetCommitRequestTopic(name=topic, partitions=[partition])]
    request = OffsetCommitRequest(group_id=group, retention_time_ms=retention_ms, topics=topics)
    return code(connection.call(request, OffsetCommitResponse, 4).topics[0].partitions[0].error_code)
