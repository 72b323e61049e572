"""What the controller's handlers share: whether who asks may do so."""

from __future__ import annotations

from collections.abc import Callable

from odradek.security.acl import Operation, ResourceType
from odradek.server.cluster import CLUSTER_NAME
from odradek.server.context import RequestContext
from odradek.wire.errors import ErrorCode, KafkaError


def check_cluster(context: RequestContext, operation: Operation) -> None:
    """Raise CLUSTER_AUTHORIZATION_FAILED unless the sender may do this to the cluster."""
    if not context.allows(operation, ResourceType.CLUSTER, CLUSTER_NAME):
        raise KafkaError(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)


def topics_allowed(
    context: RequestContext, operation: Operation, *, or_on_cluster: bool = False
) -> Callable[[str], bool]:
    """Whether the sender may do this to a topic, by its name; `or_on_cluster` if on the cluster will do for all."""
    if or_on_cluster and context.allows(operation, ResourceType.CLUSTER, CLUSTER_NAME):
        return lambda _name: True
    return lambda name: context.allows(operation, ResourceType.TOPIC, name)
