"""In which of `log.dirs` a new log goes."""

from __future__ import annotations

from collections.abc import Mapping

from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError

MAX_PREFERRED = 16_384
"""So many partitions that are not here yet may have a directory asked for; the oldest wish is forgotten first."""


class DirectoryChoice:
    """Remembers what was asked for (KIP-113), and which directories get no new partitions (KIP-1066)."""

    def __init__(self, cordoned: tuple[str, ...]) -> None:
        self.cordoned = cordoned
        """Those of `log.dirs` that `cordoned.log.dirs` names."""
        self._preferred: dict[TopicPartition, str] = {}

    def prefer(self, topic_partition: TopicPartition, log_dir: str) -> None:
        """The partition's next log belongs into this directory."""
        self._preferred.pop(topic_partition, None)
        self._preferred[topic_partition] = log_dir
        if len(self._preferred) > MAX_PREFERRED:
            del self._preferred[next(iter(self._preferred))]

    def forget(self, topic_partition: TopicPartition) -> None:
        """Its next log goes wherever it should by itself."""
        self._preferred.pop(topic_partition, None)

    def choose(self, topic_partition: TopicPartition, counts: Mapping[str, int], assigned: str | None) -> str:
        """The directory for a partition's new log; what was asked for it is done then.

        `counts` has the number of logs in each online directory, `assigned` the one that the controller noted. Raises
        KafkaError KAFKA_STORAGE_ERROR if none is online.
        """
        preferred = self._preferred.pop(topic_partition, None)
        for log_dir in (preferred, assigned):
            if log_dir is not None and log_dir in counts:
                return log_dir
        if not counts:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "all log directories are offline")
        allowed = [log_dir for log_dir in counts if log_dir not in self.cordoned]
        return min(allowed, key=lambda log_dir: counts[log_dir]) if allowed else next(iter(counts))
