"""What nodes are given that we make: without `--config` one that is broker and controller, or those of a cluster."""

from __future__ import annotations

from collections.abc import Mapping

from odradek.config.own import FORMAT_ON_START

# Where the node's controller listens: never outside the machine, on any free port.
_CONTROLLER_ADDRESS = "127.0.0.1:0"

# The internal topics want three replicas by Kafka's defaults; a single node can hold one.
SINGLE_NODE_TOPIC_DEFAULTS: Mapping[str, str] = {
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}

OWN_TO_EACH_NODE = frozenset(
    {
        "process.roles",
        "node.id",
        "broker.id",
        "listeners",
        "advertised.listeners",
        "controller.listener.names",
        "controller.quorum.bootstrap.servers",
        "controller.quorum.voters",
        "log.dir",
        "log.dirs",
        "metadata.log.dir",
    }
)
"""What whoever makes the nodes of a cluster chooses for each of them, and nobody else."""


def single_node_defaults(host: str, port: int, *, data_dir: str, advertised_host: str | None = None) -> dict[str, str]:
    """Properties of a node that listens on host:port (0: any free port) and keeps its data in `data_dir`.

    Everything else is Kafka's default; properties given by the user go on top. An IPv6 host is put into brackets.
    """
    shown_host = f"[{host}]" if ":" in host else host
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"PLAINTEXT://{shown_host}:{port},CONTROLLER://{_CONTROLLER_ADDRESS}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": _CONTROLLER_ADDRESS,
        "log.dirs": data_dir,
        FORMAT_ON_START: "true",
        **SINGLE_NODE_TOPIC_DEFAULTS,
    }
    if advertised_host is not None:
        shown_host = f"[{advertised_host}]" if ":" in advertised_host else advertised_host
        properties["advertised.listeners"] = f"PLAINTEXT://{shown_host}:{port}"
    return properties
