"""Consumer groups of KIP-848, heartbeat by heartbeat."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from odradek.wire.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
)
from odradek.wire.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse
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
from odradek.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse
from odradek.wire.uuids import Uuid
from tests.support.consumer_groups import RawConsumer, describe_consumers, set_group_config
from tests.support.groups import committed
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import await_coordinator, code, connect, create_topic, metadata
from tests.support.wire import Connection

Unique = Callable[[str], str]
NewTopic = Callable[..., str]
NewConsumer = Callable[..., RawConsumer]


@pytest.fixture
def group(connection: Connection, unique: Unique) -> str:
    """A group id whose coordinator answers."""
    name = unique("group")
    await_coordinator(connection, name)
    return name


@pytest.fixture
def new_consumer(connection: Connection, group: str) -> NewConsumer:
    """Makes members of this test's group."""

    def make(*topics: str, **options: object) -> RawConsumer:
        return RawConsumer(connection, group, *topics, **options)  # type: ignore[arg-type]  # passed on as they are

    return make


def topic_id(connection: Connection, topic: str) -> Uuid:
    return metadata(connection, topic).topic_id


def commit(
    consumer: RawConsumer, topic: str, offset: int, *, partition: int = 0, epoch: int | None = None, version: int = 9
) -> str:
    wanted = OffsetCommitRequestPartition(partition_index=partition, committed_offset=offset)
    request = OffsetCommitRequest(
        group_id=consumer.group,
        generation_id_or_member_epoch=consumer.epoch if epoch is None else epoch,
        member_id=consumer.member_id,
        topics=[OffsetCommitRequestTopic(name=topic, partitions=[wanted])],
    )
    answer = consumer.connection.call(request, OffsetCommitResponse, version)
    return code(answer.topics[0].partitions[0].error_code)


def test_one_member_gets_everything(
    connection: Connection, group: str, new_topic: NewTopic, new_consumer: NewConsumer
) -> None:
    """The first heartbeat is answered with epoch, interval and assignment, the next with no assignment."""
    topic = new_topic(partitions=3)
    consumer = new_consumer(topic)
    answer = consumer.join()
    assert (code(answer.error_code), answer.member_epoch, answer.heartbeat_interval_ms) == ("NONE", 2, 200)
    assert (answer.member_id, answer.error_message) == (consumer.member_id, None)
    assert consumer.owned == {topic_id(connection, topic): [0, 1, 2]}
    assert consumer.send().assignment is None
    full = consumer.beat(rebalance_timeout_ms=1000, subscribed_topic_names=[topic])
    assert full.assignment is not None


def test_the_broker_names_members_before_version_1(
    connection: Connection, group: str, new_topic: NewTopic, new_consumer: NewConsumer
) -> None:
    """22 characters of base64."""
    from odradek.wire.messages.consumer_group_heartbeat import (
        ConsumerGroupHeartbeatRequest,
        ConsumerGroupHeartbeatResponse,
    )

    request = ConsumerGroupHeartbeatRequest(
        group_id=group,
        member_epoch=0,
        rebalance_timeout_ms=1000,
        subscribed_topic_names=[new_topic()],
        topic_partitions=[],
    )
    answer = connection.call(request, ConsumerGroupHeartbeatResponse, 0)
    assert (code(answer.error_code), len(answer.member_id or "")) == ("NONE", 22)


def test_members_share_and_hand_over(new_topic: NewTopic, new_consumer: NewConsumer) -> None:
    """A second member waits for what the first one gives up, step by step."""
    topic = new_topic(partitions=4)
    first, second = new_consumer(topic), new_consumer(topic)
    first.join()
    answer = second.join()
    assert (answer.member_epoch, second.count()) == (3, 0)
    assert answer.assignment is not None
    # The first one is told what it may keep, in its old epoch, until it says that it has given up the rest.
    held = dict(first.owned)
    told = first.send(topic_partitions=None)
    assert told.assignment is not None
    assert (told.member_epoch, sum(len(entry.partitions) for entry in told.assignment.topic_partitions)) == (2, 2)
    second.beat()
    assert second.count() == 0
    first.owned = held
    assert first.beat().member_epoch == 2
    first.owned = {entry.topic_id: sorted(entry.partitions) for entry in told.assignment.topic_partitions}
    assert first.beat().member_epoch == 3
    second.beat()
    assert (first.count(), second.count()) == (2, 2)
    assert second.leave().member_epoch == -1
    first.settle()
    assert first.count() == 4


def test_describe_shows_states_members_and_targets(
    connection: Connection, group: str, new_topic: NewTopic, new_consumer: NewConsumer
) -> None:
    """Stable, Reconciling, Empty; assignment and target of each member."""
    topic = new_topic(partitions=2)
    first, second = new_consumer(topic), new_consumer(topic)
    first.join(rack_id="r1", server_assignor="range")
    found = describe_consumers(connection, group)
    assert (found.group_state, found.group_epoch, found.assignment_epoch, found.assignor_name) == (
        "Stable",
        2,
        2,
        "range",
    )
    (member,) = found.members
    assert (member.member_id, member.member_epoch, member.rack_id, member.instance_id) == (
        first.member_id,
        2,
        "r1",
        None,
    )
    assert (member.subscribed_topic_names, member.subscribed_topic_regex, member.member_type) == ([topic], "", 1)
    assert member.client_host.startswith("/127.")
    (assigned,) = member.assignment.topic_partitions
    assert (assigned.topic_name, sorted(assigned.partitions)) == (topic, [0, 1])
    second.join()
    found = describe_consumers(connection, group)
    assert (found.group_state, found.group_epoch) == ("Reconciling", 3)
    targets = {member.member_id: member.target_assignment.topic_partitions for member in found.members}
    assert [len(entry[0].partitions) for entry in targets.values()] == [1, 1]
    first.leave()
    second.leave()
    found = describe_consumers(connection, group)
    assert (found.group_state, found.group_epoch, found.assignment_epoch, found.members) == ("Empty", 5, 5, [])


def test_describe_what_is_no_consumer_group(connection: Connection, unique: Unique, new_topic: NewTopic) -> None:
    """GROUP_ID_NOT_FOUND with a reason, and INVALID_GROUP_ID for no name."""
    missing, classic = unique("missing"), unique("classic")
    await_coordinator(connection, missing)
    await_coordinator(connection, classic)
    answer = describe_consumers(connection, missing)
    assert (code(answer.error_code), answer.error_message) == ("GROUP_ID_NOT_FOUND", f"Group {missing} not found.")
    simple = RawConsumer(connection, classic)
    simple.member_id = ""
    assert commit(simple, new_topic(), 1, epoch=-1) == "NONE"
    answer = describe_consumers(connection, classic)
    assert (code(answer.error_code), answer.error_message) == (
        "GROUP_ID_NOT_FOUND",
        f"Group {classic} is not a consumer group.",
    )
    assert code(describe_consumers(connection, "").error_code) == "INVALID_GROUP_ID"


def test_groups_are_listed_by_type_and_state(
    connection: Connection, group: str, new_topic: NewTopic, new_consumer: NewConsumer
) -> None:
    """ListGroups from version 4 on filters by state, from 5 on by type."""
    consumer = new_consumer(new_topic())
    consumer.join()

    def listed(**filters: list[str]) -> list[tuple[str, str, str]]:
        request = ListGroupsRequest(**filters)  # type: ignore[arg-type]  # fields by name
        groups = connection.call(request, ListGroupsResponse, 5).groups
        return [
            (entry.protocol_type, entry.group_state, entry.group_type) for entry in groups if entry.group_id == group
        ]

    assert listed() == listed(types_filter=["Consumer"]) == listed(states_filter=["stable"])
    assert listed() == [("consumer", "Stable", "consumer")]
    assert listed(types_filter=["classic"]) == listed(states_filter=["Empty"]) == []
    answer = connection.call(DescribeGroupsRequest(groups=[group]), DescribeGroupsResponse, 6).groups[0]
    assert (code(answer.error_code), answer.group_state) == ("GROUP_ID_NOT_FOUND", "Dead")
    assert answer.error_message == f"Group {group} is not a classic group."


INVALID = [
    ({"member_id": ""}, "INVALID_REQUEST", "MemberId can't be empty."),
    ({"group_id": " "}, "INVALID_REQUEST", "GroupId can't be empty."),
    ({"instance_id": ""}, "INVALID_REQUEST", "InstanceId can't be empty."),
    ({"rack_id": ""}, "INVALID_REQUEST", "RackId can't be empty."),
    ({"rebalance_timeout_ms": -1}, "INVALID_REQUEST", "RebalanceTimeoutMs must be provided in first request."),
    ({"topic_partitions": None}, "INVALID_REQUEST", "TopicPartitions must be empty when (re-)joining."),
    (
        {"subscribed_topic_names": None},
        "INVALID_REQUEST",
        "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
    ),
    ({"member_epoch": -2}, "INVALID_REQUEST", "InstanceId can't be null."),
    ({"member_epoch": -3}, "INVALID_REQUEST", "MemberEpoch is invalid."),
    (
        {"server_assignor": "best"},
        "UNSUPPORTED_ASSIGNOR",
        "ServerAssignor best is not supported. Supported assignors: uniform, range.",
    ),
    (
        {"subscribed_topic_regex": "a("},
        "INVALID_REGULAR_EXPRESSION",
        "SubscribedTopicRegex `a(` is not a valid regular expression: missing closing ).",
    ),
]


@pytest.mark.parametrize(("changes", "error", "message"), INVALID, ids=[text for _, _, text in INVALID])
def test_invalid_requests(
    new_topic: NewTopic, new_consumer: NewConsumer, changes: dict[str, object], error: str, message: str
) -> None:
    """Each with its text."""
    answer = new_consumer(new_topic()).join(**changes)
    assert (code(answer.error_code), answer.error_message) == (error, message)


def test_epochs_and_members_that_the_group_does_not_know(
    connection: Connection, group: str, new_topic: NewTopic, new_consumer: NewConsumer
) -> None:
    """GROUP_ID_NOT_FOUND, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH; the previous epoch is good with what is assigned."""
    topic = new_topic(partitions=2)
    consumer = new_consumer(topic)
    consumer.epoch = 5
    answer = consumer.send()
    assert (code(answer.error_code), answer.error_message) == (
        "GROUP_ID_NOT_FOUND",
        f"Consumer group {group} not found.",
    )
    assert code(consumer.leave().error_code) == "GROUP_ID_NOT_FOUND"
    consumer.join()
    stranger = new_consumer(topic)
    stranger.epoch = 1
    answer = stranger.send()
    assert code(answer.error_code) == "UNKNOWN_MEMBER_ID"
    assert answer.error_message == f"Member {stranger.member_id} is not a member of group {group}."
    assert code(stranger.leave().error_code) == "UNKNOWN_MEMBER_ID"
    ahead = consumer.send(member_epoch=9)
    assert code(ahead.error_code) == "FENCED_MEMBER_EPOCH"
    assert ahead.error_message == (
        "The consumer group member has a greater member epoch (9) than the one known by the group coordinator (2). "
        "The member must abandon all its partitions and rejoin."
    )
    assert code(consumer.send(member_epoch=1).error_code) == "FENCED_MEMBER_EPOCH"
    consumer.beat(subscribed_topic_names=[topic, new_topic()])
    assert consumer.epoch == 3
    consumer.epoch = 2
    assert code(consumer.send().error_code) == "FENCED_MEMBER_EPOCH"
    assert consumer.beat().member_epoch == 3
    # Joining again under the same id is fine in any epoch.
    assert code(consumer.join().error_code) == "NONE"


def test_a_full_group_takes_nobody(new_topic: NewTopic, new_consumer: NewConsumer) -> None:
    """GROUP_MAX_SIZE_REACHED with the limit; those who are in may join again."""
    topic = new_topic()
    members = [new_consumer(topic) for _ in range(6)]
    for member in members:
        assert code(member.join().error_code) == "NONE"
    answer = new_consumer(topic).join()
    assert (code(answer.error_code), answer.error_message) == (
        "GROUP_MAX_SIZE_REACHED",
        "The consumer group has reached its maximum capacity of 6 members.",
    )
    assert code(members[2].join().error_code) == "NONE"


def test_silent_members_are_out(
    connection: Connection, group: str, new_topic: NewTopic, new_consumer: NewConsumer
) -> None:
    """After `consumer.session.timeout.ms` of the group; `consumer.heartbeat.interval.ms` is told to members."""
    topic = new_topic(partitions=2)
    first, second = new_consumer(topic), new_consumer(topic)
    first.join()
    set_group_config(
        connection,
        group,
        lambda: first.send().heartbeat_interval_ms == 150,
        consumer_session_timeout_ms="1000",
        consumer_heartbeat_interval_ms="150",
    )
    second.join()
    wait_for(lambda: first.beat().member_epoch == 4, "the other's session ends")
    assert first.count() == 2
    assert code(second.beat().error_code) == "UNKNOWN_MEMBER_ID"


def test_who_does_not_give_up_in_time_is_out(new_topic: NewTopic, new_consumer: NewConsumer) -> None:
    """The rebalance time-out counts from when the member is told to give up partitions."""
    topic = new_topic(partitions=2)
    slow, other = new_consumer(topic), new_consumer(topic)
    slow.join(rebalance_timeout_ms=600)
    slow.settle()
    assert slow.count() == 2
    other.join()
    wait_for(lambda: slow.send().assignment is not None, "the slow member is told")

    def is_out() -> bool:
        other.beat()
        return code(slow.send().error_code) == "UNKNOWN_MEMBER_ID"

    wait_for(is_out, "the slow member's rebalance time-out")
    other.settle()
    assert other.count() == 2


def test_static_members_come_back_to_what_they_had(
    connection: Connection, group: str, new_topic: NewTopic, new_consumer: NewConsumer
) -> None:
    """-2 keeps the place; UNRELEASED_INSTANCE_ID while it is taken; the old member is fenced."""
    topic = new_topic(partitions=4)
    first, other = new_consumer(topic, instance="one"), new_consumer(topic, instance="two")
    first.join()
    other.join()
    first.settle(other)
    had = dict(first.owned)
    successor = new_consumer(topic, instance="one")
    answer = successor.join()
    assert code(answer.error_code) == "UNRELEASED_INSTANCE_ID"
    assert answer.error_message == (
        f"Static member {successor.member_id} with instance id one cannot join the group because the instance id is "
        f"owned by {first.member_id} member."
    )
    assert first.leave(-2).member_epoch == -2
    assert code(other.beat().error_code) == "NONE"
    assert successor.join().member_epoch == first.epoch
    assert successor.owned == had
    answer = first.send()
    assert code(answer.error_code) == "FENCED_INSTANCE_ID"
    assert answer.error_message == (
        f"Static member {first.member_id} with instance id one was fenced by member {successor.member_id}."
    )
    stranger = new_consumer(topic, instance="three")
    stranger.epoch = 2
    answer = stranger.send()
    assert (code(answer.error_code), answer.error_message) == ("UNKNOWN_MEMBER_ID", "Instance id three is unknown.")
    described = describe_consumers(connection, group)
    assert sorted(member.instance_id or "" for member in described.members) == ["one", "two"]
    assert successor.leave(-1).member_epoch == -1
    other.settle()
    assert other.count() == 4


def test_range_gives_the_same_places_of_topics_to_the_same_member(
    new_topic: NewTopic, new_consumer: NewConsumer
) -> None:
    """By member id, but static members first."""
    topics = [new_topic(partitions=3), new_topic(partitions=3)]
    members = [new_consumer(*topics), new_consumer(*topics, instance="z")]
    for member in members:
        member.join(server_assignor="range")
    members[0].settle(*members[1:])
    assert [sorted(member.owned.values()) for member in members] == [[[2], [2]], [[0, 1], [0, 1]]]


@pytest.mark.parametrize("assignor", ["uniform", "range"])
def test_members_with_different_topics(
    new_topic: NewTopic, new_consumer: NewConsumer, connection: Connection, assignor: str
) -> None:
    """Nobody gets what it does not read, and everything is read."""
    shared, single = new_topic(partitions=4), new_topic(partitions=2)
    both, one = new_consumer(shared, single), new_consumer(shared)
    both.join(server_assignor=assignor)
    one.join(server_assignor=assignor)
    both.settle(one)
    assert topic_id(connection, single) not in one.owned
    assert (both.count() + one.count(), len(both.owned[topic_id(connection, single)])) == (6, 2)
    if assignor == "uniform":
        assert (both.count(), one.count()) == (3, 3)


def test_new_partitions_new_topics_and_deleted_ones(
    connection: Connection, unique: Unique, new_topic: NewTopic, new_consumer: NewConsumer
) -> None:
    """The group follows with its next heartbeats."""
    topic, later = new_topic(partitions=1), unique("later")
    consumer = new_consumer(topic, later)
    consumer.join()
    wait_for(lambda: (consumer.beat(), consumer.count() == 1)[1], "the partition is assigned")
    grow = CreatePartitionsRequest(
        topics=[CreatePartitionsTopic(name=topic, count=3, assignments=None)], timeout_ms=10_000
    )
    assert code(connection.call(grow, CreatePartitionsResponse).results[0].error_code) == "NONE"
    wait_for(lambda: (consumer.beat(), consumer.count() == 3)[1], "new partitions are assigned")
    create_topic(connection, later, 2)
    wait_for(lambda: (consumer.beat(), consumer.count() == 5)[1], "the new topic is assigned")
    drop = DeleteTopicsRequest(topics=[DeleteTopicState(name=topic)], timeout_ms=10_000)
    assert code(connection.call(drop, DeleteTopicsResponse).responses[0].error_code) == "NONE"
    wait_for(lambda: (consumer.beat(), consumer.count() == 2)[1], "the deleted topic is gone")


def test_regular_expressions(connection: Connection, group: str, unique: Unique, new_consumer: NewConsumer) -> None:
    """Resolved by the broker, in RE2's syntax and over whole names; names count beside it."""
    stem = unique("t")
    for name, partitions in ((f"{stem}-a1", 1), (f"{stem}-a2", 2), (f"{stem}-b", 4)):
        create_topic(connection, name, partitions)
    consumer = new_consumer(regex=f"{stem}-a\\d")
    consumer.topics = None
    answer = consumer.join()
    assert code(answer.error_code) == "NONE"
    wait_for(lambda: (consumer.beat(), consumer.count() == 3)[1], "the expression is resolved")
    (member,) = describe_consumers(connection, group).members
    assert (member.subscribed_topic_names, member.subscribed_topic_regex) == ([], f"{stem}-a\\d")
    consumer.beat(subscribed_topic_names=[f"{stem}-b"])
    wait_for(lambda: (consumer.beat(), consumer.count() == 7)[1], "the topic by name comes on top")
    # Another member with the same expression profits from what is known.
    other = new_consumer(regex=f"{stem}-a\\d")
    other.topics = []
    other.join()
    consumer.settle(other)
    assert sorted((consumer.count(), other.count())) == [3, 4]
    consumer.beat(subscribed_topic_regex="")
    consumer.settle(other)
    assert (consumer.count(), other.count()) == (4, 3)


def test_commits_with_member_epochs(
    connection: Connection, group: str, new_topic: NewTopic, new_consumer: NewConsumer
) -> None:
    """STALE_MEMBER_EPOCH, UNKNOWN_MEMBER_ID, and UNSUPPORTED_VERSION for versions that know no epochs."""
    topic = new_topic(partitions=2)
    consumer = new_consumer(topic)
    consumer.join()
    assert commit(consumer, topic, 5) == "NONE"
    assert committed(connection, group, topic).committed_offset == 5
    assert commit(consumer, topic, 6, epoch=1) == "STALE_MEMBER_EPOCH"
    assert commit(consumer, topic, 6, epoch=9) == "STALE_MEMBER_EPOCH"
    assert commit(consumer, topic, 6, version=8) == "UNSUPPORTED_VERSION"
    stranger = new_consumer(topic)
    assert commit(stranger, topic, 6, epoch=2) == "UNKNOWN_MEMBER_ID"
    stranger.member_id = ""
    assert commit(stranger, topic, 6, epoch=-1) == "UNKNOWN_MEMBER_ID"
    assert committed(connection, group, topic).committed_offset == 5
    # An older epoch is good for partitions that the member has had since (KIP-1251).
    consumer.beat(subscribed_topic_names=[topic, new_topic()])
    assert consumer.epoch == 3
    assert commit(consumer, topic, 7, epoch=2) == "NONE"
    consumer.leave()
    assert commit(stranger, topic, 8, epoch=-1) == "NONE"


def test_fetching_offsets_with_member_epochs(
    connection: Connection, group: str, new_topic: NewTopic, new_consumer: NewConsumer
) -> None:
    """OffsetFetch from version 9 on says who asks."""
    topic = new_topic()
    consumer = new_consumer(topic)
    consumer.join()

    def fetch(member_id: str | None, epoch: int) -> str:
        wanted = OffsetFetchRequestGroup(group_id=group, member_id=member_id, member_epoch=epoch, topics=None)
        answer = connection.call(OffsetFetchRequest(groups=[wanted]), OffsetFetchResponse, 9)
        return code(answer.groups[0].error_code)

    assert fetch(consumer.member_id, consumer.epoch) == "NONE"
    assert fetch(None, -1) == "NONE"
    assert fetch(consumer.member_id, 1) == "STALE_MEMBER_EPOCH"
    assert fetch(consumer.member_id, 9) == "STALE_MEMBER_EPOCH"
    assert fetch("stranger", 2) == "UNKNOWN_MEMBER_ID"


def test_deleting_offsets_and_groups(
    connection: Connection, group: str, new_topic: NewTopic, new_consumer: NewConsumer
) -> None:
    """GROUP_SUBSCRIBED_TO_TOPIC and NON_EMPTY_GROUP while there are members."""
    topic, other = new_topic(), new_topic()
    consumer = new_consumer(topic)
    consumer.join()
    assert commit(consumer, topic, 1) == "NONE"
    assert commit(consumer, other, 1) == "NONE"

    def delete(name: str) -> str:
        wanted = OffsetDeleteRequestTopic(name=name, partitions=[OffsetDeleteRequestPartition(partition_index=0)])
        answer = connection.call(OffsetDeleteRequest(group_id=group, topics=[wanted]), OffsetDeleteResponse)
        assert code(answer.error_code) == "NONE"
        return code(answer.topics[0].partitions[0].error_code)

    def drop() -> str:
        return code(
            connection.call(DeleteGroupsRequest(groups_names=[group]), DeleteGroupsResponse).results[0].error_code
        )

    assert delete(topic) == "GROUP_SUBSCRIBED_TO_TOPIC"
    assert delete(other) == "NONE"
    assert committed(connection, group, other).committed_offset == -1
    assert drop() == "NON_EMPTY_GROUP"
    consumer.leave()
    assert delete(topic) == "NONE"
    assert drop() == "NONE"
    assert drop() == "GROUP_ID_NOT_FOUND"


def test_targets_are_not_computed_too_often(
    connection: Connection, group: str, new_topic: NewTopic, new_consumer: NewConsumer
) -> None:
    """`consumer.assignment.interval.ms`: until it is over, the group is Assigning."""
    set_group_config(connection, group, consumer_assignment_interval_ms="1500", consumer_heartbeat_interval_ms="300")
    topic = new_topic(partitions=2)
    first, second = new_consumer(topic), new_consumer(topic)
    wait_for(lambda: first.join().heartbeat_interval_ms == 300, "the configuration is in force")
    first.leave()
    first = new_consumer(topic)
    first.join()
    answer = second.join()
    assert (code(answer.error_code), second.count()) == ("NONE", 0)
    assert describe_consumers(connection, group).group_state == "Assigning"
    wait_for(lambda: (first.beat(), second.beat(), second.count() == 1)[2], "the next target")


@pytest.mark.owns_broker
def test_the_protocol_can_be_disabled(own_broker: Callable[..., BrokerProcess]) -> None:
    """UNSUPPORTED_VERSION, without `consumer` in `group.coordinator.rebalance.protocols`."""
    broker = own_broker({"group.coordinator.rebalance.protocols": "classic"})
    with connect(broker) as connection:
        answer = RawConsumer(connection, "g", "t").join()
        assert code(answer.error_code) == "UNSUPPORTED_VERSION"
        assert code(describe_consumers(connection, "g").error_code) == "UNSUPPORTED_VERSION"


@pytest.mark.owns_broker
def test_a_restart_changes_nothing(own_broker: Callable[..., BrokerProcess]) -> None:
    """Members, epochs, expressions and assignments are in the log."""
    broker = own_broker()
    with connect(broker) as connection:
        await_coordinator(connection, "g")
        create_topic(connection, "orders", 4)
        first = RawConsumer(connection, "g", "orders", instance="one")
        second = RawConsumer(connection, "g", regex="ord.*")
        first.join()
        second.join()
        wait_for(lambda: (first.beat(), second.beat(), second.count() == 2)[2], "the expression is resolved")
        first.settle(second)
        before = describe_consumers(connection, "g")
    broker.stop()
    broker.start()
    with connect(broker) as connection:
        await_coordinator(connection, "g")
        after = describe_consumers(connection, "g")
        key = lambda member: member.member_id  # noqa: E731 - two lists in the same order
        assert sorted(after.members, key=key) == sorted(before.members, key=key)
        assert (after.group_epoch, after.group_state) == (before.group_epoch, "Stable")
        first.connection = second.connection = connection
        first.settle(second)
        assert (first.count(), second.count()) == (2, 2)
