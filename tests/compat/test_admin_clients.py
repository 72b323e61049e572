"""The admin classes of the Python clients: the main jobs end to end."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable

import pytest
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]  # the library has no types
from aiokafka.admin import NewTopic as AioNewTopic
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not in the library's __all__
    AdminClient,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from tests.support.batches import batch
from tests.support.process import wait_for
from tests.support.requests import metadata, produce, wait_for_topic
from tests.support.targets import Target
from tests.support.wire import Connection

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient  # type: ignore[import-untyped]  # the library has no types
    from kafka.admin import NewTopic as PythonNewTopic  # type: ignore[import-untyped]  # the library has no types

Unique = Callable[[str], str]


def gone(connection: Connection, topic: str) -> bool:
    return metadata(connection, topic).error_code == 3


@pytest.mark.client("librdkafka")
def test_librdkafkas_admin(target: Target, connection: Connection, unique: Unique) -> None:
    """Create, describe, grow, list offsets, delete records, delete."""
    admin, topic = AdminClient({"bootstrap.servers": target.bootstrap}), unique("topic")
    admin.create_topics([NewTopic(topic, 1, 1, config={"retention.ms": "1000000"})])[topic].result(20)
    wait_for_topic(connection, topic, 1)
    admin.create_partitions([NewPartitions(topic, 2)])[topic].result(20)
    wait_for_topic(connection, topic, 2)
    (future,) = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
    assert future.result(20)["retention.ms"].value == "1000000"
    produce(connection, topic, batch([b"a", b"b", b"c"]))
    place = TopicPartition(topic, 0)
    (latest,) = admin.list_offsets({place: OffsetSpec.latest()}).values()  # type: ignore[no-untyped-call]  # no types there
    assert latest.result(20).offset == 3
    (deleted,) = admin.delete_records([TopicPartition(topic, 0, 2)]).values()
    assert deleted.result(20).low_watermark == 2
    described = admin.describe_cluster().result(20)
    assert [(node.host, node.port) for node in described.nodes] == [(target.host, target.port)]
    admin.delete_topics([topic])[topic].result(20)
    wait_for(lambda: gone(connection, topic), "the topic is gone")


@pytest.mark.client("kafka-python")
def test_kafka_pythons_admin(target: Target, connection: Connection, unique: Unique) -> None:
    """Create, describe, list, delete."""
    topic = unique("topic")
    admin = KafkaAdminClient(bootstrap_servers=target.bootstrap)
    try:
        admin.create_topics([PythonNewTopic(topic, 2, 1)])
        wait_for_topic(connection, topic, 2)
        assert topic in admin.list_topics()
        (described,) = admin.describe_topics([topic])
        assert len(described["partitions"]) == 2
        admin.delete_topics([topic])
        wait_for(lambda: gone(connection, topic), "the topic is gone")
    finally:
        admin.close()


@pytest.mark.client("aiokafka")
def test_aiokafkas_admin(target: Target, connection: Connection, unique: Unique) -> None:
    """Create, list, delete."""
    topic = unique("topic")

    async def work() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=target.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([AioNewTopic(topic, 2, 1)])
            assert topic in await admin.list_topics()
            await admin.delete_topics([topic])
        finally:
            await admin.close()

    asyncio.run(work())
    wait_for(lambda: gone(connection, topic), "the topic is gone")
