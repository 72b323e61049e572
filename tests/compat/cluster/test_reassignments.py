"""AlterPartitionReassignments (45) and ListPartitionReassignments (46) on three nodes (KIP-455)."""

from __future__ import annotations

import pytest

from odradek.wire.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
)
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from tests.compat.cluster.nodes import RECORDS, THROTTLED, Nodes, fill, serves
from tests.support.batches import batch
from tests.support.control_plane import (
    Moving,
    State,
    alter,
    await_states,
    create_on,
    in_sync,
    moving,
    reassign,
    states,
)
from tests.support.process import wait_for
from tests.support.requests import TOPIC, code, list_offset, produce
from tests.support.wire import Connection

UNCLEAN_ENABLE = "unclean.leader.election.enable"


def held(nodes: Nodes, topic: str, *replicas: int, throttled: str = "*") -> Connection:
    """A topic with records; throttled replicas that are added do not catch up."""
    connection = nodes.any()
    create_on(connection, topic, [replicas])
    await_states(connection, topic, in_sync(*replicas))
    fill(nodes.to(replicas[0]), topic)
    assert alter(connection, TOPIC, topic, {THROTTLED: throttled}) == ("NONE", "")
    return connection


def release(connection: Connection, topic: str) -> None:
    """Let the topic's replicas catch up."""
    assert alter(connection, TOPIC, topic, {THROTTLED: None}) == ("NONE", "")


def await_moving(connection: Connection, topic: str, expected: Moving | None) -> None:
    wanted = {} if expected is None else {0: expected}
    wait_for(lambda: moving(connection, topic) == wanted, f"{topic}: {wanted}")


def test_a_move_to_another_node(nodes: Nodes, new_topic: str) -> None:
    """New replicas are added first, and old ones go once the new ones are in sync; nobody is left over."""
    connection = nodes.any()
    create_on(connection, new_topic, [[1, 2]])
    await_states(connection, new_topic, in_sync(1, 2))
    fill(nodes.to(1), new_topic)
    assert reassign(connection, new_topic, {0: [2, 3]}) == {0: "NONE"}
    await_states(connection, new_topic, in_sync(2, 3))
    assert moving(connection, new_topic) == {}
    assert code(list_offset(nodes.to(1), new_topic, -1).error_code) == "NOT_LEADER_OR_FOLLOWER"
    wait_for(lambda: serves(nodes.to(2), new_topic, 0), "the new leader serves")
    assert list_offset(nodes.to(2), new_topic, -1).offset == RECORDS


def test_a_throttled_move_is_under_way_until_it_may_go_on(nodes: Nodes, throttle: None, new_topic: str) -> None:
    connection = held(nodes, new_topic, 1, 2)
    assert reassign(connection, new_topic, {0: [3, 1]}) == {0: "NONE"}
    await_states(connection, new_topic, State(1, [3, 1, 2], [1, 2], [], [], []))
    assert moving(connection, new_topic) == {0: Moving([3, 1, 2], [3], [2])}
    release(connection, new_topic)
    await_states(connection, new_topic, State(1, [3, 1], [1, 3], [], [], []))
    assert moving(connection, new_topic) == {}


def test_the_same_move_twice(nodes: Nodes, throttle: None, new_topic: str) -> None:
    connection = held(nodes, new_topic, 1, 2)
    for _ in range(2):
        assert reassign(connection, new_topic, {0: [3, 1]}) == {0: "NONE"}
        await_moving(connection, new_topic, Moving([3, 1, 2], [3], [2]))
    release(connection, new_topic)
    await_states(connection, new_topic, State(1, [3, 1], [1, 3], [], [], []))


def test_another_move_on_the_way(nodes: Nodes, throttle: None, new_topic: str) -> None:
    """Who is on the way in stays so, and those whom neither wants go."""
    connection = held(nodes, new_topic, 1, 2)
    assert reassign(connection, new_topic, {0: [2, 3]}) == {0: "NONE"}
    await_moving(connection, new_topic, Moving([2, 3, 1], [3], [1]))
    assert reassign(connection, new_topic, {0: [3]}) == {0: "NONE"}
    await_moving(connection, new_topic, Moving([3, 1, 2], [3], [1, 2]))
    release(connection, new_topic)
    await_states(connection, new_topic, in_sync(3))


@pytest.mark.odradek_only(reason="Kafka removes what it adds, and never completes that")
def test_a_move_that_is_taken_back(nodes: Nodes, throttle: None, new_topic: str) -> None:
    """To reassign to the replicas from before is as good as to cancel."""
    connection = held(nodes, new_topic, 1, 2)
    assert reassign(connection, new_topic, {0: [2, 3]}) == {0: "NONE"}
    await_moving(connection, new_topic, Moving([2, 3, 1], [3], [1]))
    assert reassign(connection, new_topic, {0: [1, 2]}) == {0: "NONE"}
    await_states(connection, new_topic, in_sync(1, 2))
    assert moving(connection, new_topic) == {}


def test_a_cancelled_move(nodes: Nodes, throttle: None, new_topic: str) -> None:
    """Everything is as before, and there is nothing more to cancel."""
    connection = held(nodes, new_topic, 1, 2)
    assert reassign(connection, new_topic, {0: [3, 2]}) == {0: "NONE"}
    await_moving(connection, new_topic, Moving([3, 2, 1], [3], [1]))
    assert reassign(connection, new_topic, {0: None}) == {0: "NONE"}
    # The order of the replicas is the one of the target.
    await_states(connection, new_topic, State(1, [2, 1], [1, 2], [], [], []))
    assert moving(connection, new_topic) == {}
    assert reassign(connection, new_topic, {0: None}) == {0: "NO_REASSIGNMENT_IN_PROGRESS"}


def test_a_cancelled_move_that_takes_over_everything(nodes: Nodes, throttle: None, new_topic: str) -> None:
    """While only added replicas are in sync, there is nobody to go back to."""
    connection = held(nodes, new_topic, 3, throttled="0:2")
    assert reassign(connection, new_topic, {0: [1, 2]}) == {0: "NONE"}
    await_states(connection, new_topic, State(3, [1, 2, 3], [1, 3], [], [], []))
    with nodes.without(3):
        connection = nodes.any()
        await_states(connection, new_topic, State(1, [1, 2, 3], [1], [], [], [3]))
        assert reassign(connection, new_topic, {0: None}) == {0: "INVALID_REPLICA_ASSIGNMENT"}
        assert moving(connection, new_topic) == {0: Moving([1, 2, 3], [1, 2], [3])}
        release(connection, new_topic)
        await_states(connection, new_topic, in_sync(1, 2))


def test_a_cancelled_move_where_unclean_elections_are_allowed(nodes: Nodes, throttle: None, new_topic: str) -> None:
    """Then there is somebody to go back to: the one from before leads what it has, once it is there."""
    connection = held(nodes, new_topic, 3, throttled="0:2")
    assert reassign(connection, new_topic, {0: [1, 2]}) == {0: "NONE"}
    await_states(connection, new_topic, State(3, [1, 2, 3], [1, 3], [], [], []))
    with nodes.without(3):
        connection = nodes.any()
        await_states(connection, new_topic, State(1, [1, 2, 3], [1], [], [], [3]))
        assert alter(connection, TOPIC, new_topic, {UNCLEAN_ENABLE: "true"}) == ("NONE", "")
        assert reassign(connection, new_topic, {0: None}) == {0: "NONE"}
        wait_for(lambda: states(connection, new_topic)[0].leader == -1, "nobody leads")
        assert states(connection, new_topic)[0].replicas == [3]
        assert moving(connection, new_topic) == {}
    await_states(connection, new_topic, in_sync(3))
    wait_for(lambda: serves(nodes.to(3), new_topic, 0), "it leads")
    assert list_offset(nodes.to(3), new_topic, -1).offset == RECORDS


def test_fewer_replicas_than_min_insync_replicas(nodes: Nodes, new_topic: str) -> None:
    """The minimum counts for no more than there are replicas."""
    connection = nodes.any()
    create_on(connection, new_topic, [[1, 2, 3]], {"min.insync.replicas": "2"})
    await_states(connection, new_topic, in_sync(1, 2, 3))
    assert reassign(connection, new_topic, {0: [2]}) == {0: "NONE"}
    # Kafka keeps replicas that are gone as eligible ones.
    wait_for(lambda: states(connection, new_topic)[0]._replace(elr=[]) == in_sync(2), "only one replica is left")
    wait_for(lambda: serves(nodes.to(2), new_topic, 0), "the only replica leads")
    assert code(produce(nodes.to(2), new_topic, batch()).error_code) == "NONE"


def test_more_replicas(nodes: Nodes, new_topic: str) -> None:
    connection = nodes.any()
    create_on(connection, new_topic, [[2]])
    assert reassign(connection, new_topic, {0: [2, 3, 1]}) == {0: "NONE"}
    await_states(connection, new_topic, in_sync(2, 3, 1))


def test_another_order_is_no_move(nodes: Nodes, new_topic: str) -> None:
    connection = nodes.any()
    create_on(connection, new_topic, [[1, 2, 3]])
    assert reassign(connection, new_topic, {0: [3, 2, 1]}) == {0: "NONE"}
    await_states(connection, new_topic, State(1, [3, 2, 1], [1, 2, 3], [], [], []))
    assert moving(connection, new_topic) == {}


@pytest.mark.parametrize(
    ("wanted", "may_change_factor", "expected"),
    [
        ([1, 99], True, "INVALID_REPLICA_ASSIGNMENT"),
        ([1, -1], True, "INVALID_REPLICA_ASSIGNMENT"),
        ([3, 3], True, "INVALID_REPLICA_ASSIGNMENT"),
        ([], True, "INVALID_REPLICA_ASSIGNMENT"),
        ([1, 2, 3], False, "INVALID_REPLICATION_FACTOR"),
        ([3], False, "INVALID_REPLICATION_FACTOR"),
        ([3, 1], False, "NONE"),
        (None, True, "NO_REASSIGNMENT_IN_PROGRESS"),
    ],
)
def test_what_is_refused(
    nodes: Nodes, new_topic: str, wanted: list[int] | None, may_change_factor: bool, expected: str
) -> None:
    connection = nodes.any()
    create_on(connection, new_topic, [[1, 2]])
    assert reassign(connection, new_topic, {0: wanted}, may_change_factor=may_change_factor) == {0: expected}
    if expected != "NONE":
        assert moving(connection, new_topic) == {}


def test_partitions_that_are_not_there(nodes: Nodes, new_topic: str) -> None:
    """Each partition is answered by itself."""
    connection = nodes.any()
    assert reassign(connection, new_topic, {0: [1]}) == {0: "UNKNOWN_TOPIC_OR_PARTITION"}
    create_on(connection, new_topic, [[1, 2]])
    answers = reassign(connection, new_topic, {7: [1], 0: [1, 2], 1: None})
    assert answers == {7: "UNKNOWN_TOPIC_OR_PARTITION", 0: "NONE", 1: "UNKNOWN_TOPIC_OR_PARTITION"}
    assert moving(connection, new_topic, [0, 7]) == {}


def test_partitions_that_are_added_during_a_move(nodes: Nodes, throttle: None, new_topic: str) -> None:
    """New partitions have as many replicas as the first one has at the moment, those on the way among them."""
    connection = held(nodes, new_topic, 1, 2)
    assert reassign(connection, new_topic, {0: [3, 1]}) == {0: "NONE"}
    await_moving(connection, new_topic, Moving([3, 1, 2], [3], [2]))
    grown = CreatePartitionsTopic(name=new_topic, count=2, assignments=None)
    request = CreatePartitionsRequest(topics=[grown], timeout_ms=15_000)
    (result,) = connection.call(request, CreatePartitionsResponse).results
    assert code(result.error_code) == "NONE", result.error_message
    wait_for(lambda: len(states(connection, new_topic)) == 2, "the topic has grown")
    assert len(states(connection, new_topic)[1].replicas) == 3
    assert moving(connection, new_topic) == {0: Moving([3, 1, 2], [3], [2])}
    release(connection, new_topic)
    await_moving(connection, new_topic, None)
    moved = State(1, [3, 1], [1, 3], [], [], [])
    wait_for(lambda: states(connection, new_topic)[0] == moved, "the move is done")


def test_a_topic_that_is_deleted_during_a_move(nodes: Nodes, throttle: None, new_topic: str) -> None:
    connection = held(nodes, new_topic, 1, 2)
    assert reassign(connection, new_topic, {0: [3, 1]}) == {0: "NONE"}
    await_moving(connection, new_topic, Moving([3, 1, 2], [3], [2]))
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name=new_topic)], timeout_ms=15_000)
    (result,) = connection.call(request, DeleteTopicsResponse).responses
    assert code(result.error_code) == "NONE"
    wait_for(lambda: states(connection, new_topic) == [], "the topic is gone")
    assert moving(connection, new_topic) == {}
    for node in nodes.nodes.values():
        left = f"{new_topic}-0"
        wait_for(lambda: not (node.data_dir / left).exists(), f"{left} is gone from {node.node_id}")  # noqa: B023
