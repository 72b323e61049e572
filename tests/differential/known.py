"""Differences on purpose, each of which docs/compatibility.md lists."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

from odradek.wire.errors import ErrorCode
from odradek.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from odradek.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from odradek.wire.messages.describe_groups import DescribeGroupsRequest
from odradek.wire.messages.describe_producers import DescribeProducersRequest
from odradek.wire.messages.describe_topic_partitions import DescribeTopicPartitionsRequest
from odradek.wire.messages.describe_transactions import DescribeTransactionsRequest
from odradek.wire.messages.fetch import FetchRequest, FetchResponse, PartitionData
from odradek.wire.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from odradek.wire.messages.join_group import JoinGroupRequest
from odradek.wire.messages.metadata import MetadataRequest
from odradek.wire.messages.offset_fetch import OffsetFetchRequest
from odradek.wire.messages.sync_group import SyncGroupRequest
from odradek.wire.schema import Message
from odradek.wire.uuids import ZERO_UUID
from tests.differential.compare import Difference
from tests.differential.nodes import Answer, Silence
from tests.differential.world import World

OPERATIONS = range(4)
MANY = 1 << 30


def is_known(request: Message, ours: Answer, theirs: Answer, difference: Difference, world: World) -> bool:
    """Whether this is a difference on purpose."""
    if isinstance(theirs, Silence) and not isinstance(request, JoinGroupRequest | SyncGroupRequest):
        # Kafka throws, and answers nothing: null records, a resource named twice, ...
        return True
    if _names_something_twice(request) or _is_named_fault(difference):
        return True
    if isinstance(request, IncrementalAlterConfigsRequest):
        return _has_unknown_operation(request)
    if isinstance(request, ConsumerGroupHeartbeatRequest | ConsumerGroupDescribeRequest):
        is_without_text = difference.path == "error_message" and difference.theirs is None
        if is_without_text and getattr(theirs, "error_code", 0) == ErrorCode.UNKNOWN_SERVER_ERROR:
            return True
        return "assignment" in difference.path and _has_several_members(request, world)
    if isinstance(request, DescribeTopicPartitionsRequest):
        # The empty name makes Kafka throw, and the index behind the last number wraps.
        cursor = request.cursor
        return any(not topic.name for topic in request.topics) or (cursor is not None and cursor.partition_index > MANY)
    if isinstance(request, MetadataRequest):
        return any(topic.name is None and topic.topic_id == ZERO_UUID for topic in request.topics or ())
    if isinstance(request, FetchRequest):
        return _is_before_the_log(theirs, difference) or _is_of_deleted_topics(request, ours, theirs)
    return False


def _is_named_fault(difference: Difference) -> bool:
    """Where Kafka stumbles over a null and says so, we say what is wrong with the request."""
    is_code = difference.path.endswith("error_code")
    return is_code and difference.theirs == ErrorCode.UNKNOWN_SERVER_ERROR and difference.ours != ErrorCode.NONE


def _partitions(answer: Answer) -> list[PartitionData]:
    if not isinstance(answer, FetchResponse):
        return []
    return [partition for topic in answer.responses for partition in topic.partitions]


def _is_before_the_log(theirs: Answer, difference: Difference) -> bool:
    """Where records are deleted up to the middle of an open transaction's batch, Kafka names the batch's offset."""
    return difference.path.endswith("last_stable_offset") and any(
        partition.last_stable_offset == difference.theirs and partition.last_stable_offset < partition.log_start_offset
        for partition in _partitions(theirs)
    )


def _is_of_deleted_topics(request: FetchRequest, ours: Answer, theirs: Answer) -> bool:
    """A session of Kafka's still knows the name of a topic that is gone, and tells of it in another place."""
    our_codes = [partition.error_code for partition in _partitions(ours)]
    their_codes = [partition.error_code for partition in _partitions(theirs)]
    gone = our_codes.count(ErrorCode.UNKNOWN_TOPIC_ID) - their_codes.count(ErrorCode.UNKNOWN_TOPIC_ID)
    named = their_codes.count(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    named -= our_codes.count(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    return request.session_epoch > 0 and gone == named > 0


def _has_several_members(request: ConsumerGroupHeartbeatRequest | ConsumerGroupDescribeRequest, world: World) -> bool:
    """Who gets what is decided in the order of ids that the brokers make up."""
    groups = request.group_ids if isinstance(request, ConsumerGroupDescribeRequest) else [request.group_id]
    joining = getattr(request, "member_id", None)
    members = [each.group for each in (*world.members, *world.consumers) if each.member_id != joining]
    others = 1 if joining is None else 0
    return any(members.count(group) > others for group in groups)


def _has_unknown_operation(request: IncrementalAlterConfigsRequest) -> bool:
    return any(
        config.config_operation not in OPERATIONS for resource in request.resources for config in resource.configs
    )


def _names_something_twice(request: Message) -> bool:
    """A small request must not make a large response by asking for one large thing again and again."""
    names = list(_names(request))
    return len(names) != len(set(names))


def _names(request: Message) -> Iterator[Hashable]:
    if isinstance(request, DescribeGroupsRequest):
        yield from request.groups
    elif isinstance(request, ConsumerGroupDescribeRequest):
        yield from request.group_ids
    elif isinstance(request, DescribeTransactionsRequest):
        yield from request.transactional_ids
    elif isinstance(request, DescribeProducersRequest):
        yield from ((topic.name, index) for topic in request.topics for index in topic.partition_indexes)
    elif isinstance(request, OffsetFetchRequest):
        yield from _offsets(request)


def _offsets(request: OffsetFetchRequest) -> Iterable[Hashable]:
    for topic in request.topics or ():
        yield from ((topic.name, index) for index in topic.partition_indexes)
    for group in request.groups:
        if group.topics is None:
            yield group.group_id
        for asked in group.topics or ():
            name = (group.group_id, asked.name, asked.topic_id)
            yield from ((*name, index) for index in asked.partition_indexes)
