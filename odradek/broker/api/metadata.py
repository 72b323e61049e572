"""Metadata (3), DescribeTopicPartitions (75) and DescribeCluster (60): who leads what, and where."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.topic_creation import TopicCreation
from odradek.metadata.image import BrokerRegistration, MetadataImage, PartitionImage, TopicImage
from odradek.metadata.topic_names import is_internal, name_fault
from odradek.ports import Slices
from odradek.security.acl import Operation, ResourceType
from odradek.server.cluster import CLUSTER_NAME, EndpointType, check_endpoint_type, cluster_description
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)
from odradek.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsRequestCursor,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponseCursor,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)
from odradek.wire.messages.metadata import (
    MetadataRequest,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from odradek.wire.uuids import ZERO_UUID

NO_NODE = -1
FIRST_WITHOUT_ALL_REPLICAS = 1
FIRST_WITH_LISTENER_ERROR = 6
FIRST_WITH_TOPIC_IDS = 12
FIRST_WITH_OPERATIONS = 8


class MetadataOptions(NamedTuple):
    """`auto.create.topics.enable` and `max.request.partition.size.limit` (partitions in a described page)."""

    cluster_id: str
    auto_create_topics: bool
    max_partitions_described: int


class MetadataApi:
    """Answers from the metadata image, for the listener that was asked."""

    def __init__(self, replicas: ReplicaManager, topics: TopicCreation, options: MetadataOptions) -> None:
        self._replicas = replicas
        self._topics = topics
        self._options = options

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        return [
            erase(Handler(MetadataRequest, self._metadata, Operation.DESCRIBE, ResourceType.TOPIC, _metadata_failed)),
            erase(
                Handler(
                    DescribeTopicPartitionsRequest,
                    self._describe_partitions,
                    Operation.DESCRIBE,
                    ResourceType.TOPIC,
                    _describe_partitions_failed,
                )
            ),
            erase(Handler(DescribeClusterRequest, self._describe_cluster, Operation.DESCRIBE, ResourceType.CLUSTER)),
        ]

    async def _metadata(self, context: RequestContext, request: MetadataRequest) -> MetadataResponse:
        version = context.api_version
        view = _View(self._replicas.image, context.listener)
        response = MetadataResponse(
            brokers=[
                MetadataResponseBroker(node_id=broker.id, host=host, port=port, rack=broker.rack)
                for broker, host, port in view.alive()
            ],
            cluster_id=self._options.cluster_id,
            controller_id=view.some_broker_id(),
        )
        response.topics = await self._metadata_topics(context, request, view)
        if request.include_cluster_authorized_operations:
            response.cluster_authorized_operations = context.authorized_operations(ResourceType.CLUSTER, CLUSTER_NAME)
        if version >= FIRST_WITH_OPERATIONS and request.include_topic_authorized_operations:
            async for topic in context.slices().each(response.topics):
                if topic.name is not None:
                    topic.topic_authorized_operations = context.authorized_operations(ResourceType.TOPIC, topic.name)
        return response

    async def _metadata_topics(
        self, context: RequestContext, request: MetadataRequest, view: _View
    ) -> list[MetadataResponseTopic]:
        version = context.api_version
        slices = context.slices()
        if request.topics is None or (version == 0 and not request.topics):
            every = view.image.topics.by_name.values()
            return [await view.topic(topic, version, slices) async for topic in slices.each(every)]
        if version < FIRST_WITH_TOPIC_IDS and any(
            topic.name is None or topic.topic_id != ZERO_UUID for topic in request.topics
        ):
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        answers = []
        missing: dict[str, None] = {}
        ids = dict.fromkeys(topic.topic_id for topic in request.topics if topic.topic_id != ZERO_UUID)
        if ids:
            async for topic_id in slices.each(ids):
                found = view.image.topics.by_id.get(topic_id)
                answers.append(
                    await view.topic(found, version, slices)
                    if found is not None
                    else MetadataResponseTopic(error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None, topic_id=topic_id)
                )
            return answers
        async for name in slices.each(dict.fromkeys(topic.name or "" for topic in request.topics)):
            found = view.image.topics.by_name.get(name)
            if found is not None:
                answers.append(await view.topic(found, version, slices))
                continue
            invalid = name_fault(name) is not None
            if not invalid:
                missing[name] = None
            answers.append(
                MetadataResponseTopic(
                    error_code=ErrorCode.INVALID_TOPIC_EXCEPTION if invalid else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                    name=name,
                    is_internal=is_internal(name),
                )
            )
        if missing and self._options.auto_create_topics and request.allow_auto_topic_creation:
            self._topics.create(missing, context)
        return answers

    async def _describe_partitions(
        self, context: RequestContext, request: DescribeTopicPartitionsRequest
    ) -> DescribeTopicPartitionsResponse:
        view = _View(self._replicas.image, context.listener)
        cursor = request.cursor
        names: Iterable[str] = (topic.name for topic in request.topics) if request.topics else view.image.topics.by_name
        first_name = cursor.topic_name if cursor is not None else ""
        wanted = sorted({name for name in names if name >= first_name})
        if cursor is not None:
            _check_cursor(cursor, wanted, explicit=bool(request.topics))
        remaining = max(1, min(self._options.max_partitions_described, request.response_partition_limit))
        response = DescribeTopicPartitionsResponse()
        slices = context.slices()
        async for name in slices.each(wanted):
            if remaining == 0:
                response.next_cursor = DescribeTopicPartitionsResponseCursor(topic_name=name, partition_index=0)
                break
            start = cursor.partition_index if cursor is not None and name == first_name else 0
            topic = view.image.topics.by_name.get(name)
            if topic is None:
                if request.topics:
                    response.topics.append(_unknown_described(name))
                continue
            described = await view.described_topic(topic, start, remaining, slices)
            remaining -= len(described.partitions)
            response.topics.append(described)
            next_index = start + len(described.partitions)
            if next_index < len(topic.partitions):
                response.next_cursor = DescribeTopicPartitionsResponseCursor(
                    topic_name=name, partition_index=next_index
                )
                break
        async for described in slices.each(response.topics):
            described.topic_authorized_operations = context.authorized_operations(
                ResourceType.TOPIC, described.name or ""
            )
        return response

    def _describe_cluster(self, context: RequestContext, request: DescribeClusterRequest) -> DescribeClusterResponse:
        check_endpoint_type(context, request, EndpointType.BROKER)
        view = _View(self._replicas.image, context.listener)
        brokers = [
            DescribeClusterBroker(broker_id=broker.id, host=host, port=port, rack=broker.rack, is_fenced=broker.fenced)
            for broker, host, port in view.reachable(include_fenced=request.include_fenced_brokers)
        ]
        cluster_id, controller_id = self._options.cluster_id, view.some_broker_id()
        return cluster_description(context, request, EndpointType.BROKER, cluster_id, controller_id, brokers)


class _View:
    """The image as seen from one listener."""

    def __init__(self, image: MetadataImage, listener: str) -> None:
        self.image = image
        self._listener = listener

    def alive(self) -> Iterable[tuple[BrokerRegistration, str, int]]:
        """The brokers that a client of this listener can use, with host and port."""
        return self.reachable(include_fenced=False)

    def reachable(self, *, include_fenced: bool) -> Iterable[tuple[BrokerRegistration, str, int]]:
        """The brokers that have this listener."""
        for broker in self.image.cluster.brokers.values():
            endpoint = broker.endpoints.get(self._listener)
            if endpoint is not None and (include_fenced or not broker.fenced):
                yield broker, endpoint.host, endpoint.port

    def some_broker_id(self) -> int:
        """A broker that forwards to the controller, which clients do not reach themselves; -1 if there is none."""
        return next((broker.id for broker, _host, _port in self.alive()), NO_NODE)

    async def topic(self, topic: TopicImage, version: int, slices: Slices) -> MetadataResponseTopic:
        """One topic of a Metadata response."""
        return MetadataResponseTopic(
            name=topic.name,
            topic_id=topic.id,
            is_internal=is_internal(topic.name),
            partitions=[
                self._partition(index, image, version)
                async for index, image in slices.each(sorted(topic.partitions.items()))
            ],
        )

    async def described_topic(
        self, topic: TopicImage, start: int, limit: int, slices: Slices
    ) -> DescribeTopicPartitionsResponseTopic:
        """At most `limit` partitions of a topic, from index `start` on."""
        described = DescribeTopicPartitionsResponseTopic(
            name=topic.name, topic_id=topic.id, is_internal=is_internal(topic.name)
        )
        async for index in slices.each(range(start, min(start + limit, len(topic.partitions)))):
            image = topic.partitions[index]
            described.partitions.append(
                DescribeTopicPartitionsResponsePartition(
                    partition_index=index,
                    leader_id=image.leader if self._is_alive(image.leader) else NO_NODE,
                    leader_epoch=image.leader_epoch,
                    replica_nodes=list(image.replicas),
                    isr_nodes=list(image.isr),
                    eligible_leader_replicas=list(image.elr),
                    last_known_elr=list(image.last_known_elr),
                    offline_replicas=self._offline(image),
                )
            )
        return described

    def _partition(self, index: int, image: PartitionImage, version: int) -> MetadataResponsePartition:
        partition = MetadataResponsePartition(
            partition_index=index,
            leader_id=image.leader,
            leader_epoch=image.leader_epoch,
            replica_nodes=list(image.replicas),
            isr_nodes=list(image.isr),
            offline_replicas=self._offline(image),
        )
        if version < FIRST_WITHOUT_ALL_REPLICAS:
            partition.replica_nodes = [node for node in image.replicas if self._is_alive(node)]
            partition.isr_nodes = [node for node in image.isr if self._is_alive(node)]
            if len(partition.replica_nodes) < len(image.replicas) or len(partition.isr_nodes) < len(image.isr):
                partition.error_code = ErrorCode.REPLICA_NOT_AVAILABLE
        if not self._is_alive(image.leader):
            partition.leader_id = NO_NODE
            listener_missing = image.leader in self.image.cluster.brokers and version >= FIRST_WITH_LISTENER_ERROR
            partition.error_code = ErrorCode.LISTENER_NOT_FOUND if listener_missing else ErrorCode.LEADER_NOT_AVAILABLE
        return partition

    def _is_alive(self, node: int) -> bool:
        broker = self.image.cluster.brokers.get(node)
        return broker is not None and not broker.fenced and self._listener in broker.endpoints

    def _offline(self, image: PartitionImage) -> list[int]:
        """The replicas on brokers that are away, or in directories that are."""
        brokers = self.image.cluster.brokers
        return [
            node
            for node in image.replicas
            if not self._is_alive(node) or not brokers[node].is_online(image.directory(node))
        ]


def _check_cursor(cursor: DescribeTopicPartitionsRequestCursor, wanted: list[str], *, explicit: bool) -> None:
    if explicit and cursor.topic_name not in wanted:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"DescribeTopicPartitionsRequest topic list should contain the cursor topic: {cursor.topic_name}",
        )
    if cursor.partition_index < 0:
        raise KafkaError(ErrorCode.INVALID_REQUEST)


def _unknown_described(name: str) -> DescribeTopicPartitionsResponseTopic:
    invalid = name_fault(name) is not None
    return DescribeTopicPartitionsResponseTopic(
        error_code=ErrorCode.INVALID_TOPIC_EXCEPTION if invalid else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        name=name,
        is_internal=is_internal(name),
    )


def _metadata_failed(request: MetadataRequest, _version: int, error: KafkaError) -> MetadataResponse:
    """The error goes to every topic that was named, since most versions have no other place for it."""
    return MetadataResponse(
        error_code=error.code,
        topics=[
            MetadataResponseTopic(error_code=error.code, name=topic.name or "", topic_id=topic.topic_id)
            for topic in request.topics or ()
        ],
    )


def _describe_partitions_failed(
    request: DescribeTopicPartitionsRequest, _version: int, error: KafkaError
) -> DescribeTopicPartitionsResponse:
    return DescribeTopicPartitionsResponse(
        topics=[
            DescribeTopicPartitionsResponseTopic(error_code=error.code, name=topic.name) for topic in request.topics
        ]
    )
