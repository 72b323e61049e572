"""InitProducerId (22), AddPartitionsToTxn (24), AddOffsetsToTxn (25) and EndTxn (26) (KIP-98, KIP-360, KIP-890)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from odradek.broker.coordinator.result import NO_PRODUCER_ID, Producer
from odradek.broker.producer_ids import ProducerIds
from odradek.broker.transactions.metadata import NO_PRODUCER_EPOCH, TV_0, TV_2
from odradek.broker.transactions.service import TransactionCoordinator
from odradek.broker.transactions.shard import Outcome
from odradek.metadata.image import TopicsImage
from odradek.metadata.topic_names import GROUP_METADATA_TOPIC, is_internal
from odradek.ports import Promise, gather
from odradek.security.acl import Operation, ResourceType
from odradek.server.cluster import CLUSTER_NAME
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, AnyHandler, Handler, erase
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest, AddOffsetsToTxnResponse
from odradek.wire.messages.add_partitions_to_txn import (
    AddPartitionsToTxnPartitionResult,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
)
from odradek.wire.messages.end_txn import EndTxnRequest, EndTxnResponse
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

FIRST_FOR_BROKERS = 4
"""AddPartitionsToTxn from here on is what brokers ask for many producers at once."""
FIRST_WITH_EPOCH_BUMP = 5
"""EndTxn from here on raises the epoch, and tells the new one."""
_FIRST_INIT_WITH_FENCED = 4
_FIRST_WITH_FENCED = 2
"""Of the other three: versions before know INVALID_PRODUCER_EPOCH only."""


class TransactionsApi:
    """Checks what producers ask of their transactions, and hands it to the coordinator."""

    def __init__(
        self,
        transactions: TransactionCoordinator,
        producer_ids: ProducerIds,
        topics: Callable[[], TopicsImage],
        group_partition: Callable[[str], int],
    ) -> None:
        """`group_partition` tells in which partition of `__consumer_offsets` a group is."""
        self._transactions = transactions
        self._producer_ids = producer_ids
        self._topics = topics
        self._group_partition = group_partition

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        transactional_id = ResourceType.TRANSACTIONAL_ID
        return [
            erase(
                Handler(
                    InitProducerIdRequest,
                    self._init_producer_id,
                    Operation.WRITE,
                    transactional_id,
                    _init_failed,
                    differences=(
                        "A request that comes again with the last epoch of a producer id is answered as before, and "
                        "one with a foreign epoch PRODUCER_FENCED, where Kafka answers UNKNOWN_SERVER_ERROR.",
                    ),
                )
            ),
            erase(
                Handler(
                    AddPartitionsToTxnRequest,
                    self._add_partitions,
                    Operation.WRITE,
                    transactional_id,
                    _add_failed,
                    ("A request without transactions is answered from version 4 on, too; Kafka does not answer it.",),
                    max_objects=MAX_DECIDED_OBJECTS,
                )
            ),
            erase(
                Handler(AddOffsetsToTxnRequest, self._add_offsets, Operation.WRITE, transactional_id, _offsets_failed)
            ),
            erase(Handler(EndTxnRequest, self._end, Operation.WRITE, transactional_id, _end_failed)),
        ]

    def _init_producer_id(
        self, context: RequestContext, request: InitProducerIdRequest
    ) -> Promise[InitProducerIdResponse]:
        transactional_id = request.transactional_id
        if transactional_id is not None:
            _check_allowed(context, transactional_id)
        elif not context.allows(Operation.IDEMPOTENT_WRITE, ResourceType.CLUSTER, CLUSTER_NAME):
            raise KafkaError(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
        if (request.producer_id == NO_PRODUCER_ID) != (request.producer_epoch == NO_PRODUCER_EPOCH):
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        if transactional_id is None:
            return self._producer_ids.allocate().then(
                lambda producer_id: InitProducerIdResponse(producer_id=producer_id, producer_epoch=0)
            )
        _check_id(transactional_id)
        is_new = request.producer_id == NO_PRODUCER_ID
        expected = None if is_new else Producer(request.producer_id, request.producer_epoch)
        outcome = self._transactions.init_producer_id(transactional_id, request.transaction_timeout_ms, expected)
        return outcome.then(
            lambda outcome: InitProducerIdResponse(
                error_code=outcome.error_code,
                producer_id=outcome.producer.producer_id,
                producer_epoch=outcome.producer.producer_epoch,
            )
        )

    async def _add_partitions(
        self, context: RequestContext, request: AddPartitionsToTxnRequest
    ) -> Promise[AddPartitionsToTxnResponse]:
        if context.api_version < FIRST_FOR_BROKERS:
            transaction = AddPartitionsToTxnTransaction(
                transactional_id=request.v3_and_below_transactional_id,
                producer_id=request.v3_and_below_producer_id,
                producer_epoch=request.v3_and_below_producer_epoch,
                topics=request.v3_and_below_topics,
            )
            return self._add(context, transaction).then(
                lambda results: AddPartitionsToTxnResponse(results_by_topic_v3_and_below=results)
            )
        if not context.allows(Operation.CLUSTER_ACTION, ResourceType.CLUSTER, CLUSTER_NAME):
            raise KafkaError(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)

        def named(transaction: AddPartitionsToTxnTransaction) -> Promise[AddPartitionsToTxnResult]:
            return self._add(context, transaction).then(
                lambda results: AddPartitionsToTxnResult(
                    transactional_id=transaction.transactional_id, topic_results=results
                )
            )

        all_results = gather([named(transaction) async for transaction in context.slices().each(request.transactions)])
        return all_results.then(lambda results: AddPartitionsToTxnResponse(results_by_transaction=results))

    def _add(
        self, context: RequestContext, transaction: AddPartitionsToTxnTransaction
    ) -> Promise[list[AddPartitionsToTxnTopicResult]]:
        """Add or verify the partitions of one transaction; errors are told for each of them."""
        topics, version = transaction.topics, context.api_version
        try:
            if version < FIRST_FOR_BROKERS:
                _check_allowed(context, transaction.transactional_id)
            partitions = [TopicPartition(topic.name, index) for topic in topics for index in topic.partitions]
            refused = self._refused(context, partitions)
            if refused:
                return Promise.of(
                    _by_topic({name: refused.get(name, ErrorCode.OPERATION_NOT_ATTEMPTED) for name in partitions})
                )
            _check_id(transaction.transactional_id)
        except KafkaError as error:
            return Promise.of(_failed_topics(topics, error.code))
        producer = Producer(transaction.producer_id, transaction.producer_epoch)
        if transaction.verify_only:
            verified = self._transactions.verify_partitions(transaction.transactional_id, producer, partitions)
            return _answered(verified.then(_by_topic), lambda code: _failed_topics(topics, code))
        added = self._transactions.add_partitions(
            transaction.transactional_id, producer, partitions, TV_2 if version >= FIRST_FOR_BROKERS else TV_0
        )
        return _answered(
            added.then(lambda _: _failed_topics(topics, ErrorCode.NONE)),
            lambda code: _failed_topics(topics, _as_known(code, version, _FIRST_WITH_FENCED)),
        )

    def _refused(
        self, context: RequestContext, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, ErrorCode]:
        by_name = self._topics().by_name
        refused = {}
        for name in partitions:
            topic = by_name.get(name.topic)
            if context.api_version < FIRST_FOR_BROKERS and (
                is_internal(name.topic) or not context.allows(Operation.WRITE, ResourceType.TOPIC, name.topic)
            ):
                refused[name] = ErrorCode.TOPIC_AUTHORIZATION_FAILED
            elif topic is None or name.partition not in topic.partitions:
                refused[name] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return refused

    def _add_offsets(
        self, context: RequestContext, request: AddOffsetsToTxnRequest
    ) -> Promise[AddOffsetsToTxnResponse]:
        _check_allowed(context, request.transactional_id)
        if not context.allows(Operation.READ, ResourceType.GROUP, request.group_id):
            raise KafkaError(ErrorCode.GROUP_AUTHORIZATION_FAILED)
        _check_id(request.transactional_id)
        partition = TopicPartition(GROUP_METADATA_TOPIC, self._group_partition(request.group_id))
        producer = Producer(request.producer_id, request.producer_epoch)
        added = self._transactions.add_partitions(request.transactional_id, producer, [partition], TV_0)
        return added.then(lambda _: AddOffsetsToTxnResponse())

    def _end(self, context: RequestContext, request: EndTxnRequest) -> Promise[EndTxnResponse]:
        _check_allowed(context, request.transactional_id)
        _check_id(request.transactional_id)
        ended = self._transactions.end_transaction(
            request.transactional_id,
            Producer(request.producer_id, request.producer_epoch),
            is_commit=request.committed,
            client_version=TV_2 if context.api_version >= FIRST_WITH_EPOCH_BUMP else TV_0,
        )

        def answer(outcome: Outcome) -> EndTxnResponse:
            producer = outcome.producer
            return EndTxnResponse(producer_id=producer.producer_id, producer_epoch=producer.producer_epoch)

        return ended.then(answer)


def _check_allowed(context: RequestContext, transactional_id: str) -> None:
    if not context.allows(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, transactional_id):
        raise KafkaError(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)


def _check_id(transactional_id: str) -> None:
    if not transactional_id:
        raise KafkaError(ErrorCode.INVALID_REQUEST)


def _as_known(code: ErrorCode, version: int, first_with_fenced: int) -> ErrorCode:
    """The error as clients of this version know it."""
    is_unknown = code is ErrorCode.PRODUCER_FENCED and version < first_with_fenced
    return ErrorCode.INVALID_PRODUCER_EPOCH if is_unknown else code


def _answered(
    promise: Promise[list[AddPartitionsToTxnTopicResult]],
    failed: Callable[[ErrorCode], list[AddPartitionsToTxnTopicResult]],
) -> Promise[list[AddPartitionsToTxnTopicResult]]:
    """The promise's value, or what `failed` makes of the KafkaError that it fails with."""
    result: Promise[list[AddPartitionsToTxnTopicResult]] = Promise()

    def settle(source: Promise[list[AddPartitionsToTxnTopicResult]]) -> None:
        if isinstance(source.error, KafkaError):
            result.resolve(failed(source.error.code))
        elif source.error is not None:
            result.reject(source.error)
        else:
            result.resolve(source.result())

    promise.on_done(settle)
    return result


def _by_topic(codes: Mapping[TopicPartition, ErrorCode]) -> list[AddPartitionsToTxnTopicResult]:
    topics: dict[str, AddPartitionsToTxnTopicResult] = {}
    for name, code in codes.items():
        topic = topics.setdefault(name.topic, AddPartitionsToTxnTopicResult(name=name.topic))
        topic.results_by_partition.append(
            AddPartitionsToTxnPartitionResult(partition_index=name.partition, partition_error_code=code)
        )
    return list(topics.values())


def _failed_topics(topics: Sequence[AddPartitionsToTxnTopic], code: ErrorCode) -> list[AddPartitionsToTxnTopicResult]:
    return [
        AddPartitionsToTxnTopicResult(
            name=topic.name,
            results_by_partition=[
                AddPartitionsToTxnPartitionResult(partition_index=index, partition_error_code=code)
                for index in topic.partitions
            ],
        )
        for topic in topics
    ]


def _init_failed(_request: InitProducerIdRequest, version: int, error: KafkaError) -> InitProducerIdResponse:
    code = _as_known(error.code, version, _FIRST_INIT_WITH_FENCED)
    return InitProducerIdResponse(error_code=code, producer_id=NO_PRODUCER_ID, producer_epoch=NO_PRODUCER_EPOCH)


def _add_failed(request: AddPartitionsToTxnRequest, version: int, error: KafkaError) -> AddPartitionsToTxnResponse:
    if version >= FIRST_FOR_BROKERS:
        return AddPartitionsToTxnResponse(error_code=error.code)
    return AddPartitionsToTxnResponse(
        results_by_topic_v3_and_below=_failed_topics(request.v3_and_below_topics, error.code)
    )


def _offsets_failed(_request: AddOffsetsToTxnRequest, version: int, error: KafkaError) -> AddOffsetsToTxnResponse:
    return AddOffsetsToTxnResponse(error_code=_as_known(error.code, version, _FIRST_WITH_FENCED))


def _end_failed(_request: EndTxnRequest, version: int, error: KafkaError) -> EndTxnResponse:
    return EndTxnResponse(error_code=_as_known(error.code, version, _FIRST_WITH_FENCED))
