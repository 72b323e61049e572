"""OffsetCommit (8), OffsetFetch (9) and OffsetDelete (47): where groups have read to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from odradek.broker.api.group_membership import check_group
from odradek.broker.groups.offset_fetch import failed
from odradek.broker.groups.service import GroupCoordinator, refused_commit
from odradek.metadata.image import TopicImage, TopicsImage
from odradek.ports import Promise, gather
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, AnyHandler, Handler, erase
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from odradek.wire.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)
from odradek.wire.uuids import ZERO_UUID, Uuid

FIRST_WITH_TOPIC_IDS = 10
FIRST_WITH_GROUP_LIST = 8
FIRST_WITH_GROUP_ERROR = 2
MANY_PARTITIONS = 1024
"""What names as many is so large a request that it is in the lane, which keeps a connection's order."""


class GroupOffsetsApi:
    """Sorts out unknown and forbidden topics; the rest goes to the group coordinator."""

    def __init__(self, groups: GroupCoordinator, topics: Callable[[], TopicsImage]) -> None:
        self._groups = groups
        self._topics = topics

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        return [
            erase(
                Handler(
                    OffsetCommitRequest,
                    self._commit,
                    Operation.READ,
                    ResourceType.GROUP,
                    _commit_failed,
                    max_objects=MAX_DECIDED_OBJECTS,
                )
            ),
            erase(
                Handler(
                    OffsetFetchRequest,
                    self._fetch,
                    Operation.DESCRIBE,
                    ResourceType.GROUP,
                    _fetch_failed,
                    differences=(
                        "An offset that is asked for twice is answered once, and so is a group that is asked for all "
                        "of its offsets twice.",
                    ),
                )
            ),
            erase(Handler(OffsetDeleteRequest, self._delete, Operation.DELETE, ResourceType.GROUP, keeps_order=True)),
        ]

    async def _commit(
        self, context: RequestContext, request: OffsetCommitRequest
    ) -> OffsetCommitResponse | Promise[OffsetCommitResponse]:
        """Commits of one connection come to the coordinator in their order: only one that is in the lane gives way."""
        check_group(context, Operation.READ, request.group_id)
        by_id = context.api_version >= FIRST_WITH_TOPIC_IDS
        refused: dict[str | Uuid, OffsetCommitResponseTopic] = {}
        accepted = []
        slices = context.slices()
        count = 0
        for topic in request.topics:
            image, code = self._commit_topic(context, topic, by_id)
            known: list[OffsetCommitRequestPartition] = []
            unknown: list[OffsetCommitRequestPartition] = []
            for entry in topic.partitions:
                (known if _has(image, entry.partition_index) else unknown).append(entry)
                count += 1
                if count % MANY_PARTITIONS == 0:
                    await slices.pause()
            if unknown:
                answer = refused.setdefault(
                    topic.topic_id if by_id else topic.name,
                    OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id),
                )
                answer.partitions += [
                    OffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code)
                    for partition in unknown
                ]
            if image is not None and known:
                accepted.append(OffsetCommitRequestTopic(name=image.name, topic_id=image.id, partitions=known))
        answer_refused = OffsetCommitResponse(topics=list(refused.values()))
        if not accepted:
            return answer_refused
        request.topics = accepted
        answer_all = self._groups.commit_offsets(request, context.api_version)
        return answer_all.then(lambda response: _merged_commit(answer_refused, response, by_id))

    def _commit_topic(
        self, context: RequestContext, topic: OffsetCommitRequestTopic, by_id: bool
    ) -> tuple[TopicImage | None, ErrorCode]:
        """The topic if it can be committed to, and the error of partitions that it does not have."""
        topics = self._topics()
        image = topics.by_id.get(topic.topic_id) if by_id else topics.by_name.get(topic.name)
        if by_id and image is None:
            return None, ErrorCode.UNKNOWN_TOPIC_ID
        name = topic.name if image is None else image.name
        if not context.allows(Operation.READ, ResourceType.TOPIC, name):
            return None, ErrorCode.TOPIC_AUTHORIZATION_FAILED
        return image, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    async def _fetch(self, context: RequestContext, request: OffsetFetchRequest) -> Promise[OffsetFetchResponse]:
        version = context.api_version
        if version >= FIRST_WITH_GROUP_LIST:
            groups = _without_repetitions(request.groups)
            fetches = [
                self._fetch_group(context, group, request.require_stable)
                async for group in context.slices().each_long(groups)
            ]
            return gather(fetches).then(lambda groups: OffsetFetchResponse(groups=groups))
        group = OffsetFetchRequestGroup(group_id=request.group_id, topics=None)
        if request.topics is not None:
            group.topics = [
                OffsetFetchRequestTopics(name=topic.name, partition_indexes=topic.partition_indexes)
                for topic in request.topics
            ]
        (group,) = _without_repetitions([group])
        fetch = self._fetch_group(context, group, request.require_stable)
        return fetch.then(lambda answer: _of_one_group(request, answer, version))

    def _fetch_group(
        self, context: RequestContext, group: OffsetFetchRequestGroup, require_stable: bool
    ) -> Promise[OffsetFetchResponseGroup]:
        if not context.allows(Operation.DESCRIBE, ResourceType.GROUP, group.group_id):
            refused = OffsetFetchResponseGroup(group_id=group.group_id, error_code=ErrorCode.GROUP_AUTHORIZATION_FAILED)
            return Promise.of(refused)
        by_id = context.api_version >= FIRST_WITH_TOPIC_IDS
        if group.topics is None:
            fetch_all = self._groups.fetch_offsets(group, require_stable=require_stable)
            return fetch_all.then(lambda answer: self._visible(context, answer, by_id))
        refused_topics: list[OffsetFetchResponseTopics] = []
        accepted = []
        for topic in group.topics:
            code = self._name_topic(context, topic, by_id)
            if code is ErrorCode.NONE:
                accepted.append(topic)
            else:
                answer = OffsetFetchResponseTopics(name=topic.name, topic_id=topic.topic_id)
                answer.partitions = [failed(index, code) for index in topic.partition_indexes]
                refused_topics.append(answer)
        group.topics = accepted
        fetch = self._groups.fetch_offsets(group, require_stable=require_stable)

        def add_refused(answer: OffsetFetchResponseGroup) -> OffsetFetchResponseGroup:
            if answer.error_code == ErrorCode.NONE:
                answer.topics += refused_topics
            return answer

        return fetch.then(add_refused)

    def _name_topic(self, context: RequestContext, topic: OffsetFetchRequestTopics, by_id: bool) -> ErrorCode:
        """Give the topic both name and id; returns why it may not be read."""
        topics = self._topics()
        if by_id:
            image = topics.by_id.get(topic.topic_id)
            if image is None:
                return ErrorCode.UNKNOWN_TOPIC_ID
            topic.name = image.name
        else:
            image = topics.by_name.get(topic.name)
            topic.topic_id = ZERO_UUID if image is None else image.id
        allowed = context.allows(Operation.DESCRIBE, ResourceType.TOPIC, topic.name)
        return ErrorCode.NONE if allowed else ErrorCode.TOPIC_AUTHORIZATION_FAILED

    def _visible(
        self, context: RequestContext, answer: OffsetFetchResponseGroup, by_id: bool
    ) -> OffsetFetchResponseGroup:
        """All of a group's topics but those that the sender may not see, or that have no id where ids are spoken."""
        by_name = self._topics().by_name
        visible = []
        for topic in answer.topics:
            image = by_name.get(topic.name)
            topic.topic_id = ZERO_UUID if image is None else image.id
            is_named = image is not None or not by_id
            if is_named and context.allows(Operation.DESCRIBE, ResourceType.TOPIC, topic.name):
                visible.append(topic)
        answer.topics = visible
        return answer

    async def _delete(self, context: RequestContext, request: OffsetDeleteRequest) -> Promise[OffsetDeleteResponse]:
        check_group(context, Operation.DELETE, request.group_id)
        refused = OffsetDeleteResponse()
        accepted = []
        slices = context.slices()
        for topic in request.topics:
            image = self._topics().by_name.get(topic.name)
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            if not context.allows(Operation.READ, ResourceType.TOPIC, topic.name):
                image, code = None, ErrorCode.TOPIC_AUTHORIZATION_FAILED
            known: list[OffsetDeleteRequestPartition] = []
            unknown: list[OffsetDeleteRequestPartition] = []
            async for entry in slices.each(topic.partitions):
                (known if _has(image, entry.partition_index) else unknown).append(entry)
            if unknown:
                answer = OffsetDeleteResponseTopic(name=topic.name)
                answer.partitions = [
                    OffsetDeleteResponsePartition(partition_index=partition.partition_index, error_code=code)
                    for partition in unknown
                ]
                refused.topics.append(answer)
            if known:
                accepted.append(OffsetDeleteRequestTopic(name=topic.name, partitions=known))
        request.topics = accepted
        return self._groups.delete_offsets(request).then(lambda response: _merged_delete(refused, response))


def _without_repetitions(groups: Sequence[OffsetFetchRequestGroup]) -> list[OffsetFetchRequestGroup]:
    """Each group's offsets once: a name takes few bytes, but offsets carry metadata, and groups have many of them."""
    whole: dict[str, None] = {}
    seen: dict[tuple[str, str, bytes, int], None] = {}
    kept = []
    for group in groups:
        if group.topics is None:
            if group.group_id in whole:
                continue
            whole[group.group_id] = None
        for topic in group.topics or ():
            places = {(group.group_id, topic.name, topic.topic_id, index): None for index in topic.partition_indexes}
            topic.partition_indexes = [place[3] for place in places if place not in seen]
            seen.update(places)
        kept.append(group)
    return kept


def _has(topic: TopicImage | None, partition: int) -> bool:
    return topic is not None and partition in topic.partitions


def _merged_commit(first: OffsetCommitResponse, rest: OffsetCommitResponse, by_id: bool) -> OffsetCommitResponse:
    """One answer per topic, the partitions of `first` ahead."""
    if not first.topics:
        return rest
    topics = {(topic.topic_id if by_id else topic.name): topic for topic in first.topics}
    for topic in rest.topics:
        earlier = topics.setdefault(topic.topic_id if by_id else topic.name, topic)
        if earlier is topic:
            first.topics.append(topic)
        else:
            earlier.partitions += topic.partitions
    return first


def _merged_delete(first: OffsetDeleteResponse, rest: OffsetDeleteResponse) -> OffsetDeleteResponse:
    """One answer per topic, the partitions of `first` ahead; an error of the group is all there is to say."""
    if rest.error_code != ErrorCode.NONE or not first.topics:
        return rest
    topics = {topic.name: topic for topic in first.topics}
    for topic in rest.topics:
        earlier = topics.setdefault(topic.name, topic)
        if earlier is topic:
            first.topics.append(topic)
        else:
            earlier.partitions += topic.partitions
    return first


def _of_one_group(request: OffsetFetchRequest, group: OffsetFetchResponseGroup, version: int) -> OffsetFetchResponse:
    """The answer in the form that was used before requests could name several groups."""
    if group.error_code != ErrorCode.NONE:
        return _fetch_failed(request, version, KafkaError(ErrorCode(group.error_code)))
    return OffsetFetchResponse(
        topics=[
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(
                        partition_index=partition.partition_index,
                        committed_offset=partition.committed_offset,
                        committed_leader_epoch=partition.committed_leader_epoch,
                        metadata=partition.metadata,
                        error_code=partition.error_code,
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in group.topics
        ]
    )


def _fetch_failed(request: OffsetFetchRequest, version: int, error: KafkaError) -> OffsetFetchResponse:
    """The error of every group; in version 1, which has no place for it, of every partition."""
    if version >= FIRST_WITH_GROUP_LIST:
        return OffsetFetchResponse(
            groups=[
                OffsetFetchResponseGroup(group_id=group.group_id, error_code=error.code) for group in request.groups
            ]
        )
    if version >= FIRST_WITH_GROUP_ERROR:
        return OffsetFetchResponse(error_code=error.code)
    return OffsetFetchResponse(
        topics=[
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(
                        partition_index=index, committed_offset=-1, metadata="", error_code=error.code
                    )
                    for index in topic.partition_indexes
                ],
            )
            for topic in request.topics or ()
        ]
    )


def _commit_failed(request: OffsetCommitRequest, _version: int, error: KafkaError) -> OffsetCommitResponse:
    return refused_commit(request, error.code)
