"""Heartbeats of consumer groups that say nothing new are answered at once, unless something else is new."""

from __future__ import annotations

import pytest

from odradek.wire.errors import ErrorCode
from odradek.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse
from odradek.wire.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)
from odradek.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequestTopicPartitions as Owned
from odradek.wire.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
)
from tests.unit.node.machine import Machine, RunningNode, find_coordinator

ASSIGNMENT_INTERVAL_MS = 1000
REGEX_REFRESH_MS = 10_001
HEARTBEATS = 6
"""More than a group of two needs to settle."""


class Member:
    def __init__(self, node: RunningNode, name: str, **subscription: object) -> None:
        self.node = node
        self.name = name
        self.epoch = 0
        self.assigned: list[int] = []
        self.beat(None, rebalance_timeout_ms=60_000, topic_partitions=[], **subscription)

    def beat(self, epoch: int | None = None, **fields: object) -> ConsumerGroupHeartbeatResponse:
        request = ConsumerGroupHeartbeatRequest(
            group_id="g", member_id=self.name, member_epoch=self.epoch if epoch is None else epoch
        )
        for name, value in fields.items():
            setattr(request, name, value)
        answer = self.node.ask(request, ConsumerGroupHeartbeatResponse)
        if answer.error_code == ErrorCode.NONE:
            self.epoch = answer.member_epoch
            if answer.assignment is not None:
                topics = answer.assignment.topic_partitions
                self.assigned = [index for topic in topics for index in topic.partitions]
        return answer

    def plain_beats(self) -> None:
        """Only heartbeats that say nothing, as long as it takes to get what others do not have."""
        for _ in range(HEARTBEATS):
            self.node.world.advance(ASSIGNMENT_INTERVAL_MS)
            assert self.beat().error_code == ErrorCode.NONE


@pytest.fixture
def node() -> RunningNode:
    node = Machine().start()
    node.create_topic("t", partitions=2)
    find_coordinator(node, "g")
    return node


@pytest.fixture
def member(node: RunningNode) -> Member:
    member = Member(node, "a", subscribed_topic_names=["t"])
    member.plain_beats()
    assert member.assigned == [0, 1]
    return member


def test_nothing_new_is_answered_with_the_epoch(node: RunningNode, member: Member) -> None:
    answer = member.beat()
    assert (answer.error_code, answer.member_epoch, answer.assignment) == (ErrorCode.NONE, member.epoch, None)
    assert answer.member_id == "a"
    assert answer.heartbeat_interval_ms == 5000


def test_it_shows_that_the_member_is_alive(node: RunningNode, member: Member) -> None:
    for _ in range(4):
        node.world.advance(30_000)
        assert member.beat().error_code == ErrorCode.NONE
    node.world.advance(46_000)
    assert member.beat().error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_partitions_that_are_added_are_assigned(node: RunningNode, member: Member) -> None:
    topic = CreatePartitionsTopic(name="t", count=3, assignments=None)
    request = CreatePartitionsRequest(topics=[topic], timeout_ms=1000)
    assert node.ask(request, CreatePartitionsResponse).results[0].error_code == ErrorCode.NONE
    member.plain_beats()
    assert member.assigned == [0, 1, 2]


def test_what_another_member_leaves_behind_is_assigned(node: RunningNode, member: Member) -> None:
    topic_id = node.node.broker.replicas.image.topics.by_name["t"].id
    other = Member(node, "b", subscribed_topic_names=["t"])
    for _ in range(HEARTBEATS):
        node.world.advance(ASSIGNMENT_INTERVAL_MS)
        for each in (member, other):
            each.beat(topic_partitions=[Owned(topic_id=topic_id, partitions=each.assigned)])
    assert len(member.assigned) == len(other.assigned) == 1
    other.beat(epoch=-1)
    member.plain_beats()
    assert member.assigned == [0, 1]


def test_a_topic_that_an_expression_matches_is_assigned_when_it_comes(node: RunningNode) -> None:
    member = Member(node, "a", subscribed_topic_regex="t.*")
    member.plain_beats()
    assert member.assigned == [0, 1]
    node.create_topic("tt")
    node.world.advance(REGEX_REFRESH_MS)
    member.plain_beats()
    assert member.assigned == [0, 1, 0]


def test_other_topics_may_be_all_that_it_says(node: RunningNode, member: Member) -> None:
    node.create_topic("other")
    member.beat(subscribed_topic_names=["other"])
    member.beat(topic_partitions=[])
    member.plain_beats()
    assert member.assigned == [0]


def test_an_epoch_that_is_not_the_members_is_fenced(member: Member) -> None:
    assert member.beat(epoch=member.epoch + 1).error_code == ErrorCode.FENCED_MEMBER_EPOCH


def test_an_instance_id_that_nobody_has_is_unknown(member: Member) -> None:
    assert member.beat(instance_id="nobody's").error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_another_client_id_is_written_down(node: RunningNode, member: Member) -> None:
    request = ConsumerGroupHeartbeatRequest(group_id="g", member_id="a", member_epoch=member.epoch)
    reply = node.send(request, client_id="another")
    assert node.answer(reply, request, ConsumerGroupHeartbeatResponse).error_code == ErrorCode.NONE
    described = node.ask(ConsumerGroupDescribeRequest(group_ids=["g"]), ConsumerGroupDescribeResponse)
    assert [each.client_id for each in described.groups[0].members] == ["another"]
