"""Whole nodes that take turns over one data directory, and what clients find there."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import Producer

from odradek.wire.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
)
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from odradek.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
)
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from tests.support.apache import ApacheKafka
from tests.support.batches import batch, batches, raw
from tests.support.groups import commit, committed
from tests.support.odradek import ROOT, await_ready
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import (
    BROKER,
    TOPIC,
    alter_configs,
    await_coordinator,
    code,
    connect,
    create_topic,
    fetch,
    fetch_request,
    list_offset,
    produce,
    serves,
)
from tests.support.wire import Connection

FROM_TOPIC, FROM_BROKER, FROM_CLUSTER = 1, 2, 3
"""Sources of a configuration that somebody has set while the node was running."""
QUICK_RETURN = {"broker.session.timeout.ms": "1000", "broker.heartbeat.interval.ms": "200"}


class OdradekOver(BrokerProcess):
    """``odradek serve --config server.properties`` with the file of a Kafka, and so over its directories."""

    name = "odradek"

    def __init__(self, kafka: ApacheKafka) -> None:
        super().__init__(kafka.directory, {})
        self.port = kafka.port
        self.log_path = kafka.directory / "odradek.log"

    def start(self) -> None:
        argv = [sys.executable, "-m", "odradek", "serve", "--config", str(self.directory / "server.properties")]
        self._spawn(argv, pipe_stdout=True, env={"PYTHONPATH": str(ROOT)})
        await_ready(self)


class Group(NamedTuple):
    """An offset that a group has committed."""

    name: str
    topic: str
    partition: int


class Found(NamedTuple):
    """All that must not change when a directory goes from one broker to the other."""

    cluster_id: str
    topic_ids: Mapping[str, bytes]
    starts: Mapping[tuple[str, int], int]
    batches: Mapping[tuple[str, int], bytes]
    committed: Mapping[Group, tuple[int, str | None]]
    configs: Mapping[tuple[int, str], Mapping[str, str | None]]


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
            producer.produce(f"{era}-plain", os.urandom(1100), partition=number % 3, headers={"number": b"%d" % number})
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
        alter_configs(connection, TOPIC, f"{era}-cut", {"max.message.bytes": "12345"})
        alter_configs(connection, BROKER, "", {"log.retention.ms": "987654321"})
        alter_configs(connection, BROKER, "1", {"log.cleaner.threads": "2"})
    return groups


def look(broker: BrokerProcess, groups: list[Group]) -> Found:
    """Ask a broker for everything, waiting until it leads all partitions."""
    with connect(broker) as connection:
        topics: dict[str, bytes] = {}
        partitions: list[tuple[str, int]] = []
        for topic in connection.call(MetadataRequest(topics=None), MetadataResponse).topics:
            assert topic.name is not None
            if topic.is_internal:
                continue
            topics[topic.name] = topic.topic_id
            partitions += [(topic.name, each.partition_index) for each in topic.partitions]
        for name in topics:
            count = sum(each[0] == name for each in partitions)
            wait_for(lambda name=name, count=count: serves(connection, name, count), f"{name} is led", 30.0)  # type: ignore[misc]  # mypy does not infer defaults of a lambda
        starts = {
            (name, index): list_offset(connection, name, -2, partition=index).offset for name, index in partitions
        }
        offsets: dict[Group, tuple[int, str | None]] = {}
        for group in groups:
            await_coordinator(connection, group.name)
            answer = committed(connection, group.name, group.topic, group.partition)
            offsets[group] = (answer.committed_offset, answer.metadata)
        return Found(
            cluster_id=connection.call(DescribeClusterRequest(), DescribeClusterResponse).cluster_id,
            topic_ids=topics,
            starts=starts,
            batches={each: batches_of(connection, *each, start=starts[each]) for each in partitions},
            committed=offsets,
            configs=configs_of(connection, sorted(topics)),
        )


def batches_of(connection: Connection, topic: str, partition: int, *, start: int) -> bytes:
    """The bytes of a partition's batches, each with a checksum that holds."""
    end = list_offset(connection, topic, -1, partition=partition).offset
    data = b""
    while start < end:
        answer = fetch(connection, fetch_request(topic, start, partition=partition, partition_max_bytes=1 << 24))
        assert code(answer.error_code) == "NONE"
        for each in batches(answer.records):
            assert each.crc_is_right
            start = each.next_offset
        data += raw(answer.records)
    return data


def configs_of(connection: Connection, topics: list[str]) -> Mapping[tuple[int, str], Mapping[str, str | None]]:
    """What was set for each topic, for this broker, and for all brokers."""
    wanted = [(TOPIC, name) for name in topics] + [(BROKER, "1"), (BROKER, "")]
    resources = [DescribeConfigsResource(resource_type=kind, resource_name=name) for kind, name in wanted]
    answer = connection.call(DescribeConfigsRequest(resources=resources), DescribeConfigsResponse)
    return {
        (result.resource_type, result.resource_name): {
            config.name: config.value
            for config in result.configs
            if config.config_source in (FROM_TOPIC, FROM_BROKER, FROM_CLUSTER)
        }
        for result in answer.results
    }


def delete_before(connection: Connection, topic: str, partition: int, offset: int) -> None:
    wanted = DeleteRecordsTopic(
        name=topic, partitions=[DeleteRecordsPartition(partition_index=partition, offset=offset)]
    )
    answer = connection.call(DeleteRecordsRequest(topics=[wanted], timeout_ms=10_000), DeleteRecordsResponse)
    assert code(answer.topics[0].partitions[0].error_code) == "NONE"


def delete_topic(connection: Connection, topic: str) -> None:
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name=topic)], timeout_ms=10_000)
    assert code(connection.call(request, DeleteTopicsResponse).responses[0].error_code) == "NONE"


def commit_until_done(connection: Connection, group: Group, offset: int, metadata: str) -> None:
    await_coordinator(connection, group.name)
    assert commit(connection, group.name, group.topic, offset, partition=group.partition, metadata=metadata) == "NONE"
