"""ElectLeaders (43) while all nodes serve."""

from __future__ import annotations

from tests.compat.cluster.nodes import Nodes
from tests.support.control_plane import PREFERRED, UNCLEAN, State, await_states, create_on, elect, in_sync, reassign


def test_preferred_replicas(nodes: Nodes, new_topic: str) -> None:
    """Named partitions are all answered; with null only those that need an election."""
    connection = nodes.any()
    create_on(connection, new_topic, [[1, 2], [2, 3]])
    assert reassign(connection, new_topic, {0: [2, 1]}) == {0: "NONE"}
    await_states(connection, new_topic, State(1, [2, 1], [1, 2], [], [], []), in_sync(2, 3))
    assert elect(connection, PREFERRED, {new_topic: [0, 1, 9], f"{new_topic}-missing": [0]}) == {
        (new_topic, 0): "NONE",
        (new_topic, 1): "ELECTION_NOT_NEEDED",
        (new_topic, 9): "UNKNOWN_TOPIC_OR_PARTITION",
        (f"{new_topic}-missing", 0): "UNKNOWN_TOPIC_OR_PARTITION",
    }
    await_states(connection, new_topic, in_sync(2, 1), in_sync(2, 3))
    assert reassign(connection, new_topic, {1: [3, 2]}) == {1: "NONE"}
    await_states(connection, new_topic, in_sync(2, 1), State(2, [3, 2], [2, 3], [], [], []))
    answered = elect(connection, PREFERRED, None)
    assert {key: error for key, error in answered.items() if key[0] == new_topic} == {(new_topic, 1): "NONE"}
    assert set(answered.values()) == {"NONE"}
    await_states(connection, new_topic, in_sync(2, 1), in_sync(3, 2))


def test_nothing_to_elect(nodes: Nodes, new_topic: str) -> None:
    connection = nodes.any()
    create_on(connection, new_topic, [[1, 2]])
    await_states(connection, new_topic, in_sync(1, 2))
    assert elect(connection, PREFERRED, {new_topic: [0]}) == {(new_topic, 0): "ELECTION_NOT_NEEDED"}
    assert elect(connection, UNCLEAN, {new_topic: [0]}) == {(new_topic, 0): "ELECTION_NOT_NEEDED"}
    assert elect(connection, PREFERRED, {}) == {}
    assert elect(connection, UNCLEAN, None) == {}
