"""DescribeCluster (60) at a controller: the controllers, for a client that bootstraps from them (KIP-919)."""

from __future__ import annotations

from odradek.controller.api.common import check_cluster
from odradek.controller.controller import Controller
from odradek.security.acl import Operation, ResourceType
from odradek.server.cluster import EndpointType, check_endpoint_type, cluster_description
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.wire.messages.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)

NO_NODE = -1


class DescriptionApi:
    """The controllers as they registered, at the listener that was asked."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        return [erase(Handler(DescribeClusterRequest, self._describe_cluster, Operation.ALTER, ResourceType.CLUSTER))]

    def _describe_cluster(self, context: RequestContext, request: DescribeClusterRequest) -> DescribeClusterResponse:
        check_cluster(context, Operation.ALTER)
        check_endpoint_type(context, request, EndpointType.CONTROLLER)
        nodes = []
        for controller in self._controller.image.cluster.controllers.values():
            endpoint = controller.endpoints.get(context.listener)
            if endpoint is not None:
                nodes.append(DescribeClusterBroker(broker_id=controller.id, host=endpoint.host, port=endpoint.port))
        leader = self._controller.raft.leader_id
        controller_id = leader if leader is not None and any(node.broker_id == leader for node in nodes) else NO_NODE
        cluster_id = self._controller.state.identity.cluster_id
        return cluster_description(context, request, EndpointType.CONTROLLER, cluster_id, controller_id, nodes)
