"""What brokers and controllers do alike with DescribeCluster (60; KIP-700, KIP-919)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from odradek.security.acl import ResourceType
from odradek.server.context import RequestContext
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)

CLUSTER_NAME = "kafka-cluster"
_FIRST_WITH_ENDPOINT_TYPE = 1


class EndpointType(IntEnum):
    """Whose addresses are asked for."""

    BROKER = 1
    CONTROLLER = 2


def check_endpoint_type(context: RequestContext, request: DescribeClusterRequest, served: EndpointType) -> None:
    """Raise KafkaError if other nodes are asked for than the listener tells of."""
    asked = request.endpoint_type
    if asked == served:
        return
    if asked not in EndpointType.__members__.values():
        code, message = ErrorCode.UNSUPPORTED_ENDPOINT_TYPE, f"Unsupported endpoint type {asked}"
    else:
        code, message = (
            ErrorCode.MISMATCHED_ENDPOINT_TYPE,
            f"The request was sent to an endpoint of type {served.name}, but we wanted an endpoint of type "
            f"{EndpointType(asked).name}",
        )
    raise KafkaError(code if context.api_version >= _FIRST_WITH_ENDPOINT_TYPE else ErrorCode.INVALID_REQUEST, message)


def cluster_description(
    context: RequestContext,
    request: DescribeClusterRequest,
    served: EndpointType,
    cluster_id: str,
    controller_id: int,
    nodes: Sequence[DescribeClusterBroker],
) -> DescribeClusterResponse:
    """The response with these nodes, which have the listener that was asked."""
    response = DescribeClusterResponse(
        endpoint_type=served, cluster_id=cluster_id, controller_id=controller_id, brokers=list(nodes)
    )
    if request.include_cluster_authorized_operations:
        response.cluster_authorized_operations = context.authorized_operations(ResourceType.CLUSTER, CLUSTER_NAME)
    return response
