"""What befalls groups and transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener  # type: ignore[import-untyped]
from confluent_kafka import KafkaError, KafkaException, Producer

from odradek.testing import EmbeddedKafka
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse
from tests.unit.testing.clients import TIMEOUT_S, produce
from tests.unit.testing.faults.wire import Wire

SESSION_MS = 300_000
"""So long that none ends by itself."""


def find_coordinator(wire: Wire, group: str) -> tuple[int, int]:
    """Its error code, and the node."""
    request = FindCoordinatorRequest(coordinator_keys=[group])
    while True:
        found = wire.send(request, FindCoordinatorResponse).coordinators[0]
        if found.error_code != ErrorCode.COORDINATOR_NOT_AVAILABLE:
            return found.error_code, found.node_id


class Member:
    """Of a classic group, alone in it."""

    def __init__(self, wire: Wire, group: str, instance: str | None = None) -> None:
        self.wire = wire
        self.group = group
        self.id = ""
        protocols = [JoinGroupRequestProtocol(name="range", metadata=b"")]
        while True:
            request = JoinGroupRequest(
                group_id=group, session_timeout_ms=SESSION_MS, rebalance_timeout_ms=SESSION_MS, member_id=self.id,
                group_instance_id=instance, protocol_type="consumer", protocols=protocols,
            )  # fmt: skip
            joined = wire.send(request, JoinGroupResponse)
            self.id = joined.member_id or self.id
            if joined.error_code == 0:
                break
        self.generation = joined.generation_id
        sync = SyncGroupRequest(
            group_id=group, generation_id=self.generation, member_id=self.id, group_instance_id=instance,
            protocol_type="consumer", protocol_name="range",
        )  # fmt: skip
        assert wire.send(sync, SyncGroupResponse).error_code == 0

    def heartbeat(self) -> int:
        request = HeartbeatRequest(group_id=self.group, generation_id=self.generation, member_id=self.id)
        return self.wire.send(request, HeartbeatResponse).error_code


def consumer_heartbeat(wire: Wire, member_id: str, epoch: int) -> tuple[int, int]:
    """Of a member of a consumer group: error code and epoch."""
    request = ConsumerGroupHeartbeatRequest(group_id="c", member_id=member_id, member_epoch=epoch)
    if epoch == 0:
        request.rebalance_timeout_ms = SESSION_MS
        request.subscribed_topic_names = ["a"]
        request.topic_partitions = []
    answered = wire.send(request, ConsumerGroupHeartbeatResponse)
    return answered.error_code, answered.member_epoch


def test_the_session_of_one_member_ends_or_of_all(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        find_coordinator(wire, "g")
        one, other = Member(wire, "g"), Member(wire, "h")
        assert [one.heartbeat(), other.heartbeat()] == [0, 0]
        kafka.faults.expire_session("g", one.id)
        assert [one.heartbeat(), other.heartbeat()] == [ErrorCode.UNKNOWN_MEMBER_ID, 0]
        assert kafka.faults.expire_session("h").hits == 1
        assert other.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_static_member_is_known_by_its_instance(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        find_coordinator(wire, "g")
        member = Member(wire, "g", "instance")
        with pytest.raises(ValueError, match="group g has no member another"):
            kafka.faults.expire_session("g", "another")
        kafka.faults.expire_session("g", "instance")
        assert member.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_session_of_the_consumer_protocol_ends(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        find_coordinator(wire, "c")
        assert consumer_heartbeat(wire, "m", 0) == (0, 2)
        kafka.faults.expire_session("c", "m")
        assert consumer_heartbeat(wire, "m", 2)[0] == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_group_rebalances(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        find_coordinator(wire, "g")
        member = Member(wire, "g")
        kafka.faults.rebalance("g")
        assert member.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
        assert consumer_heartbeat(wire, "m", 0) == (0, 2)
        kafka.faults.rebalance("c")
        kafka.clock.advance(seconds=1)  # group.consumer.assignment.interval.ms
        assert consumer_heartbeat(wire, "m", 2) == (0, 3)


def test_a_consumer_joins_again_after_its_session_and_goes_on(kafka: EmbeddedKafka) -> None:
    produce(kafka.bootstrap_servers, "b", "1", "2")

    class Assignments(ConsumerRebalanceListener):  # type: ignore[misc]
        count = 0

        def on_partitions_revoked(self, _revoked: object) -> None:
            pass

        def on_partitions_assigned(self, _assigned: object) -> None:
            self.count += 1

    async def run() -> list[bytes]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka.bootstrap_servers, group_id="g", auto_offset_reset="earliest",
            enable_auto_commit=False, heartbeat_interval_ms=20, retry_backoff_ms=10,
        )  # fmt: skip
        assignments = Assignments()
        consumer.subscribe(["b"], listener=assignments)
        async with consumer:
            first = await asyncio.wait_for(consumer.getone(), TIMEOUT_S)
            await consumer.commit()
            await asyncio.to_thread(kafka.faults.expire_session, "g")
            async with asyncio.timeout(TIMEOUT_S):
                while assignments.count < 2:
                    await asyncio.sleep(0.005)
            second = await asyncio.wait_for(consumer.getone(), TIMEOUT_S)
            return [first.value, second.value]

    assert asyncio.run(run()) == [b"1", b"2"]


def offsets(wire: Wire, topic: str) -> tuple[int, int]:
    """Last stable offset and high watermark."""
    found = []
    for isolation in (1, 0):
        partition = ListOffsetsPartition(partition_index=0, timestamp=-1)
        request = ListOffsetsRequest(
            replica_id=-1, isolation_level=isolation, topics=[ListOffsetsTopic(name=topic, partitions=[partition])]
        )
        found.append(wire.send(request, ListOffsetsResponse, 7).topics[0].partitions[0].offset)
    return found[0], found[1]


def test_a_fenced_producer_cannot_commit_and_what_it_has_written_is_aborted(kafka: EmbeddedKafka) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": "tx", "log_level": 0})
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    producer.produce("b", "never")
    producer.flush(TIMEOUT_S)
    with Wire(kafka) as wire:
        assert offsets(wire, "b") == (0, 1)
        kafka.faults.fence_producer("tx")
        assert offsets(wire, "b") == (2, 2)
        with pytest.raises(KafkaException) as failed:
            producer.commit_transaction(TIMEOUT_S)
        error = failed.value.args[0]
        assert isinstance(error, KafkaError)
        assert (error.fatal(), error.name()) == (True, "_FENCED")


def test_a_hanging_transaction_holds_back_those_who_read_what_is_committed(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        assert wire.produce("b") == {"b": 0}
        with kafka.faults.hang_transaction("b"):
            assert wire.produce("b") == {"b": 0}
            assert offsets(wire, "b") == (1, 3)
        assert offsets(wire, "b") == (4, 4)
        assert wire.produce("b") == {"b": 0}
        assert offsets(wire, "b") == (5, 5)


def test_a_hanging_transaction_that_has_timed_out_is_over(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        with kafka.faults.hang_transaction("b"):
            kafka.clock.advance(minutes=20)
            assert offsets(wire, "b") == (2, 2)
        assert offsets(wire, "b") == (2, 2)


def test_a_node_alone_can_be_without_coordinators(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        find_coordinator(wire, "g")
        member = Member(wire, "g")
        with kafka.faults.without_coordinator(group="g"):
            request = FindCoordinatorRequest(coordinator_keys=["g"])
            found = wire.send(request, FindCoordinatorResponse).coordinators[0]
            assert found.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
            assert member.heartbeat() == ErrorCode.NOT_COORDINATOR
        assert find_coordinator(wire, "g")[0] == 0
        assert member.heartbeat() in (0, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(3, topics=["b"]) as kafka:
        yield kafka


def test_members_follow_their_coordinator(cluster: EmbeddedKafka) -> None:
    produce(cluster.bootstrap_servers, "b", "1", "2")

    async def run() -> list[bytes]:
        async with AIOKafkaConsumer(
            "b", bootstrap_servers=cluster.bootstrap_servers, group_id="g", auto_offset_reset="earliest",
            enable_auto_commit=False, heartbeat_interval_ms=20, retry_backoff_ms=10,
        ) as consumer:  # fmt: skip
            first = await asyncio.wait_for(consumer.getone(), TIMEOUT_S)
            await asyncio.to_thread(lambda: cluster.faults.move_coordinator(group="g"))
            await asyncio.wait_for(consumer.commit(), TIMEOUT_S)
            second = await asyncio.wait_for(consumer.getone(), TIMEOUT_S)
            return [first.value, second.value]

    with Wire(cluster) as wire:
        before = find_coordinator(wire, "g")[1]
        assert asyncio.run(run()) == [b"1", b"2"]
        assert find_coordinator(wire, "g")[1] != before


def test_a_transaction_goes_on_under_another_coordinator(cluster: EmbeddedKafka) -> None:
    producer = Producer(
        {"bootstrap.servers": cluster.bootstrap_servers, "transactional.id": "tx", "retry.backoff.ms": 10}
    )
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    producer.produce("b", "v")
    producer.flush(TIMEOUT_S)
    with cluster.faults.move_coordinator(transactional_id="tx"):
        producer.commit_transaction(TIMEOUT_S)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda faults: faults.expire_session("no"), "no has no coordinator yet|Group no not found"),
        (lambda faults: faults.rebalance("no"), "no has no coordinator yet|Group no not found"),
        (lambda faults: faults.fence_producer("no"), "no has no coordinator yet|no transactional id no"),
        (lambda faults: faults.hang_transaction("no"), "there is no partition no-0"),
    ],
)
@pytest.mark.parametrize("is_used", [False, True])
def test_what_is_not_there_is_said(
    kafka: EmbeddedKafka, make: Callable[[object], object], problem: str, is_used: bool
) -> None:
    if is_used:
        kafka.faults.hang_transaction("a").lift()
        with Wire(kafka) as wire:
            find_coordinator(wire, "g")
    with pytest.raises(ValueError, match=problem):
        make(kafka.faults)
