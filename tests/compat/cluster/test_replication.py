"""Produce, Fetch and their relatives on partitions with several replicas."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from odradek.wire.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    TopicRequest,
)
from odradek.wire.messages.fetch import FetchResponse
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from odradek.wire.messages.produce import ProduceRequest, ProduceResponse
from tests.compat.cluster.nodes import Nodes, rack
from tests.support.batches import batch, raw
from tests.support.control_plane import PREFERRED, await_states, create_on, elect, in_sync, reassign, states
from tests.support.process import wait_for
from tests.support.requests import code, fetch, fetch_request, list_offset, metadata, produce, produce_request
from tests.support.transactions import await_coordinator, describe, eventually, init
from tests.support.wire import Connection

LATEST = -1
FIRST_WITH_ENDPOINTS_IN_FETCH = 16


@pytest.fixture
def topic(nodes: Nodes, new_topic: str) -> str:
    """A topic with one partition on all nodes, led by the first; two must be in sync."""
    create_on(nodes.any(), new_topic, [[1, 2, 3]], {"min.insync.replicas": "2"})
    for node_id in nodes.nodes:
        await_states(nodes.to(node_id), new_topic, in_sync(1, 2, 3))
    wait_for(lambda: list_offset(nodes.to(1), new_topic, LATEST).error_code == 0, "the leader serves")
    return new_topic


def move_leader(nodes: Nodes, topic: str, leader: int) -> None:
    """Let another replica lead, with all of them in sync before and after; everybody knows of it."""
    order = [leader, *(node_id for node_id in nodes.nodes if node_id != leader)]
    assert reassign(nodes.any(), topic, {0: order}) == {0: "NONE"}
    assert elect(nodes.any(), PREFERRED, {topic: [0]}) == {(topic, 0): "NONE"}
    for node_id in nodes.nodes:
        await_states(nodes.to(node_id), topic, in_sync(*order))
    wait_for(lambda: list_offset(nodes.to(leader), topic, LATEST).error_code == 0, "the new leader serves")


def leader_epoch(connection: Connection, topic: str) -> int:
    return metadata(connection, topic).partitions[0].leader_epoch


def follower_knows(nodes: Nodes, node_id: int, topic: str) -> Callable[[], bool]:
    """Whether the node answers as a follower of the partition."""
    return lambda: code(list_offset(nodes.to(node_id), topic, LATEST).error_code) == "NOT_LEADER_OR_FOLLOWER"


@pytest.mark.parametrize("acks", [-1, 1])
def test_a_follower_tells_producers_who_leads(nodes: Nodes, topic: str, acks: int) -> None:
    """KIP-951: leader, epoch and address in the answer from version 10 on."""
    request = produce_request(topic, batch(), acks=acks)
    answer = nodes.to(2).call(request, ProduceResponse, 12)
    partition = answer.responses[0].partition_responses[0]
    assert code(partition.error_code) == "NOT_LEADER_OR_FOLLOWER"
    assert (partition.current_leader.leader_id, partition.current_leader.leader_epoch) == (1, 0)
    leader = nodes.nodes[1]
    assert [(each.node_id, each.host, each.port, each.rack) for each in answer.node_endpoints] == [
        (1, leader.host, leader.port, rack(1))
    ]
    before = nodes.to(2).call(request, ProduceResponse, 9)
    assert code(before.responses[0].partition_responses[0].error_code) == "NOT_LEADER_OR_FOLLOWER"
    assert before.node_endpoints == []


def test_a_follower_tells_producers_by_topic_id_who_leads(nodes: Nodes, topic: str) -> None:
    request = produce_request(topic, batch())
    (data,) = request.topic_data
    data.topic_id = metadata(nodes.any(), topic).topic_id
    answer = nodes.to(3).call(ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[data]), ProduceResponse, 13)
    partition = answer.responses[0].partition_responses[0]
    assert code(partition.error_code) == "NOT_LEADER_OR_FOLLOWER"
    assert (partition.current_leader.leader_id, partition.current_leader.leader_epoch) == (1, 0)
    assert [each.node_id for each in answer.node_endpoints] == [1]


@pytest.mark.parametrize(
    ("node_id", "epoch", "error", "told"),
    [(1, 0, "FENCED_LEADER_EPOCH", (3, 1)), (2, -1, "NONE", None), (3, 9, "UNKNOWN_LEADER_EPOCH", None)],
)
def test_fetch_after_a_change_of_leader(
    nodes: Nodes, topic: str, node_id: int, epoch: int, error: str, told: tuple[int, int] | None
) -> None:
    """KIP-320 and KIP-951; clients may read from followers (KIP-392)."""
    move_leader(nodes, topic, 3)
    wait_for(follower_knows(nodes, 1, topic), "the old leader follows")
    wait_for(follower_knows(nodes, 2, topic), "the other one follows still")
    request = fetch_request(topic, 0, leader_epoch=epoch, max_wait_ms=0)
    request.topics[0].topic_id = metadata(nodes.any(), topic).topic_id
    answer = nodes.to(node_id).call(request, FetchResponse, FIRST_WITH_ENDPOINTS_IN_FETCH)
    partition = answer.responses[0].partitions[0]
    assert code(partition.error_code) == error
    hint = (partition.current_leader.leader_id, partition.current_leader.leader_epoch)
    assert hint == (told or (-1, -1))
    assert [each.node_id for each in answer.node_endpoints] == ([told[0]] if told else [])


def test_leader_epochs_of_list_offsets(nodes: Nodes, topic: str) -> None:
    move_leader(nodes, topic, 2)
    wait_for(follower_knows(nodes, 1, topic), "the old leader follows")
    found = [
        code(list_offset(nodes.to(node_id), topic, LATEST, leader_epoch=epoch).error_code)
        for node_id, epoch in ((2, 0), (2, 1), (2, 2), (1, 0), (1, 1), (1, 2))
    ]
    assert found == [
        "FENCED_LEADER_EPOCH",
        "NONE",
        "UNKNOWN_LEADER_EPOCH",
        "FENCED_LEADER_EPOCH",
        "NOT_LEADER_OR_FOLLOWER",
        "UNKNOWN_LEADER_EPOCH",
    ]


def end_of_epoch(connection: Connection, topic: str, epoch: int, current: int = -1) -> tuple[str, int, int]:
    wanted = OffsetForLeaderPartition(partition=0, current_leader_epoch=current, leader_epoch=epoch)
    request = OffsetForLeaderEpochRequest(
        replica_id=-1, topics=[OffsetForLeaderTopic(topic=topic, partitions=[wanted])]
    )
    (partition,) = connection.call(request, OffsetForLeaderEpochResponse).topics[0].partitions
    return code(partition.error_code), partition.leader_epoch, partition.end_offset


def test_ends_of_leader_epochs(nodes: Nodes, topic: str) -> None:
    """KIP-279 and KIP-320: an epoch without records ends where the one before it ended."""
    assert produce(nodes.to(1), topic, batch([b"a", b"b"])).base_offset == 0
    move_leader(nodes, topic, 2)
    move_leader(nodes, topic, 3)
    assert produce(nodes.to(3), topic, batch([b"c"])).base_offset == 2
    connection = nodes.to(3)
    assert leader_epoch(connection, topic) == 2
    assert [end_of_epoch(connection, topic, epoch) for epoch in (0, 1, 2, 3)] == [
        ("NONE", 0, 2),
        ("NONE", 0, 2),
        ("NONE", 2, 3),
        ("NONE", -1, -1),
    ]
    assert end_of_epoch(connection, topic, 0, current=1) == ("FENCED_LEADER_EPOCH", -1, -1)
    assert end_of_epoch(connection, topic, 0, current=3) == ("UNKNOWN_LEADER_EPOCH", -1, -1)
    assert end_of_epoch(nodes.to(1), topic, 0) == ("NOT_LEADER_OR_FOLLOWER", -1, -1)


def test_followers_serve_consumers_of_their_rack(nodes: Nodes, topic: str) -> None:
    """KIP-392: the leader names the follower, which then answers up to the high watermark that it knows."""
    sent = batch([b"near"])
    assert produce(nodes.to(1), topic, sent).base_offset == 0

    def preferred(rack_id: str) -> int:
        request = fetch_request(topic, 0, max_wait_ms=100)
        request.rack_id = rack_id
        answer = fetch(nodes.to(1), request)
        assert code(answer.error_code) == "NONE"
        if answer.preferred_read_replica != -1:
            assert not answer.records
        return answer.preferred_read_replica

    wait_for(lambda: preferred(rack(2)) == 2, "the follower of the rack is preferred")
    assert [preferred(name) for name in (rack(1), "elsewhere", "")] == [-1, -1, -1]
    request = fetch_request(topic, 0, max_wait_ms=100)
    request.rack_id = rack(2)

    def answers() -> bool:
        answer = fetch(nodes.to(2), request)
        assert (code(answer.error_code), answer.preferred_read_replica) == ("NONE", -1)
        return len(raw(answer.records)) == len(sent)

    wait_for(answers, "the follower answers")
    assert code(fetch(nodes.to(2), fetch_request(topic, 5, max_wait_ms=0)).error_code) == "OFFSET_OUT_OF_RANGE"


def test_producers_are_described_by_every_replica(nodes: Nodes, topic: str) -> None:
    """KIP-664: followers know them from the batches that they have copied."""
    producer_id = eventually(lambda: init(nodes.any(), None), lambda answer: code(answer.error_code)).producer_id
    sent = batch([b"a", b"b"], producer=(producer_id, 0, 0))
    assert code(produce(nodes.to(1), topic, sent).error_code) == "NONE"
    request = DescribeProducersRequest(topics=[TopicRequest(name=topic, partition_indexes=[0])])

    def described(node_id: int) -> tuple[str, list[tuple[int, int, int]]]:
        (partition,) = nodes.to(node_id).call(request, DescribeProducersResponse).topics[0].partitions
        found = [(each.producer_id, each.producer_epoch, each.last_sequence) for each in partition.active_producers]
        return code(partition.error_code), found

    expected = ("NONE", [(producer_id, 0, 1)])
    assert described(1) == expected
    for follower in (2, 3):
        wait_for(lambda: described(follower) == expected, f"node {follower} has copied it")  # noqa: B023


def test_transactions_are_described_by_their_coordinator(nodes: Nodes, unique: Callable[[str], str]) -> None:
    """Other brokers say who that is."""
    transactional_id = unique("transactional-id")
    coordinators: list[int] = []

    def found() -> bool:
        request = FindCoordinatorRequest(key_type=1, coordinator_keys=[transactional_id])
        (answer,) = nodes.any().call(request, FindCoordinatorResponse).coordinators
        coordinators[:] = [answer.node_id]
        return answer.error_code == 0

    wait_for(found, "there is a coordinator", 30.0)
    (coordinator,) = coordinators
    await_coordinator(nodes.to(coordinator), transactional_id)
    assert {node_id: code(describe(nodes.to(node_id), transactional_id).error_code) for node_id in nodes.nodes} == {
        node_id: "TRANSACTIONAL_ID_NOT_FOUND" if node_id == coordinator else "NOT_COORDINATOR"
        for node_id in nodes.nodes
    }


def test_a_replica_that_is_not_there(nodes: Nodes, new_topic: str) -> None:
    """A broker without a replica of the partition is no follower, and says who leads."""
    create_on(nodes.any(), new_topic, [[1, 2]])
    for node_id in nodes.nodes:
        await_states(nodes.to(node_id), new_topic, in_sync(1, 2))
    answer = nodes.to(3).call(produce_request(new_topic, batch()), ProduceResponse, 12)
    partition = answer.responses[0].partition_responses[0]
    assert code(partition.error_code) == "NOT_LEADER_OR_FOLLOWER"
    assert (partition.current_leader.leader_id, [each.node_id for each in answer.node_endpoints]) == (1, [1])
    request = fetch_request(new_topic, 0, max_wait_ms=0)
    assert code(fetch(nodes.to(3), request).error_code) == "NOT_LEADER_OR_FOLLOWER"
    assert code(list_offset(nodes.to(3), new_topic, LATEST).error_code) == "NOT_LEADER_OR_FOLLOWER"
    producers = DescribeProducersRequest(topics=[TopicRequest(name=new_topic, partition_indexes=[0])])
    (described,) = nodes.to(3).call(producers, DescribeProducersResponse).topics[0].partitions
    assert code(described.error_code) == "NOT_LEADER_OR_FOLLOWER"
    assert states(nodes.to(3), new_topic) == [in_sync(1, 2)]
