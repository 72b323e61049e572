"""What becomes of partitions whose brokers are killed, and come back (KIP-966)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from odradek.wire.messages.produce import ProduceResponse
from tests.compat.cluster.nodes import IDS, Nodes, serves
from tests.support.batches import batch
from tests.support.control_plane import (
    PREFERRED,
    SAFE_DOWNGRADE,
    State,
    await_states,
    create_on,
    elect,
    fenced,
    in_sync,
    reassign,
    states,
    unregister,
    update_features,
)
from tests.support.process import wait_for
from tests.support.requests import code, produce, produce_request
from tests.support.wire import Connection

ELR = "eligible.leader.replicas.version"


@pytest.fixture(autouse=True)
def all_up(nodes: Nodes) -> Iterator[None]:
    """Whatever fails, the next case finds all nodes."""
    yield
    for node_id in IDS:
        if not nodes.nodes[node_id].running:
            nodes.up(node_id)


def refuses(leader: Connection, topic: str) -> bool:
    """Whether records are not even appended."""
    request = produce_request(topic, batch())
    request.timeout_ms = 100
    (answer,) = leader.call(request, ProduceResponse, 12).responses
    return code(answer.partition_responses[0].error_code) == "NOT_ENOUGH_REPLICAS"


def test_a_killed_broker(nodes: Nodes, new_topic: str) -> None:
    """Until its session ends it counts as alive; then as eligible where too few are in sync, until it comes back."""
    led, followed, alone = f"{new_topic}-led", f"{new_topic}-followed", f"{new_topic}-alone"
    connection = nodes.any()
    create_on(connection, led, [[3, 1]], {"min.insync.replicas": "2"})
    create_on(connection, followed, [[1, 2, 3]], {"min.insync.replicas": "3"})
    create_on(connection, alone, [[3]])
    wait_for(lambda: serves(nodes.to(1), followed), "node 1 leads")
    wait_for(lambda: serves(nodes.to(3), alone), "node 3 leads")
    await_states(connection, followed, in_sync(1, 2, 3))
    assert code(produce(nodes.to(3), alone, batch()).error_code) == "NONE"

    nodes.nodes[3].kill()
    create_on(connection, new_topic, [[3, 1, 2]])
    await_states(connection, new_topic, State(3, [3, 1, 2], [1, 2, 3], [], [], []))
    # Too few replicas in sync let no high watermark advance, so that nobody learns what became of the record.
    request = produce_request(followed, batch())
    request.timeout_ms = 1000
    (answer,) = nodes.to(1).call(request, ProduceResponse, 12).responses
    assert code(answer.partition_responses[0].error_code) == "REQUEST_TIMED_OUT"
    nodes.await_fenced(3)
    wait_for(lambda: refuses(nodes.to(1), followed), "too few replicas are in sync")
    await_states(connection, new_topic, State(1, [3, 1, 2], [1, 2], [], [], [3]))
    await_states(connection, led, State(1, [3, 1], [1], [3], [], [3]))
    await_states(connection, followed, State(1, [1, 2, 3], [1, 2], [3], [], [3]))
    await_states(connection, alone, State(-1, [3], [], [3], [3], [3]))

    # Who is eligible is shown on, but a partition that changes without the feature forgets it.
    assert update_features(connection, {ELR: 0}, SAFE_DOWNGRADE) == ("NONE", "")
    assert reassign(connection, followed, {0: [2, 1, 3]}) == {0: "NONE"}
    await_states(connection, led, State(1, [3, 1], [1], [3], [], [3]))
    await_states(connection, followed, State(1, [2, 1, 3], [1, 2], [], [], [3]))
    assert update_features(connection, {ELR: 1}) == ("NONE", "")
    await_states(connection, led, State(1, [3, 1], [1], [3], [], [3]))

    nodes.up(3)
    await_states(connection, led, State(1, [3, 1], [1, 3], [], [], []))
    await_states(connection, followed, State(1, [2, 1, 3], [1, 2, 3], [], [], []))
    await_states(connection, alone, in_sync(3))


def test_all_replicas_killed_one_after_the_other(nodes: Nodes, new_topic: str) -> None:
    """Who led last leads again, even if another one comes back first: only it is known to have everything."""
    connection = nodes.to(1)
    create_on(connection, new_topic, [[2, 3]], {"min.insync.replicas": "2"})
    wait_for(lambda: serves(nodes.to(2), new_topic), "node 2 leads")
    assert code(produce(nodes.to(2), new_topic, batch()).error_code) == "NONE"
    nodes.down(2, kill=True)
    await_states(connection, new_topic, State(3, [2, 3], [3], [2], [], [2]))
    nodes.nodes[3].kill()
    nodes.nodes[2].start()
    wait_for(lambda: fenced(connection) == {1: False, 2: False, 3: True}, "node 3 is fenced", 30.0)
    await_states(connection, new_topic, State(-1, [2, 3], [], [3], [3], [3]))
    nodes.up(3)
    await_states(connection, new_topic, State(3, [2, 3], [2, 3], [], [], []))


def test_a_stop_and_a_start_at_once(nodes: Nodes, new_topic: str) -> None:
    """Nothing is lost, and the broker is in sync again."""
    connection = nodes.to(1)
    create_on(connection, new_topic, [[2, 1]], {"min.insync.replicas": "2"})
    await_states(connection, new_topic, in_sync(2, 1))
    nodes.nodes[2].stop()
    await_states(connection, new_topic, State(1, [2, 1], [1], [2], [], [2]))
    nodes.up(2)
    await_states(connection, new_topic, State(1, [2, 1], [1, 2], [], [], []))


def test_a_broker_that_hangs(nodes: Nodes, new_topic: str) -> None:
    """It is fenced like one that is gone; new topics count it as a replica, and it comes back without a start."""
    connection = nodes.to(1)
    create_on(connection, new_topic, [[3, 1]])
    await_states(connection, new_topic, in_sync(3, 1))
    nodes.nodes[3].pause()
    try:
        wait_for(lambda: fenced(connection) == {1: False, 2: False, 3: True}, "it is fenced", 30.0)
        await_states(connection, new_topic, State(1, [3, 1], [1], [], [], [3]))
        assert elect(connection, PREFERRED, {new_topic: [0]}) == {(new_topic, 0): "PREFERRED_LEADER_NOT_AVAILABLE"}
        create_on(connection, f"{new_topic}-wide", [[3, 2, 1]])
        await_states(connection, f"{new_topic}-wide", State(2, [3, 2, 1], [1, 2], [], [], [3]))
        with pytest.raises(AssertionError, match="fenced or in controlled shutdown"):
            create_on(connection, f"{new_topic}-alone", [[3]])
    finally:
        nodes.nodes[3].resume()
    nodes.await_all()
    await_states(connection, new_topic, State(1, [3, 1], [1, 3], [], [], []))
    await_states(connection, f"{new_topic}-wide", State(2, [3, 2, 1], [1, 2, 3], [], [], []))
    assert elect(connection, PREFERRED, {new_topic: [0]}) == {(new_topic, 0): "NONE"}


def test_a_broker_that_is_unregistered_while_it_runs(nodes: Nodes, new_topic: str) -> None:
    """Others lead what it led; at the latest a start makes it a broker again, with all that it had."""
    connection = nodes.to(1)
    create_on(connection, new_topic, [[3, 1]], {"min.insync.replicas": "2"})
    await_states(connection, new_topic, in_sync(3, 1))
    assert unregister(connection, 3) == ("NONE", "")
    wait_for(lambda: states(connection, new_topic)[0].leader == 1, "another one leads")
    nodes.down(3, kill=True)
    nodes.up(3)
    await_states(connection, new_topic, State(1, [3, 1], [1, 3], [], [], []))


@pytest.mark.odradek_only(reason="Kafka's broker is none any more until it is started anew")
def test_a_broker_that_is_unregistered_registers_again(nodes: Nodes) -> None:
    assert unregister(nodes.to(1), 3) == ("NONE", "")
    nodes.await_all()
