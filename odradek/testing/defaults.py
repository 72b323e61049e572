"""The properties of embedded nodes, and which of Kafka's defaults they do not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from odradek.config.defaults import SINGLE_NODE_TOPIC_DEFAULTS
from odradek.config.own import FORMAT_ON_START, RECORD_VALIDATION, VALIDATE_RECORDS

HOST = "127.0.0.1"
"""A name such as localhost would have some clients try IPv6 first, where nobody listens."""
BROKER = "PLAINTEXT"
CONTROLLER = "CONTROLLER"

TEST_DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        # A group's first members need not wait for more of them.
        "group.initial.rebalance.delay.ms": "0",
        # 50 partitions are for many groups, and a start of each costs time.
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.num.partitions": "1",
        # Nodes that begin together in one process need not wait long for each other's votes.
        "controller.quorum.election.timeout.ms": "100",
    }
)
"""What embedded nodes have in place of Kafka's defaults, unless they are told `kafka_defaults=True`."""

_REPLICAS = 3
_MIN_ISR = ".min.isr"


def node_properties(
    node_id: int, addresses: Sequence[tuple[int, int]], log_dir: str, *, kafka_defaults: bool
) -> dict[str, str]:
    """The properties of one of several nodes, before those of the user.

    `addresses` are the ports of each node's broker and controller, by node id from 1 on.
    """
    broker_port, controller_port = addresses[node_id - 1]
    count = len(addresses)
    replicas = str(min(_REPLICAS, count))
    min_isr = "2" if count >= _REPLICAS else "1"
    return {
        "process.roles": "broker,controller",
        "node.id": str(node_id),
        "listeners": f"{BROKER}://{HOST}:{broker_port},{CONTROLLER}://{HOST}:{controller_port}",
        "controller.listener.names": CONTROLLER,
        **_quorum(addresses),
        "log.dirs": log_dir,
        # Apache Kafka looks at every record, and a test should see what it would refuse.
        RECORD_VALIDATION: VALIDATE_RECORDS,
        **{name: min_isr if name.endswith(_MIN_ISR) else replicas for name in SINGLE_NODE_TOPIC_DEFAULTS},
        **({} if kafka_defaults else TEST_DEFAULTS),
    }


def _quorum(addresses: Sequence[tuple[int, int]]) -> dict[str, str]:
    """Who decides on metadata. A node alone is as `odradek serve` has it, so that this can go on with its files.

    The voters of several are in the properties, and not in the metadata log: each start has other ports.
    """
    controllers = [f"{HOST}:{controller}" for _broker, controller in addresses]
    if len(controllers) == 1:
        return {"controller.quorum.bootstrap.servers": controllers[0], FORMAT_ON_START: "true"}
    return {"controller.quorum.voters": ",".join(f"{node_id}@{at}" for node_id, at in enumerate(controllers, 1))}
