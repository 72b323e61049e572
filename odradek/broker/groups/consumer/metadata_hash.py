"""The hash of the topics that a group reads, by which it notices that they changed (KIP-1101)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from odradek.broker.groups.consumer.xxh3 import xxh3_64
from odradek.metadata.image import ClusterImage, MetadataImage, TopicImage

_MAGIC = b"\0"


class TopicHashes:
    """Hashes of topics, each reckoned anew only when the topic has changed.

    As in Kafka, a broker that comes back with another rack is noticed when something about the topic changes.
    """

    def __init__(self, image: Callable[[], MetadataImage]) -> None:
        self._image = image
        self._known: dict[str, tuple[TopicImage, int]] = {}

    def group_hash(self, topics: Iterable[str]) -> int:
        """The hash of those topics that exist; 0 for none."""
        image = self._image()
        existing = [topic for name in sorted(topics) if (topic := image.topics.by_name.get(name)) is not None]
        if not existing:
            return 0
        return xxh3_64(b"".join(struct.pack("<q", self._topic_hash(topic, image.cluster)) for topic in existing))

    def forget(self, names: Iterable[str]) -> None:
        """Topics are gone."""
        for name in names:
            self._known.pop(name, None)

    def _topic_hash(self, topic: TopicImage, cluster: ClusterImage) -> int:
        known = self._known.get(topic.name)
        if known is not None and known[0] is topic:
            return known[1]
        value = topic_hash(topic, cluster)
        self._known[topic.name] = (topic, value)
        return value


def topic_hash(topic: TopicImage, cluster: ClusterImage) -> int:
    """The hash over id, name, and each partition's replicas' racks."""
    high, low = struct.unpack(">QQ", topic.id)
    parts = [_MAGIC, struct.pack("<QQ", high, low), _string(topic.name), struct.pack("<i", len(topic.partitions))]
    for index in range(len(topic.partitions)):
        parts.append(struct.pack("<i", index))
        for rack in _racks(topic, index, cluster):
            parts += (struct.pack("<i", len(rack.encode("utf-16-le")) // 2), _string(rack))
    return xxh3_64(b"".join(parts))


def _racks(topic: TopicImage, index: int, cluster: ClusterImage) -> list[str]:
    partition = topic.partitions.get(index)
    if partition is None:
        return []
    brokers = (cluster.brokers.get(replica) for replica in partition.replicas)
    return sorted(broker.rack for broker in brokers if broker is not None and broker.rack is not None)


def _string(text: str) -> bytes:
    """As the hash takes strings: UTF-16 units, then how many they are."""
    encoded = text.encode("utf-16-le", "surrogatepass")
    return encoded + struct.pack("<i", len(encoded) // 2)
