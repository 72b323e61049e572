"""What can be told of a cluster by looking into its nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from odradek.broker.replication.partition import Partition
from odradek.storage.file_names import CLUSTER_METADATA_TOPIC
from odradek.storage.log import Log
from odradek.storage.topic_partition import TopicPartition
from tests.sim.cluster.machine import DIRS, Machine


class Led(NamedTuple):
    """A partition at the machine that leads it, as far as that one knows."""

    machine: Machine
    partition: Partition


def replicas(machine: Machine) -> Iterator[Partition]:
    """The partitions on a machine that clients may use."""
    node = machine.node
    if node is not None and machine.is_started and machine.is_broker:
        yield from node.broker.replicas.partitions.values()


def leads_quorum(machine: Machine) -> bool:
    """As far as it knows."""
    return machine.node is not None and machine.node.quorum.raft.is_leader


def log_of(machine: Machine, name: TopicPartition) -> Log | None:
    """What a machine has of a partition."""
    if machine.node is None or not machine.is_started:
        return None
    partition = machine.node.broker.replicas.partitions.get(name)
    return None if partition is None else partition.log


def newest_leaders(machines: Sequence[Machine], topic: str) -> dict[TopicPartition, Led]:
    """Those of the latest leader epochs, of all partitions of a topic that have one."""
    found: dict[TopicPartition, Led] = {}
    for machine in machines:
        for partition in replicas(machine):
            name = partition.topic_partition
            if name.topic == topic and partition.is_leader and partition.log is not None:
                known = found.get(name)
                if known is None or known.partition.leader_epoch < partition.leader_epoch:
                    found[name] = Led(machine, partition)
    return found


def misplaced(machine: Machine) -> list[str]:
    """Directories of partitions that a machine should not have, and those that it should have and does not."""
    assert machine.node is not None
    image = machine.node.quorum.loader.image
    wanted = {
        f"{topic.name}-{index}"
        for topic in image.topics.by_name.values()
        for index, partition in topic.partitions.items()
        if machine.node_id in partition.replicas
    }
    there = {
        name
        for directory in DIRS
        for name in machine.disk.look_at_names(directory)
        if name.rpartition("-")[2].isdigit() and not name.startswith(CLUSTER_METADATA_TOPIC)
    }
    return sorted(wanted ^ there)


def is_outlived(machine: Machine, machines: Sequence[Machine]) -> bool:
    """Whether of all that a machine shares with others one of them, which is up, has all that is committed."""
    nodes = [other.node for other in machines if other is not machine and other.node is not None and other.is_started]
    if not nodes:
        return False
    image = max((node.quorum.loader.image for node in nodes), key=lambda image: image.offset)
    brokers = image.cluster.brokers
    able = {
        node.config.node_id
        for node in nodes
        if (known := brokers.get(node.config.node_id)) is not None
        and known.epoch == node.broker.lifecycle.epoch
        and not known.fenced
    }
    return all(
        able.intersection(partition.isr)
        for topic in image.topics.by_name.values()
        for partition in topic.partitions.values()
        if machine.node_id in partition.replicas and len(partition.replicas) > 1
    )


def is_fully_replicated(machines: Sequence[Machine], topic: str, partitions: int) -> bool:
    """Whether all nodes are up, known to the controller as they are, and in sync in all partitions."""
    epochs = {}
    for machine in machines:
        if machine.node is None or not machine.is_started:
            return False
        if machine.is_broker:
            epochs[machine.node_id] = machine.node.broker.lifecycle.epoch
    for machine in machines:
        assert machine.node is not None
        brokers = machine.node.quorum.loader.image.cluster.brokers
        for node_id, epoch in epochs.items():
            broker = brokers.get(node_id)
            if broker is None or broker.epoch != epoch or broker.fenced:
                return False
        known = machine.node.quorum.loader.image.topics.by_name.get(topic)
        if known is None or any(each.adding or each.removing for each in known.partitions.values()):
            return False
    led = newest_leaders(machines, topic).values()
    in_sync = sum(len(each.partition.isr) == len(each.partition.replicas) for each in led)
    return in_sync == partitions
