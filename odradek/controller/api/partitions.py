"""ElectLeaders (43), AlterPartitionReassignments (45), ListPartitionReassignments (46) and AlterPartition (56)."""

from __future__ import annotations

from odradek.controller.alter_partition import alter_partition
from odradek.controller.api.common import check_cluster
from odradek.controller.controller import Controller
from odradek.controller.leadership import elect_leaders
from odradek.controller.reassignments import alter_partition_reassignments, list_partition_reassignments
from odradek.controller.result import ControllerResult
from odradek.ports import Promise
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, AnyHandler, Handler, erase
from odradek.wire.errors import KafkaError
from odradek.wire.messages.alter_partition import AlterPartitionRequest, AlterPartitionResponse
from odradek.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
)
from odradek.wire.messages.elect_leaders import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    PartitionResult,
    ReplicaElectionResult,
)
from odradek.wire.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)

FIRST_WITH_TOP_LEVEL_ERROR = 1


class PartitionsApi:
    """Who holds and leads partitions."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        alter, cluster = Operation.ALTER, ResourceType.CLUSTER
        return [
            erase(
                Handler(
                    ElectLeadersRequest, self._elect, alter, cluster, _elect_failed, max_objects=MAX_DECIDED_OBJECTS
                )
            ),
            erase(
                Handler(
                    AlterPartitionReassignmentsRequest,
                    self._reassign,
                    alter,
                    cluster,
                    differences=(
                        "A second reassignment of a partition that takes back what the first one adds or removes ends "
                        "there; in Kafka it goes on as it was, or never completes.",
                        "Cancelling when only added replicas are in sync leaves nobody in sync until an unclean "
                        "election; Kafka takes the first replica, be it there or not.",
                        "Replicas that a reassignment has removed are no eligible leaders; Kafka keeps them as such "
                        "where fewer than `min.insync.replicas` are left.",
                    ),
                )
            ),
            erase(Handler(ListPartitionReassignmentsRequest, self._list, Operation.DESCRIBE, cluster)),
            erase(Handler(AlterPartitionRequest, self._alter_partition, Operation.CLUSTER_ACTION, cluster)),
        ]

    def _elect(self, context: RequestContext, request: ElectLeadersRequest) -> Promise[ElectLeadersResponse]:
        check_cluster(context, Operation.ALTER)
        return self._controller.submit(lambda state: elect_leaders(state, request))

    def _reassign(
        self, context: RequestContext, request: AlterPartitionReassignmentsRequest
    ) -> Promise[AlterPartitionReassignmentsResponse]:
        check_cluster(context, Operation.ALTER)
        return self._controller.submit(lambda state: alter_partition_reassignments(state, request))

    def _list(
        self, context: RequestContext, request: ListPartitionReassignmentsRequest
    ) -> Promise[ListPartitionReassignmentsResponse]:
        check_cluster(context, Operation.DESCRIBE)
        return self._controller.submit(
            lambda state: ControllerResult(list_partition_reassignments(state.image, request))
        )

    def _alter_partition(
        self, context: RequestContext, request: AlterPartitionRequest
    ) -> Promise[AlterPartitionResponse]:
        check_cluster(context, Operation.CLUSTER_ACTION)
        return self._controller.submit(lambda state: alter_partition(state, request, context.api_version))


def _elect_failed(request: ElectLeadersRequest, version: int, error: KafkaError) -> ElectLeadersResponse:
    response = ElectLeadersResponse()
    if version >= FIRST_WITH_TOP_LEVEL_ERROR:
        response.error_code = error.code
    response.replica_election_results = [
        ReplicaElectionResult(
            topic=topic.topic,
            partition_result=[
                PartitionResult(partition_id=index, error_code=error.code, error_message=error.message)
                for index in topic.partitions
            ],
        )
        for topic in request.topic_partitions or ()
    ]
    return response
