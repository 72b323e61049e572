"""Replication quotas: how fast replicas that are moved may be copied (KIP-73)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from odradek.config.types import ResourceType
from odradek.metadata.image import ConfigsImage
from odradek.storage.topic_partition import TopicPartition

WINDOW_MS = 1_000.0
WINDOWS = 11
UNLIMITED = 2**63 - 1
ALL_REPLICAS = "*"
LEADER = "leader.replication.throttled.replicas"
FOLLOWER = "follower.replication.throttled.replicas"


class ReplicationThrottle:
    """One direction's rate, of the replicas that their topics' configuration names."""

    def __init__(
        self,
        direction: str,
        broker_id: int,
        configs: Callable[[], ConfigsImage],
        bytes_per_second: Callable[[], int] = lambda: UNLIMITED,
    ) -> None:
        """`direction` is LEADER or FOLLOWER: what leaders send counts separately from what followers take."""
        self._property = direction
        self._broker_id = broker_id
        self._configs = configs
        self._bytes_per_second = bytes_per_second
        self._known: ConfigsImage | None = None
        self._throttled: dict[str, frozenset[int] | None] = {}
        """By topic: its throttled partitions, None for all. Of the topics that were asked for."""
        self._samples: deque[list[float]] = deque()
        """[begin of a window, bytes in it], the latest last."""

    def is_throttled(self, partition: TopicPartition) -> bool:
        """Whether this broker's replica of the partition is under the quota."""
        if self._bytes_per_second() == UNLIMITED:
            return False
        configs = self._configs()
        if configs is not self._known:
            self._known = configs
            self._throttled.clear()
        topic = partition.topic
        if topic not in self._throttled:
            self._throttled[topic] = self._read(configs.properties(ResourceType.TOPIC, topic).get(self._property, ""))
        indexes = self._throttled[topic]
        return indexes is None or partition.partition in indexes

    def is_exceeded(self, now_ms: float) -> bool:
        """Whether more was copied lately than the quota allows."""
        quota = self._bytes_per_second()
        if quota == UNLIMITED or not self._samples:
            return False
        self._forget(now_ms)
        total = sum(size for _, size in self._samples)
        if not total:
            return False
        elapsed_ms = max(WINDOW_MS, now_ms - self._samples[0][0])
        return total * 1000 / elapsed_ms > quota

    def record(self, partition: TopicPartition, size: int, now_ms: float) -> None:
        """So many bytes of a partition were copied."""
        if not self.is_throttled(partition):
            return
        self._forget(now_ms)
        if not self._samples or now_ms - self._samples[-1][0] >= WINDOW_MS:
            self._samples.append([now_ms, 0])
        self._samples[-1][1] += size

    def _forget(self, now_ms: float) -> None:
        while self._samples and now_ms - self._samples[0][0] >= WINDOWS * WINDOW_MS:
            self._samples.popleft()

    def _read(self, text: str) -> frozenset[int] | None:
        if text.strip() == ALL_REPLICAS:
            return None
        pairs = (entry.strip().split(":") for entry in text.split(",") if ":" in entry)
        return frozenset(int(index) for index, broker in pairs if int(broker) == self._broker_id)
