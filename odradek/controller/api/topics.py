"""CreateTopics (19), DeleteTopics (20) and CreatePartitions (37)."""

from __future__ import annotations

from odradek.controller.api.common import topics_allowed
from odradek.controller.controller import Controller
from odradek.controller.topic_deletion import delete_topics
from odradek.controller.topics import create_partitions, create_topics
from odradek.ports import Promise
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, AnyHandler, Handler, erase
from odradek.wire.errors import KafkaError
from odradek.wire.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopicResult,
)
from odradek.wire.messages.create_topics import CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.delete_topics import DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse


class TopicsApi:
    """Topics come, grow and go."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        topic = ResourceType.TOPIC
        return [
            erase(Handler(CreateTopicsRequest, self._create, Operation.CREATE, topic, _create_failed)),
            erase(
                Handler(
                    DeleteTopicsRequest,
                    self._delete,
                    Operation.DELETE,
                    topic,
                    _delete_failed,
                    max_objects=MAX_DECIDED_OBJECTS,
                )
            ),
            erase(
                Handler(
                    CreatePartitionsRequest,
                    self._grow,
                    Operation.ALTER,
                    topic,
                    _grow_failed,
                    max_objects=MAX_DECIDED_OBJECTS,
                )
            ),
        ]

    def _create(self, context: RequestContext, request: CreateTopicsRequest) -> Promise[CreateTopicsResponse]:
        may_create = topics_allowed(context, Operation.CREATE, or_on_cluster=True)
        may_describe = topics_allowed(context, Operation.DESCRIBE_CONFIGS)
        return self._controller.submit(lambda state: create_topics(state, request, may_create, may_describe))

    def _delete(self, context: RequestContext, request: DeleteTopicsRequest) -> Promise[DeleteTopicsResponse]:
        may_delete = topics_allowed(context, Operation.DELETE, or_on_cluster=True)
        may_describe = topics_allowed(context, Operation.DESCRIBE)
        version = context.api_version
        return self._controller.submit(lambda state: delete_topics(state, request, version, may_delete, may_describe))

    def _grow(self, context: RequestContext, request: CreatePartitionsRequest) -> Promise[CreatePartitionsResponse]:
        may_alter = topics_allowed(context, Operation.ALTER)
        return self._controller.submit(lambda state: create_partitions(state, request, may_alter))


def _create_failed(request: CreateTopicsRequest, _version: int, error: KafkaError) -> CreateTopicsResponse:
    return CreateTopicsResponse(
        topics=[
            CreatableTopicResult(name=topic.name, error_code=error.code, error_message=error.message, configs=[])
            for topic in request.topics
        ]
    )


def _delete_failed(request: DeleteTopicsRequest, _version: int, error: KafkaError) -> DeleteTopicsResponse:
    names = [DeletableTopicResult(name=name, error_code=error.code) for name in request.topic_names]
    topics = [
        DeletableTopicResult(name=topic.name, topic_id=topic.topic_id, error_code=error.code)
        for topic in request.topics
    ]
    return DeleteTopicsResponse(responses=[*names, *topics])


def _grow_failed(request: CreatePartitionsRequest, _version: int, error: KafkaError) -> CreatePartitionsResponse:
    return CreatePartitionsResponse(
        results=[
            CreatePartitionsTopicResult(name=topic.name, error_code=error.code, error_message=error.message)
            for topic in request.topics
        ]
    )
