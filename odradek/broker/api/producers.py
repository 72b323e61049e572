"""InitProducerId (22) and DescribeProducers (61): idempotent producers (KIP-98, KIP-360, KIP-664)."""

from __future__ import annotations

from odradek.broker.producer_ids import ProducerIds
from odradek.broker.replication.manager import ReplicaManager
from odradek.ports import Promise
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
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

NO_PRODUCER_ID = -1
NO_PRODUCER_EPOCH = -1


class ProducersApi:
    """Answers what concerns producers' identities."""

    def __init__(self, replicas: ReplicaManager, producer_ids: ProducerIds) -> None:
        self._replicas = replicas
        self._producer_ids = producer_ids

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        return [
            erase(
                Handler(
                    InitProducerIdRequest,
                    self._init_producer_id,
                    Operation.IDEMPOTENT_WRITE,
                    ResourceType.CLUSTER,
                    on_error=_init_failed,
                    differences=("A transactional id is answered with UNSUPPORTED_VERSION: no transactions yet.",),
                )
            ),
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

    def _init_producer_id(
        self, _context: RequestContext, request: InitProducerIdRequest
    ) -> Promise[InitProducerIdResponse]:
        if (request.producer_id == NO_PRODUCER_ID) != (request.producer_epoch == NO_PRODUCER_EPOCH):
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        if request.transactional_id == "":
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        if request.transactional_id is not None:
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)
        return self._producer_ids.allocate().then(
            lambda producer_id: InitProducerIdResponse(producer_id=producer_id, producer_epoch=0)
        )

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
            log = self._replicas.partition(name).leader_log()
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


def _init_failed(_request: InitProducerIdRequest, _version: int, error: KafkaError) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=error.code, producer_id=NO_PRODUCER_ID, producer_epoch=NO_PRODUCER_EPOCH)


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
