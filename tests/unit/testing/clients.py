"""What tests do with clients."""

from __future__ import annotations

import socket

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not in the library's __all__
    AdminClient,
    ConfigResource,
)

from odradek.testing import EmbeddedKafka

TIMEOUT_S = 20


def produce(bootstrap_servers: str, topic: str, *values: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "acks": "all"})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(TIMEOUT_S) == 0


def consume(bootstrap_servers: str, topic: str, count: int) -> list[str]:
    """As a member of a group, which is what needs a coordinator."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        messages = consumer.consume(count, TIMEOUT_S)
        assert [message.error() for message in messages] == [None] * len(messages)
        return [(message.value() or b"").decode() for message in messages]
    finally:
        consumer.close()


def consume_all(bootstrap_servers: str, topic: str = "t") -> list[bytes | None]:
    """All records of a topic's first partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "all", "enable.auto.commit": False})
    try:
        _low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), TIMEOUT_S)
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [message.value() for message in (consumer.consume(high, TIMEOUT_S) if high else [])]
    finally:
        consumer.close()


def admin(kafka: EmbeddedKafka) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka.bootstrap_servers})


def partitions(kafka: EmbeddedKafka) -> dict[str, int]:
    topics = admin(kafka).list_topics(timeout=TIMEOUT_S).topics
    return {name: len(topic.partitions) for name, topic in topics.items()}


def config_of(kafka: EmbeddedKafka, kind: str, name: str) -> dict[str, str | None]:
    resource = ConfigResource(kind, name)
    client = admin(kafka)
    entries = client.describe_configs([resource])[resource].result(TIMEOUT_S)
    return {key: entry.value for key, entry in entries.items()}


def is_reachable(bootstrap_servers: str) -> bool:
    host, _, port = bootstrap_servers.partition(":")
    try:
        socket.create_connection((host, int(port)), TIMEOUT_S).close()
    except ConnectionRefusedError:
        return False
    return True
