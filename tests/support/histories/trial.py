"""A cluster whose nodes and network are harmed while random clients use it, and what must hold then."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from odradek.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
    DescribeQuorumResponse,
)
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from tests.support.cluster import Cluster, Node
from tests.support.histories.checks import anomalies, skipped
from tests.support.histories.drain import Drain
from tests.support.histories.fleet import Fleet, Part, Workplace
from tests.support.network import Link, Network
from tests.support.process import BrokerFailed, wait_for
from tests.support.requests import connect

SEED_VARIABLE = "ODRADEK_SEED"
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="which node has opened a connection is asked of /proc")
TOPIC = "history"
PARTITIONS = 4
INTERNAL = ("__consumer_offsets", "__transaction_state")
RECOVERY_S = 30.0
PATIENCE_S = 6.0
"""How long after the last fault all must be as if nothing had been. It takes a few seconds, on a machine with time."""
METADATA = "__cluster_metadata"
# What has failed is noticed soon, so that the tests do not wait for it.
SESSION_S = 1.5
SETTINGS = {
    "broker.session.timeout.ms": str(int(SESSION_S * 1000)),
    "broker.heartbeat.interval.ms": "300",
    "replica.lag.time.max.ms": "1500",
    "replica.socket.timeout.ms": "2000",
    "controller.socket.timeout.ms": "2000",
    "controller.quorum.fetch.timeout.ms": "800",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.request.timeout.ms": "1000",
    "controller.quorum.election.backoff.max.ms": "500",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.session.timeout.ms": "3000",
    "group.consumer.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
}
CALM = {
    "t0": Part("transactor", temper="calm"),
    "t1": Part("transactor", temper="calm"),
    "s0": Part("sender"),
    "n0": Part("member", "new", "consumer"),
    "n1": Part("member", "new", "consumer"),
    "p0": Part("poller"),
}
"""Clients that only have what nodes and network do to them."""
WILD = {
    "t0": Part("transactor"),
    "t1": Part("transactor"),
    "t2": Part("transactor"),
    "s0": Part("sender"),
    "m0": Part("member", "old"),
    "m1": Part("member", "old"),
    "n0": Part("member", "new", "consumer"),
    "n1": Part("member", "new", "consumer"),
    "p0": Part("poller"),
}


def new_seed() -> int:
    """The one of the environment, or any."""
    return int(os.environ.get(SEED_VARIABLE, random.SystemRandom().randrange(1 << 32)))


class Trial:
    """Three nodes with a network of their own, and a topic with clients. Failed checks name the seed and the files."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        parts: Mapping[str, Part],
        *,
        kind: type[Node] = Node,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.seed = seed
        self.chance = random.Random(seed)
        self.faults: list[str] = []
        self.has_failed = False
        self.may_lose_clients = False
        """Whether clients may have to be replaced until all is well again: all nodes may have been away at once.

        The first that is back is fenced, and knows of no broker that clients may use; librdkafka 2.16 that is told so
        forgets all brokers, and never asks its bootstrap servers again.
        """
        self._begun_s = time.monotonic()
        self.network = Network()
        self.cluster = Cluster(directory, 3, {**SETTINGS, **(settings or {})}, kind, network=self.network)
        self.history = directory / "history.jsonl"
        self.fleet = Fleet(
            Workplace(self.cluster.bootstrap_servers, TOPIC, PARTITIONS, self.history, seed), parts, directory
        )
        self._follower = Follower(self.history)

    def start(self) -> None:
        """Nodes, topic and clients; returns once each client has done something."""
        self.cluster.start()
        admin = AdminClient({"bootstrap.servers": self.cluster.bootstrap_servers, "log_level": 0})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 3, config={"min.insync.replicas": "2"})])[TOPIC].result(20)
        self.fleet.start_all()
        self.recover("all clients work")

    @classmethod
    @contextlib.contextmanager
    def held(cls, seed: int, parts: Mapping[str, Part], **options: Any) -> Iterator[Trial]:
        """A running one; its checks are made at the end. Of one that fails everything is kept, and named with the seed.

        pytest's own directories do not last: it keeps those of its last runs only.
        """
        directory = Path(tempfile.mkdtemp(prefix="odradek-faults-"))
        trial = cls(directory, seed, parts, **options)
        try:
            with trial.told():
                trial.start()
                yield trial
                if not trial.has_failed:
                    trial.finish()
        finally:
            trial.close()
        if not trial.has_failed:
            shutil.rmtree(directory)

    def close(self) -> None:
        self.fleet.close()
        self.cluster.kill()
        for node in self.cluster.nodes.values():
            node.close()
        self.network.close()

    def note(self, fault: str) -> None:
        """What is done to them, for whoever reads a failure or looks on."""
        self.faults.append(fault)
        sys.stderr.write(f"{self.age_s:6.1f} s: {fault}\n")

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._begun_s

    @contextlib.contextmanager
    def ordeal(self, name: str) -> Iterator[None]:
        """All is well before and after what happens in here, and nothing has got lost, as far as can be seen."""
        with self.told():
            self.note(name)
            yield
            self.heal()
            self.note(f"all was well again {self.recover():.1f} s later")
            self.check()

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Say with whatever fails in here what is needed to look into it."""
        try:
            yield
        except BaseException as failed:
            self.has_failed = True
            failed.add_note(f"{SEED_VARIABLE}={self.seed}, history and logs in {self.directory}, faults: {self.faults}")
            raise

    def leader(self, partition: int = 0) -> int:
        """Who leads a partition of the topic."""
        return self._partitions(self._somebody())[TOPIC, partition][0]

    def controller(self) -> int:
        """The active controller. Raises TimeoutError if there is none for long."""
        found: list[int | None] = []

        def known() -> bool:
            found.append(self.controller_now())
            return found[-1] is not None

        wait_for(known, "there is an active controller", RECOVERY_S)
        assert found[-1] is not None
        return found[-1]

    def controller_now(self) -> int | None:
        """The active controller, if a node that answers knows of one."""
        with contextlib.suppress(OSError):
            found = self._controller(self._somebody())
            return found if found > 0 else None
        return None

    def around(self, node_id: int) -> tuple[list[Link], list[Link]]:
        """Links from a node to the others, and those from them to it."""
        out = [Link(node_id, other) for other in self.cluster.nodes if other != node_id]
        return out, [link.back() for link in out]

    def heal(self) -> None:
        """Let everything run again, and pass. Raises BrokerFailed for a node that has ended by itself."""
        for node in self.cluster.nodes.values():
            if node.has_ended_by_itself:
                raise BrokerFailed(f"node {node.node_id} has ended by itself; its log ends:\n{node.log_tail()}")
        self.network.heal()
        for node in self.cluster.nodes.values():
            if node.running:
                node.resume()
        # All first: none is ready before there is a majority.
        ended = [node for node in self.cluster.nodes.values() if not node.running]
        for node in ended:
            node.launch()
        for node in ended:
            node.await_ready()

    def recover(self, what: str = "all is well again") -> float:
        """Wait until all replicas are in sync and each client has done something since; how long that took, in s."""
        begun_s = time.monotonic()
        self._follower.forget()
        state: list[object] = [None]

        def well() -> bool:
            self.fleet.revive()
            state[0] = ailing = self.ailing()
            if self.may_lose_clients and time.monotonic() - begun_s > PATIENCE_S:
                self.may_lose_clients = False
                for slot in self.fleet.slots:
                    if slot in ailing:
                        self.note(f"client {slot} has lost all nodes and is replaced")
                        self.fleet.kill(slot)
            return not ailing

        try:
            wait_for(well, what, RECOVERY_S, 0.1)
        except TimeoutError as late:
            late.add_note(f"not well: {state[0]}")
            raise
        self.may_lose_clients = False
        return time.monotonic() - begun_s

    def ailing(self) -> list[object]:
        """Partitions that a node does not know to be in sync, and clients that have done nothing yet."""
        found: list[object] = []
        for node in self.cluster.nodes.values():
            try:
                partitions = self._partitions(node)
            except OSError as failed:
                found.append((node.node_id, failed))
            else:
                found += [
                    (node.node_id, place, leader, isr)
                    for place, (leader, isr) in partitions.items()
                    if leader < 0 or len(isr) < 3
                ]
        working = self._follower.working()
        return found + [slot for slot, life in self.fleet.lives.items() if f"{slot}.{life}" not in working]

    def check(self) -> None:
        """The history so far has nothing in it that may not be."""
        found = anomalies(self.history)
        assert not found, "\n".join(found)

    def errors(self) -> list[str]:
        """All that any library has told its application since the last call."""
        return self._follower.errors()

    def finish(self) -> None:
        """End the clients, read all, and check that nothing is lost and that all replicas are the same."""
        self.note("the end: all is read again")
        self.fleet.stop()
        drain = Drain(self.fleet.workplace)
        drain.run(self.fleet.transactional_ids.values())
        self.check()
        for group in dict.fromkeys(self.fleet.groups.values()):
            if any(self.fleet.parts[slot].role == "member" for slot, of in self.fleet.groups.items() if of == group):
                missing = skipped(self.history, group, drain.committed(group))
                assert not missing, f"{group} has skipped {missing}"
        self.compare_replicas()

    def compare_replicas(self) -> None:
        """The files of all replicas hold the same bytes, or soon do."""
        places = list(self._partitions(self._somebody()))

        def different() -> list[str]:
            names = [f"{topic}-{partition}" for topic, partition in places]
            return [name for name in names if len({self._bytes(node, name) for node in self._nodes()}) > 1]

        assert all(self._bytes(node, f"{TOPIC}-0") for node in self._nodes())
        wait_for(lambda: not different(), "all replicas are the same", RECOVERY_S, 0.5)

    def _nodes(self) -> Iterable[Node]:
        return self.cluster.nodes.values()

    def _somebody(self) -> Node:
        """A node that answers."""
        for node in self._nodes():
            with contextlib.suppress(OSError):
                if node.running:
                    self._partitions(node)
                    return node
        raise OSError("no node answers")

    def _partitions(self, node: Node) -> dict[tuple[str, int], tuple[int, list[int]]]:
        """Leader and ISR of each partition, as this node knows them. Raises OSError."""
        with connect(node, 1.0) as connection:
            answer = connection.call(MetadataRequest(topics=None), MetadataResponse)
        return {
            (topic.name or "", each.partition_index): (each.leader_id, each.isr_nodes)
            for topic in answer.topics
            for each in topic.partitions
        }

    def _controller(self, node: Node) -> int:
        wanted = DescribeQuorumRequestTopicData(
            topic_name=METADATA, partitions=[DescribeQuorumRequestPartitionData(partition_index=0)]
        )
        with connect(node, 5.0) as connection:
            answer = connection.call(DescribeQuorumRequest(topics=[wanted]), DescribeQuorumResponse)
        return answer.topics[0].partitions[0].leader_id if answer.topics else -1

    def _bytes(self, node: Node, name: str) -> bytes:
        """All that a replica holds; its segments may end elsewhere than another's."""
        return b"".join(
            path.read_bytes() for path in sorted(node.directory.glob(f"**/{name}/*.log")) if path.stem.isdecimal()
        )


class Follower:
    """Reads a history while it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._begun: set[object] = set()
        self._working: set[object] = set()
        self._errors: list[str] = []

    def forget(self) -> None:
        """Nobody has done anything yet."""
        self._read()
        self._begun, self._working = set(), set()

    def working(self) -> set[object]:
        """Clients that have begun something since `forget`, and ended it well, having sent or read something."""
        self._read()
        return self._working

    def errors(self) -> list[str]:
        """Since the last call."""
        self._read()
        errors, self._errors = self._errors, []
        return errors

    def _read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            data = file.read()
        lines = data[: data.rfind(b"\n") + 1]
        self._position += len(lines)
        for line in lines.splitlines():
            event = json.loads(line)
            self._errors += [f"{event['process']}: {error}" for error in event.get("errors", ())]
            if event["type"] == "invoke":
                self._begun.add(event["process"])
            elif event["type"] == "ok" and event.get("value") and event["process"] in self._begun:
                self._working.add(event["process"])
