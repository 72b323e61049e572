"""TxnOffsetCommit (28): the offsets that a transaction has read to; they count if it is committed (KIP-98, KIP-447)."""

from __future__ import annotations

from collections.abc import Callable

from odradek.broker.coordinator.errors import client_error
from odradek.broker.coordinator.result import NO_PRODUCER_ID, Producer
from odradek.broker.groups.service import GroupCoordinator, refused_commit_in_transaction
from odradek.broker.transactions.verification import TransactionVerifier, support_of_offset_commit
from odradek.metadata.image import TopicImage, TopicsImage
from odradek.metadata.topic_names import GROUP_METADATA_TOPIC
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, AnyHandler, Handler, erase
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)

FIRST_WITH_TOPIC_IDS = 6
FIRST_WITH_LOADING = 2
"""Versions before know COORDINATOR_NOT_AVAILABLE only."""
NO_SEQUENCE = -1


class TxnOffsetsApi:
    """Sorts out unknown and forbidden topics, verifies the transaction, and hands the rest to the group coordinator."""

    def __init__(
        self, groups: GroupCoordinator, verifier: TransactionVerifier, topics: Callable[[], TopicsImage]
    ) -> None:
        self._groups = groups
        self._verifier = verifier
        self._topics = topics

    def handlers(self) -> list[AnyHandler]:
        """The declaration of this API."""
        return [
            erase(
                Handler(
                    TxnOffsetCommitRequest,
                    self._commit,
                    Operation.WRITE,
                    ResourceType.TRANSACTIONAL_ID,
                    _failed,
                    max_objects=MAX_DECIDED_OBJECTS,
                )
            )
        ]

    async def _commit(self, context: RequestContext, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse:
        if not context.allows(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, request.transactional_id):
            raise KafkaError(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
        if not context.allows(Operation.READ, ResourceType.GROUP, request.group_id):
            raise KafkaError(ErrorCode.GROUP_AUTHORIZATION_FAILED)
        refused: list[TxnOffsetCommitResponseTopic] = []
        accepted = []
        for topic in request.topics:
            image, code = self._find(context, topic)
            indexes = () if image is None else image.partitions
            known = [entry for entry in topic.partitions if entry.partition_index in indexes]
            unknown = [entry.partition_index for entry in topic.partitions if entry.partition_index not in indexes]
            if unknown:
                refused.append(_refused(topic, unknown, code))
            if image is not None and known:
                accepted.append(TxnOffsetCommitRequestTopic(name=image.name, topic_id=image.id, partitions=known))
        if not accepted:
            return TxnOffsetCommitResponse(topics=refused)
        request.topics = accepted
        response = await self._commit_known(context, request)
        return TxnOffsetCommitResponse(topics=_merged(refused, response.topics, context.api_version))

    def _find(self, context: RequestContext, topic: TxnOffsetCommitRequestTopic) -> tuple[TopicImage | None, ErrorCode]:
        """The topic if it can be committed to, and the error of partitions that it does not have."""
        topics = self._topics()
        by_id = context.api_version >= FIRST_WITH_TOPIC_IDS
        image = topics.by_id.get(topic.topic_id) if by_id else topics.by_name.get(topic.name)
        if by_id and image is None:
            return None, ErrorCode.UNKNOWN_TOPIC_ID
        if not context.allows(Operation.READ, ResourceType.TOPIC, topic.name if image is None else image.name):
            return None, ErrorCode.TOPIC_AUTHORIZATION_FAILED
        return image, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    async def _commit_known(self, context: RequestContext, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse:
        version = context.api_version
        if not request.group_id:
            return refused_commit_in_transaction(request, ErrorCode.INVALID_GROUP_ID)
        if request.producer_id <= NO_PRODUCER_ID:
            # Its records would not belong to any transaction.
            return refused_commit_in_transaction(request, ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        partition = TopicPartition(GROUP_METADATA_TOPIC, self._groups.partition_for(request.group_id))
        producer = Producer(request.producer_id, request.producer_epoch)
        verified = await self._verifier.verify(
            request.transactional_id, producer, {partition: NO_SEQUENCE}, support_of_offset_commit(version)
        )
        error = verified.errors.get(partition)
        if error is None:
            producer = producer._replace(verification=verified.verifications.get(partition))
            response = await self._groups.commit_offsets_in_transaction(request, version, producer)
        else:
            response = refused_commit_in_transaction(request, client_error(KafkaError(error)).code)
        return response


def _refused(topic: TxnOffsetCommitRequestTopic, indexes: list[int], code: ErrorCode) -> TxnOffsetCommitResponseTopic:
    return TxnOffsetCommitResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        partitions=[TxnOffsetCommitResponsePartition(partition_index=index, error_code=code) for index in indexes],
    )


def _merged(
    first: list[TxnOffsetCommitResponseTopic], rest: list[TxnOffsetCommitResponseTopic], version: int
) -> list[TxnOffsetCommitResponseTopic]:
    """One answer per topic, the partitions of `first` ahead, in errors that this version knows."""
    by_id = version >= FIRST_WITH_TOPIC_IDS
    topics: dict[str | bytes, TxnOffsetCommitResponseTopic] = {}
    for topic in (*first, *rest):
        key = topic.topic_id if by_id else topic.name
        merged = topics.setdefault(key, TxnOffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id))
        merged.partitions += topic.partitions
    if version < FIRST_WITH_LOADING:
        for topic in topics.values():
            for partition in topic.partitions:
                if partition.error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
                    partition.error_code = ErrorCode.COORDINATOR_NOT_AVAILABLE
    return list(topics.values())


def _failed(request: TxnOffsetCommitRequest, _version: int, error: KafkaError) -> TxnOffsetCommitResponse:
    return refused_commit_in_transaction(request, error.code)
