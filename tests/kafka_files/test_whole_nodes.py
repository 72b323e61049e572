"""A data directory that whole nodes of Apache Kafka and Odradek serve in turn: nothing that clients find changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.kafka_files.nodes import (
    BROKER,
    QUICK_RETURN,
    TOPIC,
    Found,
    Group,
    OdradekOver,
    alter,
    commit_until_done,
    delete_before,
    delete_topic,
    look,
)
from tests.support.apache import ApacheKafka, Unavailable
from tests.support.batches import batch
from tests.support.process import BrokerProcess
from tests.support.requests import code, connect, create_topic, produce

SETTINGS = {
    **QUICK_RETURN,
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.num.partitions": "3",
    "group.initial.rebalance.delay.ms": "0",
    "log.initial.task.delay.ms": "500",
    # So that snapshots of the metadata are written.
    "metadata.log.max.record.bytes.between.snapshots": "4000",
    "metadata.log.max.snapshot.interval.ms": "3000",
}


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[ApacheKafka]:
    log_dirs = {"log.dirs": f"{tmp_path}/data,{tmp_path}/more", "metadata.log.dir": f"{tmp_path}/data"}
    try:
        node = ApacheKafka(tmp_path, {**SETTINGS, **log_dirs})
    except Unavailable as error:
        pytest.skip(f"Apache Kafka cannot be run: {error}")
    yield node
    node.close()


@pytest.fixture
def odradek(kafka: ApacheKafka) -> Iterator[OdradekOver]:
    kafka.start()
    node = OdradekOver(kafka)
    yield node
    node.close()


def end(broker: BrokerProcess, how: str) -> None:
    if how == "stopped":
        assert broker.stop() in (0, 143)
    else:
        broker.kill()


def fill(broker: BrokerProcess, era: str) -> list[Group]:
    """Topics, records, offsets and configurations, and some that are gone again; the groups."""
    now_ms = int(time.time() * 1000)
    groups = [Group(f"{era}-group-{number}", f"{era}-plain", number % 3) for number in range(5)]
    with connect(broker) as connection:
        create_topic(connection, f"{era}-plain", 3, {"segment.bytes": str(1 << 20), "retention.ms": "-1"})
        create_topic(connection, f"{era}-deleted", 2)
        create_topic(connection, f"{era}-compacted", 1, {"cleanup.policy": "compact", "min.compaction.lag.ms": "99"})
        create_topic(connection, f"{era}-cut", 1, {"retention.ms": "-1"})
        producer = Producer(
            {"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "compression.type": "zstd"}
        )
        for number in range(3000):
            producer.produce(
                f"{era}-plain", b"%d" % number * 100, partition=number % 3, headers={"number": b"%d" % number}
            )
        producer.flush()
        for number in range(20):
            records = batch([b"%d" % number], keys=[b"key-%d" % (number % 4)], timestamp_ms=now_ms + number)
            assert code(produce(connection, f"{era}-compacted", records).error_code) == "NONE"
            assert code(produce(connection, f"{era}-cut", records).error_code) == "NONE"
        delete_before(connection, f"{era}-cut", 0, 7)
        for number, group in enumerate(groups):
            commit_until_done(connection, group, number, "first")
            commit_until_done(connection, group, 100 + number, f"of the era of {era}")
        delete_topic(connection, f"{era}-deleted")
        alter(connection, TOPIC, f"{era}-cut", {"max.message.bytes": "12345"})
        alter(connection, BROKER, "", {"log.retention.ms": "987654321"})
        alter(connection, BROKER, "1", {"log.cleaner.threads": "2"})
    return groups


def same(before: Found, after: Found) -> None:
    """Field by field, which is easier to read where it fails."""
    for name in Found._fields:
        assert getattr(after, name) == getattr(before, name), name


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_records_offsets_configs_and_topic_ids_stay_when_the_broker_is_another(
    kafka: ApacheKafka, odradek: OdradekOver, how: str
) -> None:
    groups = fill(kafka, "kafka")
    before = look(kafka, groups)
    end(kafka, how)
    odradek.start()
    same(before, look(odradek, groups))

    groups += fill(odradek, "odradek")
    before = look(odradek, groups)
    end(odradek, how)
    kafka.start()
    same(before, look(kafka, groups))
    groups += fill(kafka, "again")
    before = look(kafka, groups)
    end(kafka, how)
    odradek.start()
    same(before, look(odradek, groups))
