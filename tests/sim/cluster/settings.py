"""The properties of the nodes of a simulated cluster, and the formatting of their disks."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import NamedTuple

from odradek.config import BrokerConfig, single_node_defaults
from odradek.node.formatting import FormatOptions, format_directories
from odradek.wire.uuids import uuid_to_string
from tests.sim.cluster.machine import BROKER_PORT, CONTROLLER_PORT, DATA_DIR, DIRS, Machine
from tests.sim.cluster.process import Process
from tests.sim.cluster.versions import EARLIER_RELEASE

_TWO_DIRS = 0.4
"""How likely the brokers of a cluster have two log directories."""


class Layout(NamedTuple):
    """Which nodes a cluster has, by their numbers from 1 on: first those of the quorum, then brokers only."""

    voters: int
    brokers_only: int = 0
    separate: bool = False
    """Whether the nodes of the quorum are controllers only."""

    @property
    def nodes(self) -> range:
        """The ids of all nodes."""
        return range(1, self.voters + self.brokers_only + 1)

    @property
    def brokers(self) -> int:
        """How many have data, once all are there."""
        return self.brokers_only if self.separate else self.voters + self.brokers_only

    def roles(self, node_id: int) -> tuple[str, ...]:
        """`process.roles`."""
        if node_id > self.voters:
            return ("broker",)
        return ("controller",) if self.separate else ("broker", "controller")


def node_settings(node_id: int, layout: Layout, chance: random.Random) -> dict[str, str]:
    """The properties of one node; `chance` is the same for all nodes of a cluster."""
    host, roles = f"node{node_id}", layout.roles(node_id)
    controllers = ",".join(f"node{number}:{CONTROLLER_PORT}" for number in range(1, layout.voters + 1))
    listeners = {"broker": f"PLAINTEXT://{host}:{BROKER_PORT}", "controller": f"CONTROLLER://{host}:{CONTROLLER_PORT}"}
    settings = {
        **single_node_defaults("localhost", BROKER_PORT, data_dir=DATA_DIR),
        "node.id": str(node_id),
        "process.roles": ",".join(roles),
        "listeners": ",".join(listeners[role] for role in roles),
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.quorum.bootstrap.servers": controllers,
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.num.partitions": "1",
        "group.min.session.timeout.ms": "3000",
        "group.initial.rebalance.delay.ms": "100",
        "group.consumer.min.session.timeout.ms": "3000",
        "group.consumer.session.timeout.ms": "3000",
        "group.consumer.min.heartbeat.interval.ms": "500",
        "group.consumer.heartbeat.interval.ms": "500",
        # What nodes do when nothing happens costs a lot of time here, and shows little.
        "metadata.max.idle.interval.ms": "2000",
        "metadata.log.max.record.bytes.between.snapshots": str(chance.choice([1000, 10_000, 20_971_520])),
    }
    if layout.brokers > 1:
        if chance.random() < _TWO_DIRS and "broker" in roles:
            settings |= {"log.dirs": ",".join(DIRS), "metadata.log.dir": DATA_DIR}
        replicas, in_sync = str(min(3, layout.brokers)), str(min(2, layout.brokers))
        settings |= {
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "broker.session.timeout.ms": str(chance.choice([2000, 3000, 6000])),
            "broker.heartbeat.interval.ms": str(chance.choice([500, 1000])),
            "replica.lag.time.max.ms": str(chance.choice([2000, 5000])),
            "replica.socket.timeout.ms": str(chance.choice([2000, 10_000])),
            "num.replica.fetchers": str(chance.choice([1, 1, 2])),
        }
    return settings


def format_cluster(machines: Mapping[int, Machine], settings: Mapping[int, Mapping[str, str]], seed: Process) -> None:
    """Format the disks of all nodes as the voters of one quorum, and see that nothing of it is lost.

    Nodes of an earlier version can only be in clusters whose features are of that time.
    """
    release = EARLIER_RELEASE if any(machine.limits for machine in machines.values()) else None
    cluster_id = uuid_to_string(seed.uuid())
    ids = {node_id: uuid_to_string(seed.uuid()) for node_id, machine in machines.items() if machine.is_voter}
    voters = ",".join(f"{node_id}@node{node_id}:{CONTROLLER_PORT}:{ids[node_id]}" for node_id in ids)
    for node_id, machine in machines.items():
        options = FormatOptions(
            cluster_id,
            initial_controllers=voters if machine.is_voter else None,
            no_initial_controllers=not machine.is_voter,
            release_version=release,
        )
        config = BrokerConfig.load(settings[node_id])
        list(format_directories(config, options, machine.disk, seed, seed))
        for directory in DIRS:
            machine.disk.sync_dir(directory)
