"""WriteTxnMarkers (27): how a transaction ended, from its coordinator, or from an administrator (KIP-98, KIP-664)."""

from __future__ import annotations

from odradek.broker.coordinator.result import Producer
from odradek.broker.groups.service import GroupCoordinator
from odradek.broker.replication.manager import ReplicaManager
from odradek.metadata.topic_names import GROUP_METADATA_TOPIC
from odradek.ports import Promise, gather
from odradek.security.acl import Operation, ResourceType
from odradek.server.cluster import CLUSTER_NAME
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.storage.log_results import AppendOrigin
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.write_txn_markers import (
    WritableTxnMarker,
    WritableTxnMarkerPartitionResult,
    WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)
from odradek.wire.records.control import ControlType, EndTxnMarkerValue, build_end_txn_batch

_NOT_COORDINATING = (
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.NOT_COORDINATOR,
)
_Results = dict[int, dict[TopicPartition, ErrorCode]]


class TxnMarkersApi:
    """Appends markers to the partitions that this broker leads."""

    def __init__(self, replicas: ReplicaManager, groups: GroupCoordinator, timeout_ms: int) -> None:
        """`timeout_ms` is how long replication may take: `request.timeout.ms`."""
        self._replicas = replicas
        self._groups = groups
        self._timeout_ms = timeout_ms

    def handlers(self) -> list[AnyHandler]:
        """The declaration of this API."""
        return [
            erase(
                Handler(
                    WriteTxnMarkersRequest,
                    self._write,
                    Operation.CLUSTER_ACTION,
                    ResourceType.CLUSTER,
                    _failed,
                    (
                        "A marker that a partition refuses, for it has seen a later epoch of the producer, counts as "
                        "written for the coordinator; in Kafka that transaction is never completed.",
                    ),
                )
            )
        ]

    async def _write(
        self, context: RequestContext, request: WriteTxnMarkersRequest
    ) -> Promise[WriteTxnMarkersResponse]:
        if not (
            context.allows(Operation.ALTER, ResourceType.CLUSTER, CLUSTER_NAME)
            or context.allows(Operation.CLUSTER_ACTION, ResourceType.CLUSTER, CLUSTER_NAME)
        ):
            raise KafkaError(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
        results: _Results = {}
        slices = context.slices()
        writes = [
            self._write_one(marker, TopicPartition(topic.name, index), results)
            for marker in request.markers
            for topic in marker.topics
            async for index in slices.each(topic.partition_indexes)
        ]
        return gather(writes).then(lambda _: _response(results))

    def _write_one(self, marker: WritableTxnMarker, name: TopicPartition, results: _Results) -> Promise[None]:
        """Write one marker to one partition; its error goes into `results`, and the promise does not fail."""
        of_producer = results.setdefault(marker.producer_id, {})
        of_producer[name] = ErrorCode.NONE
        done: Promise[None] = Promise()

        def settle(written: Promise[None]) -> None:
            error = written.error
            if error is not None:
                of_producer[name] = error.code if isinstance(error, KafkaError) else ErrorCode.UNKNOWN_SERVER_ERROR
                if name.topic == GROUP_METADATA_TOPIC and of_producer[name] in _NOT_COORDINATING:
                    of_producer[name] = ErrorCode.NOT_LEADER_OR_FOLLOWER
            done.resolve(None)

        try:
            if name not in self._replicas.partitions:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            if name.topic == GROUP_METADATA_TOPIC:
                written = self._complete_offsets(marker, name)
            else:
                written = self._append(marker, name)
        except KafkaError as error:
            written = Promise.failed(error)
        written.on_done(settle)
        return done

    def _complete_offsets(self, marker: WritableTxnMarker, name: TopicPartition) -> Promise[None]:
        return self._groups.complete_transaction(
            name.partition,
            Producer(marker.producer_id, marker.producer_epoch),
            marker.coordinator_epoch,
            committed=marker.transaction_result,
            transaction_version=marker.transaction_version,
        )

    def _append(self, marker: WritableTxnMarker, name: TopicPartition) -> Promise[None]:
        partition = self._replicas.partition(name)
        kind = ControlType.COMMIT if marker.transaction_result else ControlType.ABORT
        batch = build_end_txn_batch(
            EndTxnMarkerValue(kind, marker.coordinator_epoch),
            base_offset=0,
            timestamp_ms=self._replicas.clock.now_ms(),
            producer_id=marker.producer_id,
            producer_epoch=marker.producer_epoch,
        )
        info = self._replicas.append(
            partition,
            memoryview(bytearray(batch)),
            all_replicas=True,
            origin=AppendOrigin.COORDINATOR,
            transaction_version=marker.transaction_version,
        )
        return self._replicas.when_replicated(name, info.last_offset, self._timeout_ms)


def _response(results: _Results) -> WriteTxnMarkersResponse:
    markers = []
    for producer_id, codes in results.items():
        topics: dict[str, WritableTxnMarkerTopicResult] = {}
        for name, code in codes.items():
            topic = topics.setdefault(name.topic, WritableTxnMarkerTopicResult(name=name.topic))
            topic.partitions.append(WritableTxnMarkerPartitionResult(partition_index=name.partition, error_code=code))
        markers.append(WritableTxnMarkerResult(producer_id=producer_id, topics=list(topics.values())))
    return WriteTxnMarkersResponse(markers=markers)


def _failed(request: WriteTxnMarkersRequest, _version: int, error: KafkaError) -> WriteTxnMarkersResponse:
    results: _Results = {}
    for marker in request.markers:
        of_producer = results.setdefault(marker.producer_id, {})
        for topic in marker.topics:
            of_producer.update((TopicPartition(topic.name, index), error.code) for index in topic.partition_indexes)
    return _response(results)
