"""How long no write is acknowledged after kill -9 of a partition's leader, as a client sees it that keeps sending."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from confluent_kafka import Producer

from benchmarks.cluster.nodes import Nodes
from tests.support.process import BrokerFailed, wait_for

LEADER, CONTROLLER = "leader", "controller"
VICTIMS = {
    LEADER: "the leader, not the active controller",
    CONTROLLER: "the leader, the active controller as well",
}
DEFAULT, SHORT = "default", "short"
TIMEOUTS: dict[str, dict[str, str]] = {
    DEFAULT: {},
    SHORT: {
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        "controller.quorum.fetch.timeout.ms": "1000",
        "controller.quorum.election.timeout.ms": "500",
        "controller.quorum.election.backoff.max.ms": "500",
    },
}
"""Properties of both kinds of nodes; what is not named has its default."""
CLIENT = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 0,
    "retry.backoff.ms": 20,
    "retry.backoff.max.ms": 50,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 50,
    "topic.metadata.refresh.interval.ms": 100,
    "topic.metadata.refresh.fast.interval.ms": 50,
    "message.timeout.ms": 120_000,
    "log_level": 0,
}
"""The client learns of a new leader nearly at once, so that it adds little to what the nodes take."""
SEND_INTERVAL_S = 0.01
FIRST_ACK_TIMEOUT_S = 30.0
FAILOVER_TIMEOUT_S = 90.0


@dataclass(frozen=True)
class Failover:
    """Seconds from the kill to the first acknowledged write, and to when the node was in sync again."""

    first_ack_s: float
    in_sync_s: float


class Writer:
    """Keeps sending to one partition, a record every 10 ms, from a thread of its own."""

    def __init__(self, bootstrap: str, topic: str, partition: int) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, **CLIENT})
        self._topic = topic
        self._partition = partition
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._acks: list[tuple[float, float]] = []
        self._errors: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stops.set()
        self._thread.join()
        self._producer.purge()
        self._producer.flush(5.0)

    def first_ack_s(self, since_s: float, timeout_s: float) -> float:
        """When the first record sent after `since_s` was acknowledged (monotonic). Raises BrokerFailed."""
        deadline_s = time.monotonic() + timeout_s
        looked_at = 0
        while time.monotonic() < deadline_s:
            end = len(self._acks)
            for sent_s, acked_s in self._acks[looked_at:end]:
                if sent_s >= since_s:
                    return acked_s
            looked_at = end
            if self._errors:
                raise BrokerFailed(f"a write failed: {self._errors[0]}")
            time.sleep(0.005)
        raise BrokerFailed(f"no write was acknowledged within {timeout_s:g} s")

    def _run(self) -> None:
        number = 0
        while not self._stops.is_set():
            sent_s = time.monotonic()

            def told(error: object, _message: object, sent_s: float = sent_s) -> None:
                if error is None:
                    self._acks.append((sent_s, time.monotonic()))
                else:
                    self._errors.append(str(error))

            try:
                self._producer.produce(self._topic, str(number), partition=self._partition, on_delivery=told)
                number += 1
            except BufferError:
                pass
            # Sending keeps its pace, and deliveries are heard of as soon as they happen.
            until_s = sent_s + SEND_INTERVAL_S
            while (left_s := until_s - time.monotonic()) > 0:
                self._producer.poll(left_s)


def fail_over(nodes: Nodes, topic: str, victim: str) -> Failover:
    """Kill a node, see how long its partition is not written to, and bring it back; all nodes are in sync before and
    after, and each leads what it should. Raises BrokerFailed, TimeoutError.
    """
    nodes.await_in_sync(topic)
    nodes.await_preferred_leaders(topic)
    wait_for(lambda: nodes.active_controller() >= 0, "there is an active controller")
    controller = nodes.active_controller()
    partition = next(
        each for each in nodes.partitions(topic) if (each.leader_id == controller) is (victim == CONTROLLER)
    )
    node = nodes.node(partition.leader_id)
    with Writer(nodes.bootstrap, topic, partition.partition_index) as writer:
        writer.first_ack_s(time.monotonic(), FIRST_ACK_TIMEOUT_S)
        killed_s = time.monotonic()
        node.kill()
        first_ack_s = writer.first_ack_s(time.monotonic(), FAILOVER_TIMEOUT_S) - killed_s
    begun_s = time.monotonic()
    node.start()
    nodes.await_in_sync(topic)
    nodes.await_preferred_leaders(topic)
    return Failover(first_ack_s, time.monotonic() - begun_s)
