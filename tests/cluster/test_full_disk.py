"""A disk of 1 MB that fills up under a running node: its directory goes offline, the others go on (KIP-112)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from odradek.wire.messages.describe_log_dirs import DescribeLogDirsRequest, DescribeLogDirsResponse
from tests.support.apache import Unavailable
from tests.support.batches import batch, batches
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import code, connect, create_topic, fetch, fetch_request, list_offset, metadata, produce
from tests.support.small_disk import ON_SMALL_DISKS_ONLY, SmallDisk
from tests.support.targets import FAST_SETTINGS, new_broker
from tests.support.wire import Connection

PARTITIONS = 4
VALUE_BYTES = 20_000
LED = ("NONE", 1, ())
LEADERLESS = ("LEADER_NOT_AVAILABLE", -1, (1,))

pytestmark = ON_SMALL_DISKS_ONLY


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    path = tmp_path / "small"
    path.mkdir()
    small = SmallDisk(path)
    small.mount(1)
    yield small
    small.unmount()


@pytest.fixture
def broker(disk: SmallDisk, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[BrokerProcess]:
    """With the metadata log on an ordinary disk, and a second log directory on the small one."""
    own = tmp_path / "node"
    own.mkdir()
    dirs = {"log.dirs": f"{own}/data,{disk.path}/data", "metadata.log.dir": f"{own}/data"}
    kind = str(request.config.getoption("--target"))
    try:
        # Apache Kafka makes an index as large as this at once.
        node = new_broker(kind, own, {**FAST_SETTINGS, **dirs, "log.index.size.max.bytes": "4096"})
    except Unavailable as error:
        pytest.skip(f"Apache Kafka cannot be run here: {error}")
    node.start()
    yield node
    node.close()


def dirs_of(connection: Connection) -> dict[str, tuple[str, set[int]]]:
    """Of each log directory the error, and which partitions of the topic are in it."""
    answer = connection.call(DescribeLogDirsRequest(topics=None), DescribeLogDirsResponse)
    return {
        result.log_dir: (
            code(result.error_code),
            {each.partition_index for topic in result.topics if topic.name == "t" for each in topic.partitions},
        )
        for result in answer.results
    }


def told(connection: Connection) -> dict[int, tuple[str, int, tuple[int, ...]]]:
    """What clients are told of each partition: error, leader, offline replicas."""
    topic = metadata(connection, "t")
    return {
        each.partition_index: (code(each.error_code), each.leader_id, tuple(each.offline_replicas))
        for each in topic.partitions
    }


def values_of(connection: Connection, partition: int) -> list[bytes | None]:
    end = list_offset(connection, "t", -1, partition=partition).offset
    values: list[bytes | None] = []
    while len(values) < end:
        answer = fetch(connection, fetch_request("t", len(values), partition=partition, partition_max_bytes=1 << 24))
        assert code(answer.error_code) == "NONE"
        for each in batches(answer.records):
            assert each.crc_is_right
            values += each.values
    return values


def is_led_everywhere(connection: Connection) -> bool:
    return set(told(connection).values()) == {LED}


def test_a_full_disk_takes_its_directory_offline_and_no_other(disk: SmallDisk, broker: BrokerProcess) -> None:
    small = f"{disk.path}/data"
    written: dict[int, list[bytes]] = {partition: [] for partition in range(PARTITIONS)}

    def write(connection: Connection, partition: int) -> str:
        value = os.urandom(VALUE_BYTES)
        error = code(produce(connection, "t", batch([value]), partition=partition).error_code)
        if error == "NONE":
            written[partition].append(value)
        return error

    with connect(broker) as connection:
        create_topic(connection, "t", PARTITIONS)
        on_small = dirs_of(connection)[small][1]
        assert 0 < len(on_small) < PARTITIONS
        elsewhere = set(range(PARTITIONS)) - on_small
        full = min(on_small)
        errors: list[str] = []
        while not errors:
            assert len(written[full]) * VALUE_BYTES < 1 << 20
            errors += [error for error in [write(connection, full)] if error != "NONE"]
        assert errors == ["KAFKA_STORAGE_ERROR"]
        for partition in elsewhere:
            assert write(connection, partition) == "NONE"
        expected = {partition: LEADERLESS if partition in on_small else LED for partition in range(PARTITIONS)}
        wait_for(lambda: told(connection) == expected, "the controller has taken note")
        assert write(connection, full) in ("KAFKA_STORAGE_ERROR", "NOT_LEADER_OR_FOLLOWER")
        assert code(fetch(connection, fetch_request("t", 0, partition=full)).error_code) in (
            "KAFKA_STORAGE_ERROR",
            "NOT_LEADER_OR_FOLLOWER",
        )
        assert dirs_of(connection)[small] == ("KAFKA_STORAGE_ERROR", set())
        for partition in elsewhere:
            assert write(connection, partition) == "NONE"
            assert values_of(connection, partition) == written[partition]

    # Once there is space, nothing that was acknowledged is missing.
    broker.stop()
    disk.mount(16, again=True)
    broker.start()
    with connect(broker) as connection:
        wait_for(lambda: is_led_everywhere(connection), "the partitions have leaders again", 30.0)
        for partition in range(PARTITIONS):
            assert write(connection, partition) == "NONE"
            found = values_of(connection, partition)
            # What was refused for want of space is not there: half of it was written at most.
            assert found == written[partition]
