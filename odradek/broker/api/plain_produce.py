"""The short way through Produce, for the request that nearly every producer sends: `odradek.wire.plain_produce`."""

from __future__ import annotations

from odradek.broker.replication.admission import Admission
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Partition
from odradek.metadata.topic_names import is_internal
from odradek.ports.network import Reply
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import KafkaError
from odradek.wire.plain_produce import read_plain, write_plain
from odradek.wire.records.header import TRANSACTIONAL_BIT, rewrite_base_offset_and_epoch

_ACKS_NONE = 0
_ACKS_LEADER = 1
_ACKS_ALL = -1


class PlainProduceApi:
    """Answers plain requests whose batch is appended and committed at once; `ProduceApi` answers all others."""

    def __init__(self, replicas: ReplicaManager, admission: Admission) -> None:
        self._replicas = replicas
        self._admission = admission
        self._image = replicas.image
        self._partitions: dict[tuple[str | bytes, int], Partition] = {}
        """What requests asked for since `_image` has been the metadata."""

    def answer(self, version: int, correlation_id: int, frame: memoryview, body_at: int) -> Reply | None:
        """The reply (see `Handler.plain`); None, with nothing changed, if the request has to go the long way."""
        request = read_plain(frame, body_at, version)
        if request is None or request.acks == _ACKS_NONE:
            return None
        topic, index, acks, records = request
        try:
            if self._replicas.image is not self._image:
                self._image = self._replicas.image
                self._partitions.clear()
            partition = self._partitions.get((topic, index))
            if partition is None:
                partition = self._partition(topic, index)
                if partition is None:
                    return None
            log = partition.log
            if log is None or not partition.is_leader:
                return None
            if acks != _ACKS_LEADER and (acks != _ACKS_ALL or not partition.is_alone):
                return None
            batch, header = self._admission.admit(records, log.config, version)
            if header.attributes & TRANSACTIONAL_BIT:
                return None
        except KafkaError:
            return None
        try:
            info = self._replicas.append(partition, batch, (header,), all_replicas=acks == _ACKS_ALL)
        except Exception:  # noqa: BLE001 - the long way meets it again, and tells the client
            rewrite_base_offset_and_epoch(records, 0, 0, header.leader_epoch)
            return None
        return [
            write_plain(
                correlation_id,
                topic,
                index,
                base_offset=info.first_offset,
                log_append_time_ms=info.log_append_time_ms,
                log_start_offset=info.log_start_offset,
            )
        ]

    def _partition(self, topic: str | bytes, index: int) -> Partition | None:
        """The replica of a topic for clients; None for a topic that is internal or unknown. Raises KafkaError."""
        name = self._replicas.topic_name(topic) if isinstance(topic, bytes) else topic
        if name is None or is_internal(name):
            return None
        partition = self._partitions[topic, index] = self._replicas.partition(TopicPartition(name, index))
        return partition
