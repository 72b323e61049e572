"""Three nodes of either kind, each broker and controller, and connections to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.apache_cluster import ApacheNode
from tests.support.batches import batch
from tests.support.cluster import Cluster, Node
from tests.support.control_plane import fenced, quorum
from tests.support.process import BrokerFailed, wait_for
from tests.support.requests import code, list_offset, produce
from tests.support.wire import Closed, Connection

IDS = (1, 2, 3)
SESSION_TIMEOUT_S = 3.0
SETTINGS = {
    "auto.leader.rebalance.enable": "false",
    "broker.heartbeat.interval.ms": "300",
    "broker.session.timeout.ms": str(int(SESSION_TIMEOUT_S * 1000)),
    "controller.quorum.fetch.timeout.ms": "2000",
    "controller.quorum.election.timeout.ms": "1000",
    "unclean.leader.election.interval.ms": "500",
    "replica.lag.time.max.ms": "3000",
    "replica.fetch.max.bytes": "4096",
    "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.num.partitions": "3",
    "metadata.log.max.record.bytes.between.snapshots": "5000",
}
"""Leaders move only when a case wants it, and failures are noticed soon; copying can be held by a small throttle."""
RATE = "follower.replication.throttled.rate"
THROTTLED = "follower.replication.throttled.replicas"
RECORDS = 12
"""Of 2 KiB each: more than one fetch of a follower takes, so that a throttle of a byte a second holds it for long."""
KINDS: dict[str, type[Node]] = {"odradek": Node, "apache": ApacheNode}


def rack(node_id: int) -> str:
    return f"rack-{node_id}"


def serves(connection: Connection, topic: str, index: int = 0) -> bool:
    """Whether this node knows that it leads the partition."""
    return list_offset(connection, topic, -1, partition=index).error_code == 0


def fill(leader: Connection, topic: str) -> None:
    """Give the topic's first partition some records, once the leader knows that it is one."""
    wait_for(lambda: serves(leader, topic), f"{topic} is led")
    for _ in range(RECORDS):
        assert code(produce(leader, topic, batch([b"x" * 2048])).error_code) == "NONE"


class Nodes(Cluster):
    """Cases leave all of them running and in sync."""

    def __init__(self, directory: Path, kind: str) -> None:
        racks = {node_id: {"broker.rack": rack(node_id)} for node_id in IDS}
        super().__init__(directory, len(IDS), SETTINGS, KINDS[kind], racks)
        self._connections: dict[tuple[str, int], Connection] = {}

    def to(self, node_id: int) -> Connection:
        """A connection to a node that runs, for clients."""
        return self._connection(node_id, self.nodes[node_id].port)

    def to_controller(self, node_id: int) -> Connection:
        """A connection to the controller's listener of a node that runs."""
        return self._connection(node_id, self.nodes[node_id].controller_port)

    def any(self) -> Connection:
        """A connection to the first node that runs."""
        return self.to(next(node_id for node_id, node in self.nodes.items() if node.running))

    def active_controller(self) -> int:
        """The node whose controller decides."""
        return quorum(self.any())[1].leader_id

    def await_all(self, timeout_s: float = 20.0) -> None:
        """Wait until all nodes know that all of them serve."""

        def all_serve() -> bool:
            with suppress(Closed, OSError, AssertionError):
                return all(fenced(self.to(node_id)) == dict.fromkeys(IDS, False) for node_id in IDS)
            return False

        wait_for(all_serve, "all brokers are unfenced", timeout_s)

    def down(self, node_id: int, *, kill: bool = False) -> None:
        """End a node, and wait until the others know that it serves no more."""
        node = self.nodes[node_id]
        if kill:
            node.kill()
        else:
            node.stop()
        self._drop(node_id)
        self.await_fenced(node_id)

    def await_fenced(self, node_id: int) -> None:
        """Wait until all nodes that run know that another one does not serve."""

        def is_fenced() -> bool:
            with suppress(AssertionError):
                return all(fenced(self.to(other)).get(node_id, True) for other in IDS if self.nodes[other].running)
            return False

        wait_for(is_fenced, f"broker {node_id} is fenced", 20.0)

    @contextmanager
    def without(self, node_id: int, *, kill: bool = False) -> Iterator[None]:
        """A time without a node, which the others know."""
        self.down(node_id, kill=kill)
        try:
            yield
        finally:
            self.up(node_id)

    def up(self, node_id: int) -> None:
        """Start a node again, and wait until all nodes serve."""
        self.nodes[node_id].start()
        self.await_all()

    def close(self) -> None:
        """End everything."""
        for node_id in IDS:
            self._drop(node_id)
        self.kill()

    def log_tail(self) -> str:
        """The ends of the nodes' logs."""
        return "\n".join(f"node {node_id}:\n{node.log_tail(15)}" for node_id, node in self.nodes.items())

    def _connection(self, node_id: int, port: int) -> Connection:
        node = self.nodes[node_id]
        if not node.running:
            raise BrokerFailed(f"node {node_id} does not run")
        key = (str(node.pid), port)
        if key not in self._connections:
            self._connections[key] = Connection(node.host, port)
        return self._connections[key]

    def _drop(self, node_id: int) -> None:
        node = self.nodes[node_id]
        for key in [key for key in self._connections if key[1] in (node.port, node.controller_port)]:
            self._connections.pop(key).close()
