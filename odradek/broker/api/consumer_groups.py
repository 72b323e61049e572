"""ConsumerGroupHeartbeat (68) and ConsumerGroupDescribe (69): consumer groups of KIP-848."""

from __future__ import annotations

from collections.abc import Callable

from odradek.broker.api.group_membership import check_group
from odradek.broker.groups.consumer.heartbeat import Beat
from odradek.broker.groups.service import GroupCoordinator
from odradek.ports import Promise
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, AnyHandler, Handler, erase
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.consumer_group_describe import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    DescribedGroup,
    Member,
)
from odradek.wire.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)


class ConsumerGroupsApi:
    """Checks what senders may do; the rest goes to the group coordinator."""

    def __init__(self, groups: GroupCoordinator, is_enabled: Callable[[], bool]) -> None:
        """`is_enabled` says whether the broker offers the protocol: by its configuration, and by group.version."""
        self._groups = groups
        self._is_enabled = is_enabled

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        group = ResourceType.GROUP
        return [
            erase(
                Handler(
                    ConsumerGroupHeartbeatRequest,
                    self._heartbeat,
                    Operation.READ,
                    group,
                    _heartbeat_failed,
                    differences=(
                        "Regular expressions are google-re2's: why one is not valid may be told in other words, and "
                        "two parts of one may have the same name.",
                        "An expression that takes more than 256 KiB once it is compiled is INVALID_REGULAR_EXPRESSION.",
                        "Assignors that are given as Java classes of one's own in `group.consumer.assignors` stop the "
                        "start.",
                        "Where a classic group cannot become a consumer group, its members' parked requests go on "
                        "waiting; where only what they say is malformed, Kafka has told them to join again by then.",
                        "Of two assignors that as many members ask for, the first by name serves the group.",
                    ),
                )
            ),
            erase(
                Handler(
                    ConsumerGroupDescribeRequest,
                    self._describe,
                    Operation.DESCRIBE,
                    group,
                    _describe_failed,
                    differences=("A group that is named twice is described once.",),
                    max_objects=MAX_DECIDED_OBJECTS,
                )
            ),
        ]

    def _heartbeat(
        self, context: RequestContext, request: ConsumerGroupHeartbeatRequest
    ) -> Promise[ConsumerGroupHeartbeatResponse]:
        self._check_enabled()
        check_group(context, Operation.READ, request.group_id)

        def may_describe(topic: str) -> bool:
            return context.allows(Operation.DESCRIBE, ResourceType.TOPIC, topic)

        if not all(may_describe(topic) for topic in request.subscribed_topic_names or ()):
            raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED)
        beat = Beat(request, context.client_id or "", f"/{context.client_host}", may_describe)
        return self._groups.consumer_heartbeat(beat, context.api_version)

    async def _describe(
        self, context: RequestContext, request: ConsumerGroupDescribeRequest
    ) -> Promise[ConsumerGroupDescribeResponse]:
        self._check_enabled()
        refused: list[DescribedGroup] = []
        allowed: list[str] = []
        slices = context.slices()
        async for group_id in slices.each(dict.fromkeys(request.group_ids)):
            if context.allows(Operation.DESCRIBE, ResourceType.GROUP, group_id):
                allowed.append(group_id)
            else:
                refused.append(DescribedGroup(group_id=group_id, error_code=ErrorCode.GROUP_AUTHORIZATION_FAILED))

        def answer(groups: list[DescribedGroup]) -> ConsumerGroupDescribeResponse:
            for group in groups:
                if request.include_authorized_operations and group.error_code == ErrorCode.NONE:
                    group.authorized_operations = context.authorized_operations(ResourceType.GROUP, group.group_id)
                _hide_topics(context, group)
            return ConsumerGroupDescribeResponse(groups=refused + groups)

        return (await self._groups.describe_consumers(allowed, slices)).then(answer)

    def _check_enabled(self) -> None:
        if not self._is_enabled():
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)


def _hide_topics(context: RequestContext, group: DescribedGroup) -> None:
    """A group that reads a topic which the sender may not see is not shown."""
    topics = dict.fromkeys(name for member in group.members for name in _assigned(member))
    if all(context.allows(Operation.DESCRIBE, ResourceType.TOPIC, name) for name in topics):
        return
    group.error_code = ErrorCode.TOPIC_AUTHORIZATION_FAILED
    group.error_message = "The group has described topic(s) that the client is not authorized to describe."
    group.members = []


def _assigned(member: Member) -> list[str]:
    topics = (*member.assignment.topic_partitions, *member.target_assignment.topic_partitions)
    return [topic.topic_name for topic in topics]


def _heartbeat_failed(
    _request: ConsumerGroupHeartbeatRequest, _version: int, error: KafkaError
) -> ConsumerGroupHeartbeatResponse:
    return ConsumerGroupHeartbeatResponse(error_code=error.code, error_message=error.message)


def _describe_failed(
    request: ConsumerGroupDescribeRequest, _version: int, error: KafkaError
) -> ConsumerGroupDescribeResponse:
    return ConsumerGroupDescribeResponse(
        groups=[DescribedGroup(group_id=group_id, error_code=error.code) for group_id in request.group_ids]
    )
