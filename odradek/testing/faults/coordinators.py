"""What befalls members of groups, and producers with a transactional id."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from odradek.broker.coordinator.result import CoordinatorResult
from odradek.broker.groups.consumer.group import ConsumerGroup
from odradek.broker.groups.consumer.records import epoch_record
from odradek.broker.groups.shard import GroupShard
from odradek.broker.groups.table import NOTHING, heartbeat_timer
from odradek.net.client import Client, ConnectionOptions
from odradek.ports import Promise
from odradek.storage.topic_partition import TopicPartition
from odradek.testing.defaults import BROKER, HOST
from odradek.testing.faults.begun import End, Scene, nothing
from odradek.testing.faults.decisions import partition_of, result
from odradek.testing.faults.hanging import OpenTransaction
from odradek.testing.faults.leaders import coordinator_partition
from odradek.testing.faults.specs import ExpireSession, FenceProducer, HangTransaction, Rebalance
from odradek.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from odradek.node.broker_part import BrokerPart
    from odradek.testing.cluster import Cluster

R = TypeVar("R")

RETRY_S = 0.005
RETRIES = 1_000
_BUSY = (ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR)


async def expire_session(scene: Scene, spec: ExpireSession) -> End:
    """End sessions; returns when the members are out."""
    broker, shard = _coordinator(scene.cluster, spec.group, None)

    def expire(machine: GroupShard) -> CoordinatorResult[int]:
        group = machine.table.existing(spec.group)
        members = [
            member.member_id
            for member in group.members.values()
            if spec.member in (None, member.member_id, _instance_of(member))
        ]
        for member_id in members:
            machine.table.context.timers.fire(heartbeat_timer(spec.group, member_id))
        return CoordinatorResult((), len(members))

    expired = await _asked(broker.groups.runtime.write(shard, expire))
    if not expired:
        raise ValueError(f"group {spec.group} has no member {spec.member or ''}".rstrip())
    # What the timers have to do stands in the shard's queue before this.
    await _asked(broker.groups.runtime.write(shard, lambda _machine: NOTHING))
    for _ in range(expired):
        scene.on_hit()
    return nothing


async def rebalance(scene: Scene, spec: Rebalance) -> End:
    """Begin a rebalance."""
    broker, shard = _coordinator(scene.cluster, spec.group, None)

    def begin(machine: GroupShard) -> CoordinatorResult[None]:
        group = machine.table.existing(spec.group)
        if not len(group.members):
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {spec.group} has no members.")
        if isinstance(group, ConsumerGroup):
            return CoordinatorResult([epoch_record(spec.group, group.head.epoch + 1, group.head.metadata_hash)], None)
        return machine.rebalances.prepare_or_complete(group, "a test wants it")

    await _asked(broker.groups.runtime.write(shard, begin))
    scene.on_hit()
    return nothing


async def fence_producer(scene: Scene, spec: FenceProducer) -> End:
    """Take over a transactional id; returns when what was open is aborted."""
    for _ in range(RETRIES):
        broker, _shard = _coordinator(scene.cluster, None, spec.transactional_id)
        try:
            known = await result(broker.transactions.describe(spec.transactional_id))
            if known is None:
                raise ValueError(f"there is no transactional id {spec.transactional_id}")
            taken = await result(broker.transactions.init_producer_id(spec.transactional_id, known.timeout_ms, None))
            code = taken.error_code
        except KafkaError as error:
            code = error.code
        if code is ErrorCode.NONE:
            scene.on_hit()
            return nothing
        if code not in _BUSY:
            raise KafkaError(code)
        await asyncio.sleep(RETRY_S)
    raise KafkaError(code)


async def hang_transaction(scene: Scene, spec: HangTransaction) -> End:
    """Write a record in a transaction that stays open; the end aborts it."""
    partition_of(scene.cluster.image(), spec.topic, spec.partition)
    addresses = [f"{HOST}:{node.port_of(BROKER)}" for node in scene.cluster.nodes.values()]
    client = Client(addresses, ConnectionOptions(client_id="odradek-0-fault"))
    transaction = OpenTransaction(client, f"odradek-hanging-{scene.fault_id}")
    try:
        await transaction.write(spec.topic, spec.partition)
    except BaseException:
        client.close()
        raise
    scene.on_hit()

    async def end() -> None:
        try:
            await transaction.abort()
        finally:
            client.close()

    return end


def _coordinator(
    cluster: Cluster, group: str | None, transactional_id: str | None
) -> tuple[BrokerPart, TopicPartition]:
    """The broker that coordinates, and its shard; raises ValueError if there is none."""
    topic, partition = coordinator_partition(cluster, group, transactional_id)
    leader = partition_of(cluster.image(), topic, partition).leader
    if leader not in cluster.nodes:
        raise ValueError(f"{group or transactional_id} has no coordinator now")
    return cluster.nodes[leader].node.broker, TopicPartition(topic, partition)


def _instance_of(member: object) -> object:
    return getattr(member, "group_instance_id", None) or getattr(member, "instance_id", None)


async def _asked(promise: Promise[R]) -> R:
    """What a coordinator answers; raises ValueError for a group that it does not have."""
    try:
        return await result(promise)
    except KafkaError as error:
        if error.code is ErrorCode.GROUP_ID_NOT_FOUND:
            raise ValueError(str(error)) from None
        raise
