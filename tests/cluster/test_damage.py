"""Segments that were damaged while the node was down: what is damaged is reported, and never taken for records."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.support.apache import Unavailable
from tests.support.batches import HEADER_BYTES, batch, batches
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import code, connect, create_topic, fetch, fetch_request, list_offset, produce, serves
from tests.support.targets import FAST_SETTINGS, new_broker
from tests.support.wire import Connection

RECORDS = 30
DAMAGED = 14
"""The offset of the record that is damaged."""
QUICK_RETURN = {"broker.session.timeout.ms": "1000", "broker.heartbeat.interval.ms": "200"}


@pytest.fixture
def broker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[BrokerProcess]:
    try:
        node = new_broker(str(request.config.getoption("--target")), tmp_path, {**FAST_SETTINGS, **QUICK_RETURN})
    except Unavailable as error:
        pytest.skip(f"Apache Kafka cannot be run here: {error}")
    node.start()
    yield node
    node.close()


def fill(broker: BrokerProcess) -> list[bytes]:
    """A topic of one record to a batch; their values."""
    values = [os.urandom(500) for _ in range(RECORDS)]
    with connect(broker) as connection:
        create_topic(connection, "t")
        for value in values:
            assert code(produce(connection, "t", batch([value])).error_code) == "NONE"
    return values


def damage(broker: BrokerProcess, at: int) -> None:
    """Flip a bit of the damaged record's batch, `at` bytes into it."""
    path = broker.data_dir / "t-0" / f"{0:020d}.log"
    content = bytearray(path.read_bytes())
    position = sum(each.size for each in batches(bytes(content)) if each.base_offset < DAMAGED)
    content[position + at] ^= 4
    path.write_bytes(content)


def start_again(broker: BrokerProcess) -> None:
    broker.start()
    with connect(broker) as connection:
        wait_for(lambda: serves(connection, "t", 1), "the broker leads its partition again", 30.0)


def values_from(connection: Connection, offset: int) -> list[bytes | None]:
    answer = fetch(connection, fetch_request("t", offset, partition_max_bytes=1 << 24))
    assert code(answer.error_code) == "NONE"
    found = list(batches(answer.records))
    assert all(each.crc_is_right for each in found)
    return [value for each in found for value in each.values]


@pytest.mark.parametrize("at", [5, 16, HEADER_BYTES + 100], ids=["offset", "magic", "record"])
def test_after_a_crash_the_log_ends_before_what_is_damaged(broker: BrokerProcess, at: int) -> None:
    if broker.name == "apache" and at < HEADER_BYTES:
        pytest.skip("Apache Kafka takes for true what the checksum does not cover")
    values = fill(broker)
    broker.kill()
    damage(broker, at)
    start_again(broker)
    if broker.name == "odradek":  # the other has no log here
        assert "is cut at byte" in broker.log_tail(500)
    with connect(broker) as connection:
        assert list_offset(connection, "t", -1).offset == DAMAGED
        assert values_from(connection, 0) == values[:DAMAGED]
        assert produce(connection, "t", batch([b"next"])).base_offset == DAMAGED
        assert values_from(connection, DAMAGED) == [b"next"]


def test_after_a_clean_stop_consumers_meet_the_damage_as_such_and_get_around_it(broker: BrokerProcess) -> None:
    """Nothing is read at such a start, on either broker: the checksum tells the consumer."""
    values = fill(broker)
    broker.stop()
    damage(broker, HEADER_BYTES + 100)
    start_again(broker)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "check.crcs": True})
    try:
        consumer.assign([TopicPartition("t", 0, 0)])
        seen: dict[int | None, bytes | None] = {}
        has_failed = False

        def everything_but_one() -> bool:
            nonlocal has_failed
            message = consumer.poll(1.0)
            if message is not None and message.error():
                has_failed = True
                consumer.seek(TopicPartition("t", 0, DAMAGED + 1))
            elif message is not None:
                seen[message.offset()] = message.value()
            return RECORDS - 1 in seen

        wait_for(everything_but_one, "the last record comes", 30.0)
    finally:
        consumer.close()
    assert has_failed
    assert seen == {offset: value for offset, value in enumerate(values) if offset != DAMAGED}
