"""FindCoordinator (10): which broker looks after a group or a transactional id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from odradek.broker.topic_creation import TopicCreation
from odradek.metadata.image import MetadataImage
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.find_coordinator import Coordinator, FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.uuids import uuid_from_string

GROUP = 0
TRANSACTION = 1
SHARE = 2

FIRST_WITH_KEYS = 4
FIRST_WITH_SHARE = 6
_NO_NODE = -1
_NO_ERROR_TEXT = "NONE"
_REFUSED = {
    GROUP: (ResourceType.GROUP, ErrorCode.GROUP_AUTHORIZATION_FAILED),
    TRANSACTION: (ResourceType.TRANSACTIONAL_ID, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
}


class CoordinatorTopic(NamedTuple):
    """An internal topic whose partitions' leaders are coordinators, and which partition a key belongs to."""

    name: str
    partition_for: Callable[[str], int]


class FindCoordinatorApi:
    """Answers from the metadata image, for the listener that was asked; a topic that is missing is created."""

    def __init__(
        self,
        image: Callable[[], MetadataImage],
        topics: TopicCreation,
        coordinators: Mapping[int, CoordinatorTopic],
    ) -> None:
        """`coordinators` has the topic of each key type that is served: `GROUP`, `TRANSACTION`."""
        self._image = image
        self._topics = topics
        self._coordinators = coordinators

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        return [
            erase(
                Handler(
                    FindCoordinatorRequest,
                    self._find,
                    Operation.DESCRIBE,
                    ResourceType.GROUP,
                    find_failed,
                    ("There is no share coordinator: its keys are answered COORDINATOR_NOT_AVAILABLE.",),
                )
            )
        ]

    async def _find(self, context: RequestContext, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
        if request.key_type not in (GROUP, TRANSACTION, SHARE):
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        if context.api_version >= FIRST_WITH_KEYS:
            return FindCoordinatorResponse(
                coordinators=[
                    self._locate(context, request.key_type, key)
                    async for key in context.slices().each(request.coordinator_keys)
                ]
            )
        found = self._locate(context, request.key_type, request.key)
        if found.error_code != ErrorCode.NONE:
            raise KafkaError(ErrorCode(found.error_code))
        return FindCoordinatorResponse(
            error_message=_NO_ERROR_TEXT, node_id=found.node_id, host=found.host, port=found.port
        )

    def _locate(self, context: RequestContext, key_type: int, key: str) -> Coordinator:
        try:
            if key_type == SHARE:
                _check_share_key(context, key)
            else:
                resource, refusal = _REFUSED[key_type]
                if not context.allows(Operation.DESCRIBE, resource, key):
                    raise KafkaError(refusal)
            return self._leader(context, key_type, key)
        except KafkaError as error:
            return Coordinator(key=key, node_id=_NO_NODE, port=_NO_NODE, error_code=error.code, error_message="")

    def _leader(self, context: RequestContext, key_type: int, key: str) -> Coordinator:
        unavailable = KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        coordinator = self._coordinators.get(key_type)
        if coordinator is None:
            raise unavailable
        image = self._image()
        topic = image.topics.by_name.get(coordinator.name)
        if topic is None:
            self._topics.create([coordinator.name])
            raise unavailable
        partition = topic.partitions.get(coordinator.partition_for(key))
        broker = None if partition is None else image.cluster.brokers.get(partition.leader)
        endpoint = None if broker is None or broker.fenced else broker.endpoints.get(context.listener)
        if broker is None or endpoint is None:
            raise unavailable
        return Coordinator(key=key, node_id=broker.id, host=endpoint.host, port=endpoint.port, error_message="")


def _check_share_key(context: RequestContext, key: str) -> None:
    """A share coordinator's key is group, topic id and partition, with colons between."""
    parts = key.rsplit(":", 2)
    try:
        if context.api_version < FIRST_WITH_SHARE or len(parts) < 3 or not parts[0] or int(parts[2]) < 0:
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        uuid_from_string(parts[1])
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST) from None


def find_failed(request: FindCoordinatorRequest, version: int, error: KafkaError) -> FindCoordinatorResponse:
    """The error of every key, or of the one key of the older versions."""
    text = error.message or error.code.message
    if version < FIRST_WITH_KEYS:
        return FindCoordinatorResponse(error_code=error.code, error_message=text, node_id=_NO_NODE, port=_NO_NODE)
    return FindCoordinatorResponse(
        coordinators=[
            Coordinator(key=key, node_id=_NO_NODE, port=_NO_NODE, error_code=error.code, error_message=text)
            for key in request.coordinator_keys
        ]
    )
