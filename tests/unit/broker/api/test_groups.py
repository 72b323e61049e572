"""The group APIs from the handler down to the log on (in-memory) disk, as real Kafka 4.4.0 answered them."""

from __future__ import annotations

from typing import TypeVar

import pytest

from odradek.broker.api.find_coordinator import GROUP, SHARE, TRANSACTION, CoordinatorTopic, FindCoordinatorApi
from odradek.broker.api.group_admin import GroupAdminApi
from odradek.broker.api.group_membership import GroupMembershipApi
from odradek.broker.api.group_offsets import GroupOffsetsApi
from odradek.broker.coordinator.replicated_log import ReplicatedLogs
from odradek.broker.groups.options import GROUP_METADATA_TOPIC, GroupOptions
from odradek.broker.groups.partitions import java_hash, partition_for
from odradek.broker.groups.service import GroupCoordinator
from odradek.broker.replication.partition import Partition
from odradek.broker.topic_creation import TopicCreation, internal_topic
from odradek.ports import Promise
from odradek.server.context import RequestContext
from odradek.server.dispatcher import error_response
from odradek.server.handlers import call
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.create_topics import CreatableTopic
from odradek.wire.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from odradek.wire.messages.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse
from odradek.wire.messages.list_groups import ListGroupsRequest, ListGroupsResponse
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from odradek.wire.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
)
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
)
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse
from odradek.wire.persistent.metadata.register_broker_record import BrokerEndpoint, RegisterBrokerRecord
from odradek.wire.persistent.metadata.unfence_broker_record import UnfenceBrokerRecord
from odradek.wire.schema import Message
from tests.unit.broker.scene import NODE_ID, Scene

Resp = TypeVar("Resp", bound=Message)
PARTITIONS = 5
NOBODY = bytes(16)


class NoController:
    """Remembers what it was asked to create."""

    def __init__(self) -> None:
        self.asked: list[Message] = []

    def send(self, request: Message, response: type[Resp], context: RequestContext | None = None) -> Promise[Resp]:
        self.asked.append(request)
        return Promise()


class GroupScene:
    """A broker with a group coordinator, and a client of it."""

    def __init__(self, *, with_topic: bool = True) -> None:
        self.scene = Scene()
        world, replicas = self.scene.world, self.scene.replicas
        self.coordinator = GroupCoordinator(
            writer=ReplicatedLogs(replicas, world),
            options=GroupOptions(topic_partitions=PARTITIONS),
            clock=world,
            scheduler=world,
            random=world,
        )
        replicas.on_leadership(self._led, self._lost)
        self.controller = NoController()
        creation = TopicCreation(self.controller, lambda name: internal_topic(name, 1, 1, {}), 1000)
        apis = (
            GroupMembershipApi(self.coordinator),
            GroupOffsetsApi(self.coordinator, lambda: replicas.image.topics),
            GroupAdminApi(self.coordinator),
            FindCoordinatorApi(
                lambda: replicas.image,
                creation,
                {GROUP: CoordinatorTopic(GROUP_METADATA_TOPIC, self.coordinator.partition_for)},
            ),
        )
        self.handlers = {handler.request: handler for api in apis for handler in api.handlers()}
        self.topic_id = self.scene.create_topic("orders", partitions=2)
        if with_topic:
            self.scene.create_topic(GROUP_METADATA_TOPIC, partitions=PARTITIONS)
            world.run_soon()

    def _led(self, partition: Partition) -> None:
        if partition.topic_partition.topic == GROUP_METADATA_TOPIC:
            self.coordinator.elected(partition.topic_partition.partition, partition.leader_epoch)

    def _lost(self, partition: Partition) -> None:
        if partition.topic_partition.topic == GROUP_METADATA_TOPIC:
            self.coordinator.resigned(partition.topic_partition.partition, partition.leader_epoch)

    def ask(self, request: Message, response: type[Resp], version: int, *, after_ms: float = 0) -> Resp:
        """The answer as the client reads it, `after_ms` later; it has to be encodable in this version."""
        handler = self.handlers[type(request)]
        sent = type(request).decode(request.encode(version), version)
        try:
            answer = call(handler, self.scene.context(handler, version), sent)
            if isinstance(answer, Promise):
                self.scene.world.advance(after_ms)
                answer = answer.result()
        except KafkaError as error:
            answer = error_response(handler, version, sent, error)
        assert isinstance(answer, Message)
        return response.decode(answer.encode(version), version)

    def commit(self, version: int, topics: list[OffsetCommitRequestTopic], group: str = "g") -> OffsetCommitResponse:
        """Commit as somebody without a generation."""
        return self.ask(OffsetCommitRequest(group_id=group, topics=topics), OffsetCommitResponse, version)


def commit_topic(*partitions: int, offset: int = 5, **topic: object) -> OffsetCommitRequestTopic:
    """A topic of an OffsetCommit."""
    entries = [OffsetCommitRequestPartition(partition_index=index, committed_offset=offset) for index in partitions]
    return OffsetCommitRequestTopic(partitions=entries, **topic)  # type: ignore[arg-type] # name or topic_id


def codes(response: OffsetCommitResponse) -> list[list[tuple[int, int]]]:
    """(partition, error code) of each topic."""
    return [[(entry.partition_index, entry.error_code) for entry in topic.partitions] for topic in response.topics]


@pytest.mark.parametrize(
    ("text", "hash_code", "partition"),
    [
        ("", 0, 0),
        ("g1", 3242, 42),
        ("a-much-longer-group.id_42", 711039139, 39),
        ("grüße", 98768023, 23),
        ("🙂", 1772965, 15),
    ],
)
def test_keys_go_to_the_partitions_that_java_sends_them_to(text: str, hash_code: int, partition: int) -> None:
    assert java_hash(text) == hash_code
    assert partition_for(text, 50) == partition


def test_the_partition_of_the_smallest_hash_is_the_first() -> None:
    assert java_hash("polygenelubricants") == -(2**31)
    assert partition_for("polygenelubricants", 50) == 0


def test_commit_by_name() -> None:
    groups = GroupScene()
    response = groups.commit(9, [commit_topic(0, 9, name="orders"), commit_topic(0, name="nope")])
    assert [topic.name for topic in response.topics] == ["orders", "nope"]
    assert codes(response) == [
        [(9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), (0, ErrorCode.NONE)],
        [(0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)],
    ]


def test_commit_by_id() -> None:
    groups = GroupScene()
    topics = [commit_topic(0, topic_id=b"1" * 16), commit_topic(7, 1, topic_id=groups.topic_id)]
    response = groups.commit(10, [*topics, commit_topic(0, topic_id=NOBODY)])
    assert [topic.topic_id for topic in response.topics] == [b"1" * 16, groups.topic_id, NOBODY]
    assert codes(response) == [
        [(0, ErrorCode.UNKNOWN_TOPIC_ID)],
        [(7, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), (1, ErrorCode.NONE)],
        [(0, ErrorCode.UNKNOWN_TOPIC_ID)],
    ]


def test_a_commit_that_fails_as_a_whole_says_so_for_each_partition() -> None:
    groups = GroupScene()
    request = OffsetCommitRequest(
        group_id="g", generation_id_or_member_epoch=1, member_id="m", topics=[commit_topic(0, 1, name="orders")]
    )
    response = groups.ask(request, OffsetCommitResponse, 9)
    assert codes(response) == [[(0, ErrorCode.GROUP_ID_NOT_FOUND), (1, ErrorCode.GROUP_ID_NOT_FOUND)]]


def test_fetch_by_name_for_several_groups() -> None:
    groups = GroupScene()
    groups.commit(9, [commit_topic(0, 1, name="orders")])
    wanted = [OffsetFetchRequestTopics(name=name, partition_indexes=[0, 7]) for name in ("orders", "nope")]
    request = OffsetFetchRequest(
        groups=[
            OffsetFetchRequestGroup(group_id="g", topics=wanted),
            OffsetFetchRequestGroup(group_id="none", topics=wanted[:1]),
            OffsetFetchRequestGroup(group_id="g", topics=None),
            OffsetFetchRequestGroup(group_id="none", topics=None),
        ],
        require_stable=True,
    )
    response = groups.ask(request, OffsetFetchResponse, 9)
    found = [
        [(topic.name, [entry.committed_offset for entry in topic.partitions]) for topic in group.topics]
        for group in response.groups
    ]
    assert found == [
        [("orders", [5, -1]), ("nope", [-1, -1])],
        [("orders", [-1, -1])],
        [("orders", [5, 5])],
        [],
    ]
    assert {group.error_code for group in response.groups} == {ErrorCode.NONE}


def test_fetch_by_id() -> None:
    groups = GroupScene()
    groups.commit(10, [commit_topic(0, topic_id=groups.topic_id)])
    wanted = [
        OffsetFetchRequestTopics(topic_id=topic_id, partition_indexes=[0]) for topic_id in (NOBODY, groups.topic_id)
    ]
    request = OffsetFetchRequest(
        groups=[
            OffsetFetchRequestGroup(group_id="g", topics=wanted),
            OffsetFetchRequestGroup(group_id="g", topics=None),
        ]
    )
    some, everything = groups.ask(request, OffsetFetchResponse, 10).groups
    assert [(topic.topic_id, topic.partitions[0].error_code) for topic in some.topics] == [
        (groups.topic_id, ErrorCode.NONE),
        (NOBODY, ErrorCode.UNKNOWN_TOPIC_ID),
    ]
    assert [(topic.topic_id, topic.partitions[0].committed_offset) for topic in everything.topics] == [
        (groups.topic_id, 5)
    ]


@pytest.mark.parametrize("version", range(1, 8))
def test_fetch_for_one_group(version: int) -> None:
    groups = GroupScene()
    groups.commit(2, [commit_topic(0, name="orders")])
    request = OffsetFetchRequest(
        group_id="g", topics=[OffsetFetchRequestTopic(name="orders", partition_indexes=[0, 1])]
    )
    (topic,) = groups.ask(request, OffsetFetchResponse, version).topics
    assert [(entry.committed_offset, entry.metadata) for entry in topic.partitions] == [(5, ""), (-1, "")]


@pytest.mark.parametrize("version", [1, 2, 8])
def test_a_fetch_from_the_wrong_broker(version: int) -> None:
    groups = GroupScene(with_topic=False)
    one = [OffsetFetchRequestTopic(name="orders", partition_indexes=[0])]
    if version == 8:
        batch = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id="g", topics=None)])
        code = groups.ask(batch, OffsetFetchResponse, version).groups[0].error_code
    else:
        response = groups.ask(OffsetFetchRequest(group_id="g", topics=one), OffsetFetchResponse, version)
        code = response.error_code if version == 2 else response.topics[0].partitions[0].error_code
    assert code == ErrorCode.NOT_COORDINATOR


def test_offset_delete_tells_unknown_partitions_first() -> None:
    groups = GroupScene()
    groups.commit(9, [commit_topic(0, name="orders")])
    topics = [
        OffsetDeleteRequestTopic(
            name=name, partitions=[OffsetDeleteRequestPartition(partition_index=index) for index in indexes]
        )
        for name, indexes in (("orders", (0, 9)), ("nope", (0,)))
    ]
    response = groups.ask(OffsetDeleteRequest(group_id="g", topics=topics), OffsetDeleteResponse, 0)
    assert [[(entry.partition_index, entry.error_code) for entry in topic.partitions] for topic in response.topics] == [
        [(9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), (0, ErrorCode.NONE)],
        [(0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)],
    ]
    missing = groups.ask(OffsetDeleteRequest(group_id="none", topics=topics), OffsetDeleteResponse, 0)
    assert (missing.error_code, missing.topics) == (ErrorCode.GROUP_ID_NOT_FOUND, [])


def join_request(member_id: str = "", group: str = "g") -> JoinGroupRequest:
    """A JoinGroup of a consumer."""
    return JoinGroupRequest(
        group_id=group,
        session_timeout_ms=10_000,
        rebalance_timeout_ms=60_000,
        member_id=member_id,
        protocol_type="consumer",
        protocols=[JoinGroupRequestProtocol(name="range", metadata=b"meta")],
    )


@pytest.mark.parametrize("version", range(10))
def test_a_member_lives_in_every_version(version: int) -> None:
    groups = GroupScene()
    member_id = ""
    if version >= 4:
        first = groups.ask(join_request(), JoinGroupResponse, version)
        assert first.error_code == ErrorCode.MEMBER_ID_REQUIRED
        assert first.protocol_name == (None if version >= 7 else "")
        member_id = first.member_id
    joined = groups.ask(join_request(member_id), JoinGroupResponse, version, after_ms=3000)
    assert (joined.error_code, joined.generation_id, joined.protocol_name) == (ErrorCode.NONE, 1, "range")
    assert joined.protocol_type == ("consumer" if version >= 7 else None)
    member_id = joined.member_id
    sync = SyncGroupRequest(
        group_id="g",
        generation_id=1,
        member_id=member_id,
        assignments=[SyncGroupRequestAssignment(member_id=member_id, assignment=b"all")],
    )
    if version >= 5:
        assert groups.ask(sync, SyncGroupResponse, 5).error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        sync.protocol_type, sync.protocol_name = "consumer", "range"
    assert groups.ask(sync, SyncGroupResponse, min(version, 5)).assignment == b"all"
    beat = HeartbeatRequest(group_id="g", generation_id=1, member_id=member_id)
    assert groups.ask(beat, HeartbeatResponse, min(version, 4)).error_code == ErrorCode.NONE
    described = groups.ask(DescribeGroupsRequest(groups=["g"]), DescribeGroupsResponse, min(version, 6)).groups[0]
    assert (described.group_state, described.members[0].client_host) == ("Stable", "/127.0.0.1")


@pytest.mark.parametrize("version", [0, 1, 2])
def test_leaving_alone(version: int) -> None:
    groups = GroupScene()
    member_id = groups.ask(join_request(), JoinGroupResponse, 3, after_ms=3000).member_id

    def leave(group: str, member: str) -> int:
        request = LeaveGroupRequest(group_id=group, member_id=member)
        return groups.ask(request, LeaveGroupResponse, version).error_code

    assert leave("", member_id) == ErrorCode.INVALID_GROUP_ID
    assert leave("none", member_id) == ErrorCode.UNKNOWN_MEMBER_ID
    assert leave("g", "stranger") == ErrorCode.UNKNOWN_MEMBER_ID
    assert leave("g", member_id) == ErrorCode.NONE


def test_describing_groups_with_operations() -> None:
    groups = GroupScene()
    groups.commit(9, [commit_topic(0, name="orders")])
    request = DescribeGroupsRequest(groups=["g", "none"], include_authorized_operations=True)
    answers = {group.group_id: group for group in groups.ask(request, DescribeGroupsResponse, 6).groups}
    assert (answers["g"].group_state, answers["g"].authorized_operations) == ("Empty", 3400)
    missing = answers["none"]
    assert (missing.error_code, missing.error_message) == (ErrorCode.GROUP_ID_NOT_FOUND, "Group none not found.")
    assert (missing.group_state, missing.authorized_operations) == ("Dead", -(2**31))
    (old,) = groups.ask(DescribeGroupsRequest(groups=["none"]), DescribeGroupsResponse, 5).groups
    assert (old.error_code, old.group_state) == (ErrorCode.NONE, "Dead")


def test_listing_and_deleting_groups() -> None:
    groups = GroupScene()
    for name in ("a", "b", "c", ""):
        groups.commit(9, [commit_topic(0, name="orders")], group=name)
    listed = groups.ask(ListGroupsRequest(), ListGroupsResponse, 5).groups
    assert sorted(group.group_id for group in listed) == ["", "a", "b", "c"]
    assert {group.group_type for group in listed} == {"classic"}
    request = DeleteGroupsRequest(groups_names=["a", "a", "none", ""])
    results = groups.ask(request, DeleteGroupsResponse, 2).results
    assert {result.group_id: result.error_code for result in results} == {
        "a": ErrorCode.NONE,
        "none": ErrorCode.GROUP_ID_NOT_FOUND,
        "": ErrorCode.NONE,
    }
    listed = groups.ask(ListGroupsRequest(states_filter=["Empty"]), ListGroupsResponse, 4).groups
    assert sorted(group.group_id for group in listed) == ["b", "c"]


def with_broker(groups: GroupScene) -> None:
    """Register this broker, so that it can be found."""
    groups.scene.apply(
        RegisterBrokerRecord(
            broker_id=NODE_ID,
            broker_epoch=1,
            end_points=[BrokerEndpoint(name="PLAINTEXT", host="here", port=9092)],
        ),
        UnfenceBrokerRecord(id=NODE_ID, epoch=1),
    )


def find(groups: GroupScene, version: int, *keys: str, key_type: int = GROUP) -> FindCoordinatorResponse:
    """Send a FindCoordinator."""
    request = FindCoordinatorRequest(key_type=key_type)
    if version >= 4:
        request.coordinator_keys = list(keys)
    else:
        (request.key,) = keys
    return groups.ask(request, FindCoordinatorResponse, version)


def test_finding_coordinators() -> None:
    groups = GroupScene()
    with_broker(groups)
    found = find(groups, 4, "g1", "g2", "").coordinators
    assert [(entry.key, entry.node_id, entry.host, entry.port, entry.error_code) for entry in found] == [
        (key, NODE_ID, "here", 9092, ErrorCode.NONE) for key in ("g1", "g2", "")
    ]
    assert {entry.error_message for entry in found} == {""}
    old = find(groups, 3, "g1")
    assert (old.node_id, old.host, old.port, old.error_code, old.error_message) == (NODE_ID, "here", 9092, 0, "NONE")


def test_a_missing_topic_is_created_and_the_client_asks_again() -> None:
    groups = GroupScene(with_topic=False)
    with_broker(groups)
    (found,) = find(groups, 4, "g1").coordinators
    assert (found.node_id, found.host, found.port) == (-1, "", -1)
    assert (found.error_code, found.error_message) == (ErrorCode.COORDINATOR_NOT_AVAILABLE, "")
    (asked,) = groups.controller.asked
    created: list[CreatableTopic] = asked.topics  # type: ignore[attr-defined] # it is a CreateTopicsRequest
    assert [topic.name for topic in created] == [GROUP_METADATA_TOPIC]
    assert find(groups, 0, "g1").error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE


def test_no_broker_is_alive_to_coordinate() -> None:
    groups = GroupScene()
    (found,) = find(groups, 4, "g1").coordinators
    assert found.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE


@pytest.mark.parametrize(
    ("version", "key_type", "key", "code"),
    [
        (4, TRANSACTION, "t", ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (5, SHARE, "g:AAAAAAAAAAAAAAAAAAAAAA:1", ErrorCode.INVALID_REQUEST),
        (6, SHARE, "g:AAAAAAAAAAAAAAAAAAAAAA:1", ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (6, SHARE, "a:b:1", ErrorCode.INVALID_REQUEST),
        (6, 9, "g", ErrorCode.INVALID_REQUEST),
    ],
)
def test_coordinators_of_other_kinds(version: int, key_type: int, key: str, code: ErrorCode) -> None:
    groups = GroupScene()
    with_broker(groups)
    (found,) = find(groups, version, key, key_type=key_type).coordinators
    assert (found.error_code, found.node_id, found.port) == (code, -1, -1)


def test_a_restarted_broker_reads_its_groups_from_disk() -> None:
    groups = GroupScene()
    groups.commit(9, [commit_topic(0, 1, offset=8, name="orders")])
    for index in range(PARTITIONS):
        groups.coordinator.resigned(index, None)
        groups.coordinator.elected(index, 0)
    groups.scene.world.run_soon()
    request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id="g", topics=None)])
    (group,) = groups.ask(request, OffsetFetchResponse, 8).groups
    assert [entry.committed_offset for entry in group.topics[0].partitions] == [8, 8]


def test_deleting_the_topic_of_the_groups_ends_them() -> None:
    groups = GroupScene(with_topic=False)
    topic_id = groups.scene.create_topic(GROUP_METADATA_TOPIC, partitions=PARTITIONS)
    groups.scene.world.run_soon()
    groups.commit(9, [commit_topic(0, name="orders")])
    groups.scene.delete_topic(topic_id)
    assert codes(groups.commit(9, [commit_topic(0, name="orders")])) == [[(0, ErrorCode.NOT_COORDINATOR)]]
