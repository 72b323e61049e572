"""What is done to topics without a client, on several nodes."""

from __future__ import annotations

import pytest

from odradek.control.changes import NewRecord, append, create_topic, delete_topic
from odradek.testing import EmbeddedKafka, ErrorCode, KafkaError
from odradek.testing.cluster import Cluster

LARGE = 100
"""Partitions whose files the executor makes."""


async def known(cluster: Cluster) -> list[list[str]]:
    """The topics that each node knows."""
    return [list(node.node.quorum.loader.image.topics.by_name) for node in cluster.nodes.values()]


async def create_and_delete(cluster: Cluster) -> list[list[list[str]]]:
    await create_topic(cluster, "t", 1, 3, {})
    created = await known(cluster)
    await delete_topic(cluster, "t")
    return [created, await known(cluster)]


def test_all_nodes_know_at_once_what_has_come_and_gone() -> None:
    with EmbeddedKafka(3) as kafka:
        assert kafka._running().call(create_and_delete).result() == [[["t"]] * 3, [[]] * 3]


async def create_large(cluster: Cluster) -> list[int]:
    """How many partitions each node has once a topic is made."""
    await create_topic(cluster, "t", LARGE, 2, {})
    return [
        sum(partition.log is not None for partition in node.node.broker.replicas.partitions.values())
        for node in cluster.nodes.values()
    ]


def test_all_nodes_have_all_of_a_large_topic_at_once() -> None:
    with EmbeddedKafka(2) as kafka:
        assert kafka._running().call(create_large).result() == [LARGE] * 2


def test_records_without_a_key_go_where_there_are_least() -> None:
    def new(partition: int | None = None) -> NewRecord:
        return NewRecord(None, b"v", (), partition, None)

    with EmbeddedKafka(topics={"t": 3}) as kafka:
        first = kafka._running().call(append, "t", [new(1), new(1), new(), new(), new(), new()]).result()
        assert [(each.partition, each.offset) for each in first] == [(1, 0), (1, 1), (0, 0), (2, 0), (0, 1), (2, 1)]
        with pytest.raises(KafkaError, match="no partition 3, but 3 partitions") as caught:
            kafka._running().call(append, "t", [new(), new(3)]).result()
        assert caught.value.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert len(kafka.topic("t").records()) == 6
