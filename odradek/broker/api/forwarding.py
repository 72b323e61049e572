"""What a broker passes on to the active controller as it is (KIP-590), and hands back the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, cast

from odradek.broker.controller_client import ControllerClient
from odradek.broker.replication.catching_up import CatchingUp
from odradek.ports import Promise, Scheduler, spawn
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler
from odradek.wire.apis import ApiKey, request_class, response_class
from odradek.wire.schema import Message

FORWARDED: dict[ApiKey, tuple[Operation, ResourceType]] = {
    ApiKey.CREATE_TOPICS: (Operation.CREATE, ResourceType.TOPIC),
    ApiKey.DELETE_TOPICS: (Operation.DELETE, ResourceType.TOPIC),
    ApiKey.CREATE_ACLS: (Operation.ALTER, ResourceType.CLUSTER),
    ApiKey.DELETE_ACLS: (Operation.ALTER, ResourceType.CLUSTER),
    ApiKey.CREATE_PARTITIONS: (Operation.ALTER, ResourceType.TOPIC),
    ApiKey.ELECT_LEADERS: (Operation.ALTER, ResourceType.CLUSTER),
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: (Operation.ALTER, ResourceType.CLUSTER),
    ApiKey.LIST_PARTITION_REASSIGNMENTS: (Operation.DESCRIBE, ResourceType.CLUSTER),
    ApiKey.ALTER_CLIENT_QUOTAS: (Operation.ALTER_CONFIGS, ResourceType.CLUSTER),
    ApiKey.ALTER_USER_SCRAM_CREDENTIALS: (Operation.ALTER, ResourceType.CLUSTER),
    ApiKey.DESCRIBE_QUORUM: (Operation.DESCRIBE, ResourceType.CLUSTER),
    ApiKey.UPDATE_FEATURES: (Operation.ALTER, ResourceType.CLUSTER),
    ApiKey.UNREGISTER_BROKER: (Operation.ALTER, ResourceType.CLUSTER),
    ApiKey.ADD_RAFT_VOTER: (Operation.ALTER, ResourceType.CLUSTER),
    ApiKey.REMOVE_RAFT_VOTER: (Operation.ALTER, ResourceType.CLUSTER),
    ApiKey.UNREGISTER_CONTROLLER: (Operation.ALTER, ResourceType.CLUSTER),
}
"""The APIs, and what their senders must be allowed to do."""


CHANGED_TOPICS: Mapping[ApiKey, str] = {
    ApiKey.CREATE_TOPICS: "topics",
    ApiKey.DELETE_TOPICS: "responses",
    ApiKey.CREATE_PARTITIONS: "results",
}
"""The APIs that change topics, and where their answers name these."""


class Followers(NamedTuple):
    """What makes this broker follow the changes that it has forwarded."""

    catching_up: CatchingUp
    scheduler: Scheduler


class _ChangesTopics(Protocol):
    """What the requests of `CHANGED_TOPICS` have in common."""

    timeout_ms: int


class _Changed(Protocol):
    """One topic in an answer."""

    name: str | None


def forwarding_handler(controller: ControllerClient, original: AnyHandler, followers: Followers) -> AnyHandler:
    """The broker's handler of an API in `FORWARDED`; `original` is the controller's own.

    Who has changed topics is answered once this broker has done its part of that, if it comes to it within the
    request's time. Other brokers may lag, as in Kafka.
    """
    key = original.api_key
    operation, resource = FORWARDED[key]
    field = CHANGED_TOPICS.get(key)
    response = response_class(key)
    return Handler(
        request_class(key),
        _forward(controller, response) if field is None else _change(controller, response, field, followers),
        operation,
        resource,
        on_error=original.on_error,
        differences=original.differences,
        max_objects=original.max_objects,
    )


def _forward(
    controller: ControllerClient, response: type[Message]
) -> Callable[[RequestContext, Message], Promise[Message]]:
    return lambda context, request: controller.send(request, response, context)


def _change(
    controller: ControllerClient, response: type[Message], field: str, followers: Followers
) -> Callable[[RequestContext, Message], Promise[Message]]:
    async def change(context: RequestContext, request: Message) -> Message:
        answer = await controller.send(request, response, context)
        changed: Sequence[_Changed] = getattr(answer, field)
        done = followers.catching_up.when_done([topic.name for topic in changed if topic.name is not None])
        if not done.done:
            timeout_ms = cast("_ChangesTopics", request).timeout_ms
            timer = followers.scheduler.call_later(timeout_ms, lambda: done.resolve(None))
            await done
            timer.cancel()
        return answer

    # As a promise: a large request's turn is over once the controller has it, and not when all is done.
    return lambda context, request: spawn(change(context, request))
