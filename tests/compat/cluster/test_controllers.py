"""The controllers' listeners (KIP-919), registrations, and who is asked for what."""

from __future__ import annotations

import pytest

from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from odradek.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
    DescribeQuorumResponse,
)
from odradek.wire.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse
from odradek.wire.messages.unregister_controller import UnregisterControllerRequest, UnregisterControllerResponse
from tests.compat.cluster.nodes import IDS, Nodes, rack
from tests.support.control_plane import (
    PREFERRED,
    await_states,
    brokers,
    create_on,
    elect,
    in_sync,
    moving,
    quorum,
    reassign,
    unregister,
)
from tests.support.process import wait_for
from tests.support.requests import code, metadata
from tests.support.wire import Connection

CONTROLLERS = 2


@pytest.fixture
def active(nodes: Nodes) -> int:
    return nodes.active_controller()


@pytest.fixture
def passive(active: int) -> int:
    return next(node_id for node_id in IDS if node_id != active)


def test_every_controller_names_all_controllers(nodes: Nodes, active: int) -> None:
    expected = {node_id: (node.host, node.controller_port, None, False) for node_id, node in nodes.nodes.items()}
    for node_id in IDS:
        controller = nodes.to_controller(node_id)

        def names_all(controller: Connection = controller) -> bool:
            request = DescribeClusterRequest(endpoint_type=CONTROLLERS)
            answer = controller.call(request, DescribeClusterResponse)
            assert (code(answer.error_code), answer.controller_id) == ("NONE", active)
            found = {each.broker_id: (each.host, each.port, each.rack, each.is_fenced) for each in answer.brokers}
            return found == expected

        wait_for(names_all, f"node {node_id} knows all controllers, which have registered")


def test_every_broker_names_all_brokers(nodes: Nodes) -> None:
    expected = {node_id: (node.host, node.port, rack(node_id), False) for node_id, node in nodes.nodes.items()}
    for node_id in IDS:
        found = brokers(nodes.to(node_id))
        assert {
            each.broker_id: (each.host, each.port, each.rack, each.is_fenced) for each in found.values()
        } == expected


def test_the_quorum_is_told_by_every_broker(nodes: Nodes, active: int) -> None:
    """Brokers pass the question on; each voter has its directory and its listener (KIP-853)."""
    for node_id in IDS:
        answer, partition = quorum(nodes.to(node_id))
        assert partition.leader_id == active
        assert sorted(voter.replica_id for voter in partition.current_voters) == list(IDS)
        assert len({voter.replica_directory_id for voter in partition.current_voters} - {bytes(16)}) == 3
        assert partition.observers == []
        listeners = {
            each.node_id: [(listener.name, listener.host, listener.port) for listener in each.listeners]
            for each in answer.nodes
        }
        assert listeners == {
            node_id: [("CONTROLLER", node.host, node.controller_port)] for node_id, node in nodes.nodes.items()
        }
        assert min(voter.log_end_offset for voter in partition.current_voters) > 0
        assert max(voter.log_end_offset for voter in partition.current_voters) >= partition.high_watermark


def test_only_the_active_controller_describes_the_quorum(nodes: Nodes, active: int, passive: int) -> None:
    wanted = DescribeQuorumRequestTopicData(
        topic_name="__cluster_metadata", partitions=[DescribeQuorumRequestPartitionData(partition_index=0)]
    )
    found = {}
    for node_id in (active, passive):
        request = DescribeQuorumRequest(topics=[wanted])
        answer = nodes.to_controller(node_id).call(request, DescribeQuorumResponse)
        found[node_id] = [
            code(answer.error_code),
            *(code(each.error_code) for topic in answer.topics for each in topic.partitions),
        ]
    assert found == {active: ["NONE", "NONE"], passive: ["NONE", "NOT_LEADER_OR_FOLLOWER"]}


def test_only_the_active_controller_decides(nodes: Nodes, active: int, passive: int, new_topic: str) -> None:
    topic = CreatableTopic(name=new_topic, num_partitions=1, replication_factor=3)
    request = CreateTopicsRequest(topics=[topic], timeout_ms=15_000)
    (refused,) = nodes.to_controller(passive).call(request, CreateTopicsResponse).topics
    assert code(refused.error_code) == "NOT_CONTROLLER"
    elections = ElectLeadersRequest(election_type=PREFERRED, topic_partitions=None, timeout_ms=15_000)
    answer = nodes.to_controller(passive).call(elections, ElectLeadersResponse)
    assert code(answer.error_code) == "NOT_CONTROLLER"
    (created,) = nodes.to_controller(active).call(request, CreateTopicsResponse).topics
    assert code(created.error_code) == "NONE"
    wait_for(lambda: metadata(nodes.any(), new_topic).error_code == 0, "brokers know the topic")


def test_administration_through_the_active_controller(nodes: Nodes, active: int, new_topic: str) -> None:
    controller = nodes.to_controller(active)
    create_on(controller, new_topic, [[1, 2]])
    await_states(nodes.any(), new_topic, in_sync(1, 2))
    assert reassign(controller, new_topic, {0: [2, 1]}) == {0: "NONE"}
    assert moving(controller, new_topic) == {}
    assert elect(controller, PREFERRED, {new_topic: [0]}) == {(new_topic, 0): "NONE"}
    await_states(nodes.any(), new_topic, in_sync(2, 1))
    assert unregister(controller, 77)[0] == "BROKER_ID_NOT_REGISTERED"


def unregister_controller(nodes: Nodes, controller_id: int) -> tuple[str, str | None]:
    answer = nodes.any().call(UnregisterControllerRequest(controller_id=controller_id), UnregisterControllerResponse)
    return code(answer.error_code), answer.error_message


def test_controllers_that_cannot_be_forgotten(nodes: Nodes, active: int) -> None:
    assert unregister_controller(nodes, active) == (
        "INVALID_REQUEST",
        "Controller cannot unregister itself while it is active.",
    )
    assert unregister_controller(nodes, 77)[0] == "CONTROLLER_ID_NOT_REGISTERED"


def test_a_controller_that_is_forgotten_while_it_lives(nodes: Nodes, active: int, passive: int) -> None:
    """It stays a voter, and registers again."""

    def shown() -> list[list[int]]:
        request = DescribeClusterRequest(endpoint_type=CONTROLLERS)
        answers = [nodes.to_controller(each).call(request, DescribeClusterResponse) for each in IDS]
        return [sorted(each.broker_id for each in answer.brokers) for answer in answers]

    assert unregister_controller(nodes, passive) == ("NONE", "")
    assert sorted(voter.replica_id for voter in quorum(nodes.any())[1].current_voters) == list(IDS)
    wait_for(lambda: shown() == [list(IDS)] * 3, "all controllers know all")
