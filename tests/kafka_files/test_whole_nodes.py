"""A data directory that whole nodes of Apache Kafka and Odradek serve in turn: nothing that clients find changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka_files.nodes import (
    QUICK_RETURN,
    Found,
    OdradekOver,
    fill,
    look,
)
from tests.support.apache import ApacheKafka, Unavailable
from tests.support.process import BrokerProcess

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
