"""What producers with acks=all are told while a follower stands still."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from odradek.wire.messages.produce import ProduceResponse
from tests.compat.cluster.nodes import IDS, Nodes, serves
from tests.support.batches import batch
from tests.support.control_plane import State, await_states, create_on, in_sync
from tests.support.process import wait_for
from tests.support.requests import (
    NAMED_PRODUCE_VERSION,
    code,
    fetch,
    fetch_request,
    list_offset,
    produce,
    produce_request,
)


@contextmanager
def paused(nodes: Nodes, node_id: int) -> Iterator[None]:
    """Others go on without it, and do not know why it is silent."""
    pid = nodes.nodes[node_id].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        nodes.await_all()


def test_the_isr_shrinks_while_a_producer_waits(nodes: Nodes, new_topic: str) -> None:
    """What was appended is not committed by too few replicas (KIP-966), so its producer is told at its time-out.

    NOT_ENOUGH_REPLICAS_AFTER_APPEND is for what was committed in time and has too few replicas in sync by then.
    """
    leader = nodes.active_controller()
    follower = next(node_id for node_id in IDS if node_id != leader)
    connection = nodes.to(leader)
    create_on(connection, new_topic, [[leader, follower]], {"min.insync.replicas": "2"})
    await_states(connection, new_topic, in_sync(leader, follower))
    wait_for(lambda: serves(connection, new_topic), "it is led")
    assert code(produce(connection, new_topic, batch([b"before"])).error_code) == "NONE"
    with paused(nodes, follower):
        request = produce_request(new_topic, batch([b"meanwhile"]))
        request.timeout_ms = 9000
        answer = connection.call(request, ProduceResponse, NAMED_PRODUCE_VERSION).responses[0].partition_responses[0]
        assert code(answer.error_code) == "REQUEST_TIMED_OUT"
        alone = State(leader, [leader, follower], [leader], [follower], [], [follower])
        await_states(connection, new_topic, alone)
        assert code(produce(connection, new_topic, batch([b"late"])).error_code) == "NOT_ENOUGH_REPLICAS"
        assert list_offset(connection, new_topic, -1).offset == 1, "the high watermark stays where it was"
        assert fetch(connection, fetch_request(new_topic, 1, max_wait_ms=0)).records in (None, b"")
    await_states(connection, new_topic, in_sync(leader, follower))
    wait_for(lambda: list_offset(connection, new_topic, -1).offset == 2, "what waited is committed in the end")
