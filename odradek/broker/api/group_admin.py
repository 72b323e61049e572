"""DescribeGroups (15), ListGroups (16) and DeleteGroups (42)."""

from __future__ import annotations

from odradek.broker.groups.service import GroupCoordinator
from odradek.ports import Promise, Slices
from odradek.security.acl import Operation, ResourceType
from odradek.server.cluster import CLUSTER_NAME
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, AnyHandler, Handler, erase
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.delete_groups import DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse
from odradek.wire.messages.describe_groups import DescribedGroup, DescribeGroupsRequest, DescribeGroupsResponse
from odradek.wire.messages.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse

FIRST_WITH_OPERATIONS = 3


class GroupAdminApi:
    """What administrators ask of groups."""

    def __init__(self, groups: GroupCoordinator) -> None:
        self._groups = groups

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        group = ResourceType.GROUP
        return [
            erase(
                Handler(
                    DescribeGroupsRequest,
                    self._describe,
                    Operation.DESCRIBE,
                    group,
                    _describe_failed,
                    differences=("A group that is named twice is described once.",),
                    max_objects=MAX_DECIDED_OBJECTS,
                )
            ),
            erase(Handler(ListGroupsRequest, self._list, Operation.DESCRIBE, group)),
            erase(
                Handler(
                    DeleteGroupsRequest,
                    self._delete,
                    Operation.DELETE,
                    group,
                    _delete_failed,
                    max_objects=MAX_DECIDED_OBJECTS,
                    keeps_order=True,
                )
            ),
        ]

    async def _describe(
        self, context: RequestContext, request: DescribeGroupsRequest
    ) -> Promise[DescribeGroupsResponse]:
        # Once each: groups can be large, and a name takes few bytes.
        slices = context.slices()
        allowed, refused = await _split(context, Operation.DESCRIBE, list(dict.fromkeys(request.groups)), slices)
        failures = [
            DescribedGroup(group_id=group_id, error_code=ErrorCode.GROUP_AUTHORIZATION_FAILED) for group_id in refused
        ]
        with_operations = request.include_authorized_operations and context.api_version >= FIRST_WITH_OPERATIONS

        def answer(groups: list[DescribedGroup]) -> DescribeGroupsResponse:
            for group in groups if with_operations else ():
                if group.error_code == ErrorCode.NONE:
                    group.authorized_operations = context.authorized_operations(ResourceType.GROUP, group.group_id)
            return DescribeGroupsResponse(groups=failures + groups)

        return (await self._groups.describe(allowed, context.api_version, slices)).then(answer)

    async def _list(self, context: RequestContext, request: ListGroupsRequest) -> Promise[ListGroupsResponse]:
        sees_all = context.allows(Operation.DESCRIBE, ResourceType.CLUSTER, CLUSTER_NAME)

        def answer(groups: list[ListedGroup]) -> ListGroupsResponse:
            return ListGroupsResponse(
                groups=[
                    group
                    for group in groups
                    if sees_all or context.allows(Operation.DESCRIBE, ResourceType.GROUP, group.group_id)
                ]
            )

        return self._groups.list_groups(request.states_filter, request.types_filter).then(answer)

    async def _delete(self, context: RequestContext, request: DeleteGroupsRequest) -> Promise[DeleteGroupsResponse]:
        slices = context.slices()
        allowed, refused = await _split(context, Operation.DELETE, list(dict.fromkeys(request.groups_names)), slices)
        failures = [
            DeletableGroupResult(group_id=group_id, error_code=ErrorCode.GROUP_AUTHORIZATION_FAILED)
            for group_id in refused
        ]
        results = await self._groups.delete(allowed, slices)
        return results.then(lambda deleted: DeleteGroupsResponse(results=deleted + failures))


async def _split(
    context: RequestContext, operation: Operation, group_ids: list[str], slices: Slices
) -> tuple[list[str], list[str]]:
    """The groups that the sender may do this to, and the others."""
    allowed: list[str] = []
    refused: list[str] = []
    async for group_id in slices.each(group_ids):
        (allowed if context.allows(operation, ResourceType.GROUP, group_id) else refused).append(group_id)
    return allowed, refused


def _describe_failed(request: DescribeGroupsRequest, _version: int, error: KafkaError) -> DescribeGroupsResponse:
    return DescribeGroupsResponse(
        groups=[DescribedGroup(group_id=group_id, error_code=error.code) for group_id in request.groups]
    )


def _delete_failed(request: DeleteGroupsRequest, _version: int, error: KafkaError) -> DeleteGroupsResponse:
    return DeleteGroupsResponse(
        results=[
            DeletableGroupResult(group_id=group_id, error_code=error.code)
            for group_id in dict.fromkeys(request.groups_names)
        ]
    )
