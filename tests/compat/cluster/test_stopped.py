"""What can be done while a broker is stopped in good order: creations, elections, and its registration's end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from tests.compat.cluster.nodes import THROTTLED, Nodes, fill, serves
from tests.support.batches import batch
from tests.support.control_plane import (
    PREFERRED,
    UNCLEAN,
    State,
    alter,
    await_states,
    create_on,
    elect,
    fenced,
    in_sync,
    reassign,
    states,
    unregister,
)
from tests.support.process import wait_for
from tests.support.requests import BROKER, TOPIC, code, list_offset, produce

UNCLEAN_ENABLE = "unclean.leader.election.enable"
SHARED, ALONE, MINIMUM, ELECTED, BY_TOPIC, BY_CLUSTER = (
    f"stopped-{name}" for name in ("shared", "alone", "minimum", "elected", "by-topic", "by-cluster")
)
LEADERLESS = State(-1, [3, 1], [], [3], [3], [3])
"""One replica is in sync but stopped, the other one lags behind."""


@pytest.fixture(scope="module", autouse=True)
def one_stopped(running_nodes: Nodes, throttle: None) -> Iterator[None]:
    """Node 3 has stopped in good order; some topics had been made before."""
    connection = running_nodes.any()
    create_on(connection, SHARED, [[3, 1], [1, 3]])
    create_on(connection, ALONE, [[3]])
    create_on(connection, MINIMUM, [[3, 1, 2]], {"min.insync.replicas": "3"})
    for name in (ELECTED, BY_TOPIC, BY_CLUSTER):
        create_on(connection, name, [[3]], {THROTTLED: "0:1"})
        await_states(running_nodes.to(3), name, in_sync(3))
        fill(running_nodes.to(3), name)
        assert reassign(connection, name, {0: [3, 1]}) == {0: "NONE"}
    running_nodes.down(3)
    yield
    running_nodes.up(3)
    await_states(running_nodes.any(), MINIMUM, State(1, [3, 1, 2], [1, 2, 3], [], [], []))


def test_it_is_fenced_and_known(nodes: Nodes) -> None:
    for node_id in (1, 2):
        assert fenced(nodes.to(node_id)) == {1: False, 2: False, 3: True}
        listed = nodes.to(node_id).call(MetadataRequest(topics=[]), MetadataResponse).brokers
        assert sorted(broker.node_id for broker in listed) == [1, 2]


def test_others_lead_what_it_led(nodes: Nodes) -> None:
    for node_id in (1, 2):
        connection = nodes.to(node_id)
        await_states(connection, SHARED, State(1, [3, 1], [1], [], [], [3]), State(1, [1, 3], [1], [], [], [3]))
        await_states(connection, ALONE, State(-1, [3], [], [3], [3], [3]))
        await_states(connection, MINIMUM, State(1, [3, 1, 2], [1, 2], [3], [], [3]))


def test_its_leaderships_cannot_be_given_back(nodes: Nodes) -> None:
    connection = nodes.any()
    assert elect(connection, PREFERRED, {SHARED: [0, 1], ALONE: [0]}) == {
        (SHARED, 0): "PREFERRED_LEADER_NOT_AVAILABLE",
        (SHARED, 1): "ELECTION_NOT_NEEDED",
        (ALONE, 0): "PREFERRED_LEADER_NOT_AVAILABLE",
    }
    of_all = elect(connection, PREFERRED, None)
    assert of_all[SHARED, 0] == "PREFERRED_LEADER_NOT_AVAILABLE"
    assert (SHARED, 1) not in of_all
    assert elect(connection, UNCLEAN, {ALONE: [0]}) == {(ALONE, 0): "ELIGIBLE_LEADERS_NOT_AVAILABLE"}


def test_too_few_replicas_in_sync_for_acks_all(nodes: Nodes) -> None:
    """Nothing is appended."""
    wait_for(lambda: serves(nodes.to(1), MINIMUM), "node 1 leads")
    assert code(produce(nodes.to(1), MINIMUM, batch()).error_code) == "NOT_ENOUGH_REPLICAS"
    assert list_offset(nodes.to(1), MINIMUM, -1).offset == 0
    assert code(produce(nodes.to(1), MINIMUM, batch(), acks=1).error_code) == "NONE"


def test_topics_are_created_with_it(nodes: Nodes, new_topic: str) -> None:
    """It counts as a replica, out of sync; but somebody else must lead."""
    connection = nodes.any()
    request = CreateTopicsRequest(
        topics=[CreatableTopic(name=new_topic, num_partitions=3, replication_factor=3)], timeout_ms=15_000
    )
    (answer,) = connection.call(request, CreateTopicsResponse).topics
    assert (code(answer.error_code), answer.replication_factor) == ("NONE", 3)
    wait_for(lambda: len(states(connection, new_topic)) == 3, "the topic is known")
    for state in states(connection, new_topic):
        assert sorted(state.replicas) == [1, 2, 3]
        assert (state.leader, state.isr, state.offline) == (state.replicas[0], [1, 2], [3])
        assert state.leader != 3
    create_on(connection, f"{new_topic}-by-hand", [[3, 2, 1]])
    await_states(connection, f"{new_topic}-by-hand", State(2, [3, 2, 1], [1, 2], [], [], [3]))


@pytest.mark.parametrize("is_manual", [True, False])
def test_no_topic_is_created_on_it_alone(nodes: Nodes, new_topic: str, is_manual: bool) -> None:
    with pytest.raises(AssertionError, match="fenced or in controlled shutdown"):
        create_on(nodes.any(), new_topic, [[3]] if is_manual else [[1], [3]])


def test_a_move_to_it_waits(nodes: Nodes, new_topic: str) -> None:
    connection = nodes.any()
    create_on(connection, new_topic, [[1]])
    assert reassign(connection, new_topic, {0: [3]}) == {0: "NONE"}
    await_states(connection, new_topic, State(1, [3, 1], [1], [], [], [3]))
    assert reassign(connection, new_topic, {0: None}) == {0: "NONE"}
    await_states(connection, new_topic, in_sync(1))


def test_an_unclean_election_by_hand(nodes: Nodes) -> None:
    """Whoever is there leads what it has; a preferred election does not do that."""
    connection = nodes.any()
    await_states(connection, ELECTED, LEADERLESS)
    assert elect(connection, PREFERRED, {ELECTED: [0]}) == {(ELECTED, 0): "PREFERRED_LEADER_NOT_AVAILABLE"}
    assert elect(connection, UNCLEAN, {ELECTED: [0]}) == {(ELECTED, 0): "NONE"}
    await_states(connection, ELECTED, State(1, [3, 1], [1], [], [], [3]))
    assert elect(connection, UNCLEAN, {ELECTED: [0]}) == {(ELECTED, 0): "ELECTION_NOT_NEEDED"}
    wait_for(lambda: serves(nodes.to(1), ELECTED), "the new leader serves")


def test_unclean_elections_that_are_allowed_later(nodes: Nodes) -> None:
    """KIP-966: once a topic's or the cluster's property says so, the controller elects by itself."""
    connection = nodes.any()
    await_states(connection, BY_TOPIC, LEADERLESS)
    assert alter(connection, TOPIC, BY_TOPIC, {UNCLEAN_ENABLE: "true"}) == ("NONE", "")
    await_states(connection, BY_TOPIC, State(1, [3, 1], [1], [], [], [3]))
    assert states(connection, BY_CLUSTER) == [LEADERLESS]
    assert alter(connection, BROKER, "", {UNCLEAN_ENABLE: "true"}) == ("NONE", "")
    try:
        await_states(connection, BY_CLUSTER, State(1, [3, 1], [1], [], [], [3]))
    finally:
        assert alter(connection, BROKER, "", {UNCLEAN_ENABLE: None}) == ("NONE", "")


def test_its_registration_can_be_taken_away(nodes: Nodes) -> None:
    """It is then not a broker at all; what only it has stays without a leader until it comes back."""
    connection = nodes.any()
    assert unregister(connection, 3) == ("NONE", "")
    for node_id in (1, 2):
        wait_for(lambda: fenced(nodes.to(node_id)) == {1: False, 2: False}, "it is forgotten")  # noqa: B023
    assert unregister(connection, 3)[0] == "BROKER_ID_NOT_REGISTERED"
    await_states(connection, ALONE, State(-1, [3], [], [3], [3], [3]))
    with pytest.raises(AssertionError, match="no such broker is registered"):
        create_on(connection, "stopped-unregistered", [[1, 3]])
