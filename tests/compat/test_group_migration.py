"""Groups on their way between the classic protocol and that of KIP-848, with members of both in one group."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from odradek.wire.messages.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    ConsumerProtocolSubscriptionTopicPartition,
)
from odradek.wire.messages.describe_groups import DescribedGroup, DescribeGroupsRequest, DescribeGroupsResponse
from odradek.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from tests.support.consumer_groups import RawConsumer, describe_consumers
from tests.support.groups import RawMember, committed
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import await_coordinator, code, connect, create_topic, metadata
from tests.support.targets import Target
from tests.support.wire import Connection

Unique = Callable[[str], str]
NewTopic = Callable[..., str]


class ClassicConsumer(RawMember):
    """Speaks the classic protocol and the consumer protocol embedded in it, as clients of before 4.0 do."""

    def __init__(self, target: Target | BrokerProcess, group: str, topic: str, instance: str | None = None) -> None:
        super().__init__(target, group, instance=instance, session_timeout_ms=6000)
        self.topic = topic
        self.owned: list[int] = []

    def start_join(self, version: int = 9) -> None:
        owned = [ConsumerProtocolSubscriptionTopicPartition(topic=self.topic, partitions=self.owned)]
        subscription = ConsumerProtocolSubscription(topics=[self.topic], owned_partitions=owned if self.owned else [])
        request = JoinGroupRequest(
            group_id=self.group,
            session_timeout_ms=self.session_timeout_ms,
            rebalance_timeout_ms=self.rebalance_timeout_ms,
            member_id=self.member_id,
            group_instance_id=self.instance,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=b"\0\1" + bytes(subscription.encode(1)))],
        )
        self._joining = self.connection.send(request, version)

    def assigned(self, assignments: dict[str, bytes] | None = None) -> list[int]:
        """SyncGroup; the partitions that it gives."""
        answer = self.sync(assignments)
        assert code(answer.error_code) == "NONE"
        content, _ = ConsumerProtocolAssignment.decode_prefix(bytes(answer.assignment), 1, 2)
        self.owned = sorted(index for topic in content.assigned_partitions for index in topic.partitions)
        return self.owned

    def found(self, partitions: list[int]) -> None:
        """Become the first member of a group, with these partitions."""
        self.join()
        entry = len(self.topic).to_bytes(2, "big") + self.topic.encode() + len(partitions).to_bytes(4, "big")
        content = b"\0\1\0\0\0\1" + entry + b"".join(index.to_bytes(4, "big") for index in partitions)
        assert self.assigned({self.member_id: content + b"\xff\xff\xff\xff"}) == partitions

    def rejoin(self) -> JoinGroupResponse:
        self.start_join()
        return self.finish_join()

    def follow(self) -> None:
        """Heartbeat, and join and sync again if told so: what a client does all the time."""
        told = self.heartbeat()
        if told == "REBALANCE_IN_PROGRESS":
            if code(self.rejoin().error_code) == "NONE":
                self.assigned()
        else:
            assert told == "NONE"


@pytest.fixture
def group(connection: Connection, unique: Unique) -> str:
    name = unique("group")
    await_coordinator(connection, name)
    return name


@pytest.fixture
def new_classic(target: Target, group: str) -> Iterator[Callable[..., ClassicConsumer]]:
    """Makes members of the classic protocol."""
    members: list[ClassicConsumer] = []

    def make(topic: str, instance: str | None = None) -> ClassicConsumer:
        members.append(ClassicConsumer(target, group, topic, instance))
        return members[-1]

    yield make
    for member in members:
        member.close()


NewClassic = Callable[..., ClassicConsumer]


def describe_classic(connection: Connection, group: str) -> DescribedGroup:
    return connection.call(DescribeGroupsRequest(groups=[group]), DescribeGroupsResponse).groups[0]


def follow_until(done: Callable[[], bool], *members: ClassicConsumer | RawConsumer) -> None:
    """Let members go on until the group is as wanted."""

    def moved() -> bool:
        for member in members:
            if isinstance(member, ClassicConsumer):
                member.follow()
            else:
                assert code(member.beat().error_code) == "NONE"
        return done()

    wait_for(moved, "the group gets there")


def test_a_consumer_upgrades_a_classic_group(
    connection: Connection, group: str, new_topic: NewTopic, new_classic: NewClassic
) -> None:
    """The classic member stays in it, with what it has, until it is told to share."""
    topic = new_topic(partitions=4)
    classic = new_classic(topic)
    classic.found([0, 1, 2, 3])
    consumer = RawConsumer(connection, group, topic)
    answer = consumer.join()
    assert code(answer.error_code) == "NONE"
    assert consumer.count() == 0
    assert code(describe_classic(connection, group).error_code) == "GROUP_ID_NOT_FOUND"
    members = {member.member_id: member for member in describe_consumers(connection, group).members}
    assert members[classic.member_id].member_type == 0
    assert members[consumer.member_id].member_type == 1
    follow_until(lambda: consumer.count() == len(classic.owned) == 2, classic, consumer)
    owned = consumer.owned[metadata(connection, topic).topic_id]
    assert sorted(classic.owned + owned) == [0, 1, 2, 3]
    assert classic.commit(topic, 7, partition=classic.owned[0]) == "NONE"
    assert committed(connection, group, topic, classic.owned[0]).committed_offset == 7
    classic.generation -= 1
    assert classic.commit(topic, 8, partition=classic.owned[0]) in ("ILLEGAL_GENERATION", "NONE")
    assert classic.heartbeat() == "ILLEGAL_GENERATION"
    assert code(classic.sync().error_code) == "ILLEGAL_GENERATION"


def test_the_last_consumer_that_leaves_downgrades_the_group(
    connection: Connection, group: str, new_topic: NewTopic, new_classic: NewClassic
) -> None:
    """The classic members rebalance among themselves."""
    topic = new_topic(partitions=2)
    classic = new_classic(topic)
    classic.found([0, 1])
    consumer = RawConsumer(connection, group, topic)
    consumer.join()
    follow_until(lambda: consumer.count() == len(classic.owned) == 1, classic, consumer)
    assert code(consumer.leave().error_code) == "NONE"
    assert code(describe_consumers(connection, group).error_code) == "GROUP_ID_NOT_FOUND"
    described = describe_classic(connection, group)
    assert (described.group_state, [member.member_id for member in described.members]) == (
        "PreparingRebalance",
        [classic.member_id],
    )
    wait_for(lambda: classic.heartbeat() == "REBALANCE_IN_PROGRESS", "the classic member is told")
    answer = classic.rejoin()
    assert (code(answer.error_code), answer.leader, len(answer.members)) == ("NONE", classic.member_id, 1)
    assert code(classic.sync({classic.member_id: b"mine"}).error_code) == "NONE"
    assert describe_classic(connection, group).group_state == "Stable"


def test_a_classic_member_joins_a_consumer_group(
    connection: Connection, group: str, new_topic: NewTopic, new_classic: NewClassic
) -> None:
    """MEMBER_ID_REQUIRED, then an answer at once: nobody leads, the broker assigns."""
    topic = new_topic(partitions=2)
    consumer = RawConsumer(connection, group, topic)
    consumer.join()
    classic = new_classic(topic)
    classic.get_member_id()
    assert len(classic.member_id) == 22
    answer = classic.rejoin()
    assert (code(answer.error_code), answer.generation_id, answer.leader, answer.members) == ("NONE", 3, "", [])
    assert (answer.protocol_type, answer.protocol_name) == ("consumer", "range")
    assert classic.assigned() == []
    follow_until(lambda: consumer.count() == len(classic.owned) == 1, classic, consumer)
    # One who leaves by LeaveGroup may be of either protocol.
    identities = [MemberIdentity(member_id=classic.member_id), MemberIdentity(member_id="nobody")]
    left = connection.call(LeaveGroupRequest(group_id=group, members=identities), LeaveGroupResponse)
    assert [code(entry.error_code) for entry in left.members] == ["NONE", "UNKNOWN_MEMBER_ID"]
    follow_until(lambda: consumer.count() == 2, consumer)


def test_what_a_classic_member_cannot_do_in_a_consumer_group(
    connection: Connection, target: Target, group: str, new_topic: NewTopic, new_classic: NewClassic
) -> None:
    """INCONSISTENT_GROUP_PROTOCOL for what is no consumer, UNKNOWN_MEMBER_ID in the name of the others."""
    topic = new_topic()
    consumer = RawConsumer(connection, group, topic)
    consumer.join()
    other = RawMember(target, group, protocol_type="connect", instance="x")
    other.start_join()
    assert code(other.finish_join().error_code) == "INCONSISTENT_GROUP_PROTOCOL"
    other.close()
    garbage = RawMember(target, group, instance="x")
    garbage.start_join()
    assert code(garbage.finish_join().error_code) == "INCONSISTENT_GROUP_PROTOCOL"
    garbage.close()
    classic = new_classic(topic)
    classic.member_id, classic.generation = consumer.member_id, consumer.epoch
    assert classic.heartbeat() == "UNKNOWN_MEMBER_ID"
    assert code(classic.sync().error_code) == "UNKNOWN_MEMBER_ID"
    classic.member_id = "nobody"
    assert classic.heartbeat() == "UNKNOWN_MEMBER_ID"


def test_static_members_change_the_protocol(
    connection: Connection, group: str, new_topic: NewTopic, new_classic: NewClassic
) -> None:
    """Under one instance id, there and back, with what they had: the group goes along, without a rebalance."""
    topic = new_topic(partitions=2)
    classic = new_classic(topic, instance="one")
    classic.found([0, 1])
    consumer = RawConsumer(connection, group, topic, instance="one")
    answer = consumer.join()
    assert (code(answer.error_code), consumer.count()) == ("NONE", 2)
    assert classic.heartbeat() == "FENCED_INSTANCE_ID"
    again = new_classic(topic, instance="one")
    joined = again.join()
    assert (code(joined.error_code), joined.generation_id) == ("NONE", consumer.epoch)
    assert again.assigned() == [0, 1]
    described = describe_classic(connection, group)
    assert (described.group_state, described.protocol_type) == ("Stable", "consumer")
    assert again.heartbeat() == "NONE"
    assert code(consumer.send().error_code) == "GROUP_ID_NOT_FOUND"


def test_empty_groups_change_with_whoever_comes(
    connection: Connection, group: str, new_topic: NewTopic, new_classic: NewClassic
) -> None:
    """With the offsets that they have."""
    topic = new_topic(partitions=1)
    classic = new_classic(topic)
    classic.found([0])
    assert classic.commit(topic, 3) == "NONE"
    assert classic.leave() == "NONE"
    consumer = RawConsumer(connection, group, topic)
    assert code(consumer.join().error_code) == "NONE"
    assert describe_consumers(connection, group).group_state == "Stable"
    assert committed(connection, group, topic).committed_offset == 3
    consumer.leave()
    later = new_classic(topic)
    later.found([0])
    assert describe_classic(connection, group).group_state == "Stable"
    assert committed(connection, group, topic).committed_offset == 3


def test_groups_that_cannot_be_upgraded(
    connection: Connection, target: Target, group: str, new_topic: NewTopic
) -> None:
    """GROUP_ID_NOT_FOUND with the reason: they are no consumers, or what they say cannot be read."""
    worker = RawMember(target, group, protocol_type="connect")
    worker.join()
    worker.sync({worker.member_id: b""})
    consumer = RawConsumer(connection, group, new_topic())
    answer = consumer.join()
    assert code(answer.error_code) == "GROUP_ID_NOT_FOUND"
    assert answer.error_message == (
        f"Cannot upgrade classic group {group} to consumer group because the group does not use the consumer embedded "
        "protocol."
    )
    assert worker.heartbeat() == "NONE"
    worker.leave()
    worker.close()
    odd = RawMember(target, group)
    odd.join()
    odd.sync({odd.member_id: b""})
    answer = consumer.join()
    assert (code(answer.error_code), answer.error_message) == (
        "GROUP_ID_NOT_FOUND",
        f"Cannot upgrade classic group {group} to consumer group because the embedded consumer protocol is malformed.",
    )
    odd.close()


@pytest.mark.owns_broker
def test_a_consumer_that_comes_before_the_first_generation(own_broker: Callable[..., BrokerProcess]) -> None:
    """There is nothing to upgrade yet: it is refused, and the classic member goes on."""
    broker = own_broker({"group.initial.rebalance.delay.ms": "3000"})
    with connect(broker) as connection:
        await_coordinator(connection, "g")
        create_topic(connection, "orders", 2)
        classic = ClassicConsumer(broker, "g", "orders")
        classic.rejoin()
        classic.start_join()
        wait_for(lambda: describe_classic(connection, "g").group_state == "PreparingRebalance", "it waits")
        consumer = RawConsumer(connection, "g", "orders")
        assert code(consumer.join().error_code) == "UNKNOWN_SERVER_ERROR"
        joined = classic.finish_join()
        if code(joined.error_code) != "NONE":  # as Apache Kafka has it
            joined = classic.rejoin()
        assert joined.generation_id == 1
        assert code(consumer.join().error_code) == "NONE"
        classic.close()


@pytest.mark.owns_broker
@pytest.mark.parametrize("policy", ["disabled", "upgrade", "downgrade"])
def test_the_migration_policy(own_broker: Callable[..., BrokerProcess], policy: str) -> None:
    """`group.consumer.migration.policy` says which ways are open."""
    broker = own_broker({"group.consumer.migration.policy": policy})
    with connect(broker) as connection:
        for group in ("up", "down"):
            await_coordinator(connection, group)
        create_topic(connection, "orders", 2)
        classic = ClassicConsumer(broker, "up", "orders")
        classic.found([0, 1])
        answer = RawConsumer(connection, "up", "orders").join()
        assert code(answer.error_code) == ("NONE" if policy == "upgrade" else "GROUP_ID_NOT_FOUND")
        if policy != "upgrade":
            assert answer.error_message == (
                "Cannot upgrade classic group up to consumer group because online upgrade is disabled."
            )
        classic.close()
        consumer = RawConsumer(connection, "down", "orders")
        consumer.join()
        joining = ClassicConsumer(broker, "down", "orders", instance="one")
        joined = joining.rejoin()
        assert code(joined.error_code) == ("INCONSISTENT_GROUP_PROTOCOL" if policy == "disabled" else "NONE")
        consumer.leave()
        is_consumer_group = code(describe_consumers(connection, "down").error_code) == "NONE"
        assert is_consumer_group == (policy != "downgrade")
        joining.close()


@pytest.mark.owns_broker
def test_both_protocols_survive_a_restart(own_broker: Callable[..., BrokerProcess]) -> None:
    """A group of both goes on, and one that was downgraded is a classic one."""
    broker = own_broker()
    with connect(broker) as connection:
        for group in ("mixed", "downgraded"):
            await_coordinator(connection, group)
        create_topic(connection, "orders", 2)
        classic = ClassicConsumer(broker, "mixed", "orders")
        classic.found([0, 1])
        consumer = RawConsumer(connection, "mixed", "orders")
        consumer.join()
        follow_until(lambda: consumer.count() == len(classic.owned) == 1, classic, consumer)
        stays = ClassicConsumer(broker, "downgraded", "orders")
        stays.found([0, 1])
        leaves = RawConsumer(connection, "downgraded", "orders")
        leaves.join()
        leaves.leave()
        classic.close()
        stays.close()
    broker.stop()
    broker.start()
    with connect(broker) as connection:
        for group in ("mixed", "downgraded"):
            await_coordinator(connection, group)
        classic.connection = connect(broker)
        consumer.connection = connection
        follow_until(lambda: consumer.count() == len(classic.owned) == 1, classic, consumer)
        described = describe_classic(connection, "downgraded")
        assert [member.member_id for member in described.members] == [stays.member_id]
        classic.close()
