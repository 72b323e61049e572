"""What a broker passes on to the active controller as it is (KIP-590), and hands back the answer."""

from __future__ import annotations

from collections.abc import Callable

from odradek.broker.controller_client import ControllerClient
from odradek.ports import Promise
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


def forwarding_handler(controller: ControllerClient, original: AnyHandler) -> AnyHandler:
    """The broker's handler of an API in `FORWARDED`; `original` is the controller's own."""
    key = original.api_key
    operation, resource = FORWARDED[key]
    return Handler(
        request_class(key),
        _forward(controller, response_class(key)),
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
