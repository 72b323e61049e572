"""Brokers whose log directories take no new replicas (KIP-1066)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.describe_log_dirs import DescribeLogDirsRequest, DescribeLogDirsResponse
from tests.compat.cluster.nodes import Nodes
from tests.support.control_plane import alter, await_states, create_on, in_sync, moving, reassign, states
from tests.support.process import wait_for
from tests.support.requests import BROKER, code

CORDONED = "cordoned.log.dirs"
CORDON = CreatableTopic(name="cordon-probe", num_partitions=1, replication_factor=3)


@pytest.fixture(scope="module", autouse=True)
def cordoned(running_nodes: Nodes) -> Iterator[None]:
    """Node 3 is cordoned, and has a replica of a topic from before."""
    create_on(running_nodes.any(), "before-cordon", [[3, 1]])
    directory = str(running_nodes.nodes[3].data_dir)
    assert alter(running_nodes.to(3), BROKER, "3", {CORDONED: directory}) == ("NONE", "")

    def is_known(expected: bool) -> bool:
        request = CreateTopicsRequest(topics=[CORDON], timeout_ms=15_000, validate_only=True)
        (answer,) = running_nodes.any().call(request, CreateTopicsResponse).topics
        return (code(answer.error_code) == "INVALID_REPLICATION_FACTOR") is expected

    wait_for(lambda: is_known(True), "the controller knows of the cordon")
    yield
    assert alter(running_nodes.to(3), BROKER, "3", {CORDONED: None}) == ("NONE", "")
    wait_for(lambda: is_known(False), "the controller knows that it is gone")


def create(nodes: Nodes, name: str, partitions: int, replicas: int) -> tuple[str, str]:
    topic = CreatableTopic(name=name, num_partitions=partitions, replication_factor=replicas)
    request = CreateTopicsRequest(topics=[topic], timeout_ms=15_000)
    (answer,) = nodes.any().call(request, CreateTopicsResponse).topics
    return code(answer.error_code), answer.error_message or ""


def test_new_topics_go_elsewhere(nodes: Nodes, new_topic: str) -> None:
    assert create(nodes, new_topic, 4, 2) == ("NONE", "")
    wait_for(lambda: len(states(nodes.any(), new_topic)) == 4, "the topic is known")
    assert {broker for state in states(nodes.any(), new_topic) for broker in state.replicas} == {1, 2}
    assert create(nodes, f"{new_topic}-wide", 1, 3) == (
        "INVALID_REPLICATION_FACTOR",
        "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because "
        "only 2 broker(s) are registered or some brokers have all their log directories cordoned.",
    )


def test_nobody_can_insist(nodes: Nodes, new_topic: str) -> None:
    with pytest.raises(AssertionError, match="includes broker 3, but all its log directories are cordoned"):
        create_on(nodes.any(), new_topic, [[1, 3]])
    create_on(nodes.any(), new_topic, [[1, 2]])
    assert reassign(nodes.any(), new_topic, {0: [1, 3]}) == {0: "INVALID_REPLICA_ASSIGNMENT"}
    assert moving(nodes.any(), new_topic) == {}


def test_what_is_there_stays_and_can_be_moved_away(nodes: Nodes) -> None:
    await_states(nodes.any(), "before-cordon", in_sync(3, 1))
    assert reassign(nodes.any(), "before-cordon", {0: [1, 2]}) == {0: "NONE"}
    await_states(nodes.any(), "before-cordon", in_sync(1, 2))


def test_the_directory_says_so(nodes: Nodes) -> None:
    cordoned = {
        node_id: [
            found.is_cordoned
            for found in nodes.to(node_id).call(DescribeLogDirsRequest(topics=[]), DescribeLogDirsResponse, 5).results
        ]
        for node_id in nodes.nodes
    }
    assert cordoned == {1: [False], 2: [False], 3: [True]}
