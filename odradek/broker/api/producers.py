"""DescribeProducers (61): what partitions know of their producers (KIP-664)."""

from __future__ import annotations

from odradek.broker.replication.manager import ReplicaManager
from odradek.metadata.topic_names import check_name
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)


class ProducersApi:
    """Answers from the producer state of the logs."""

    def __init__(self, replicas: ReplicaManager) -> None:
        self._replicas = replicas

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        return [
            erase(
                Handler(
                    DescribeProducersRequest,
                    self._describe_producers,
                    Operation.READ,
                    ResourceType.TOPIC,
                    _describe_failed,
                    differences=("Of a partition that is named twice the second mention is INVALID_REQUEST.",),
                )
            ),
        ]

    async def _describe_producers(
        self, context: RequestContext, request: DescribeProducersRequest
    ) -> DescribeProducersResponse:
        described: dict[TopicPartition, None] = {}
        slices = context.slices()
        return DescribeProducersResponse(
            topics=[
                TopicResponse(
                    name=topic.name,
                    partitions=[
                        self._producers_of(TopicPartition(topic.name, index), described)
                        async for index in slices.each(topic.partition_indexes)
                    ],
                )
                for topic in request.topics
            ]
        )

    def _producers_of(self, name: TopicPartition, described: dict[TopicPartition, None]) -> PartitionResponse:
        try:
            if name in described:
                # A small request must not make a response of any size out of one partition's many producers.
                raise KafkaError(ErrorCode.INVALID_REQUEST)
            described[name] = None
            check_name(name.topic)
            if name.topic not in self._replicas.image.topics.by_name:
                code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                raise KafkaError(code, code.message)
            log = self._replicas.partition(name).local_log()
        except KafkaError as error:
            return PartitionResponse(partition_index=name.partition, error_code=error.code, error_message=error.message)
        return PartitionResponse(
            partition_index=name.partition,
            active_producers=[
                ProducerState(
                    producer_id=producer.producer_id,
                    producer_epoch=producer.producer_epoch,
                    last_sequence=producer.last_sequence,
                    last_timestamp=producer.last_timestamp_ms,
                    coordinator_epoch=producer.coordinator_epoch,
                    current_txn_start_offset=producer.txn_first_offset,
                )
                for producer in log.producers.active_producers()
            ],
        )


def _describe_failed(request: DescribeProducersRequest, _version: int, error: KafkaError) -> DescribeProducersResponse:
    return DescribeProducersResponse(
        topics=[
            TopicResponse(
                name=topic.name,
                partitions=[
                    PartitionResponse(partition_index=index, error_code=error.code) for index in topic.partition_indexes
                ],
            )
            for topic in request.topics
        ]
    )
