"""Faults of nodes, leaders and disks: what has happened then has really happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]
from confluent_kafka import Producer

from odradek.net.connection import ConnectError, RequestTimeoutError
from odradek.testing import EmbeddedKafka, Faults
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse, MetadataResponsePartition
from tests.unit.testing.clients import TIMEOUT_S, consume_all, produce
from tests.unit.testing.faults.wire import Wire
from tests.unit.testing.leaks import descriptors

NOT_LEADER = ErrorCode.NOT_LEADER_OR_FOLLOWER
HASTY = {
    "controller.quorum.fetch.timeout.ms": 300,
    "replica.fetch.backoff.ms": 20,
    "broker.heartbeat.interval.ms": 100,
}
"""Another controller is elected sooner, and a follower tries again sooner."""


@pytest.fixture(scope="module")
def _cluster() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(3, topics=["t"], config=HASTY) as kafka:
        yield kafka


@pytest.fixture
def cluster(_cluster: EmbeddedKafka) -> EmbeddedKafka:
    _cluster.reset()
    return _cluster


def state(kafka: EmbeddedKafka, topic: str = "t", node: int = 1) -> MetadataResponsePartition:
    """A topic's first partition, as a node has it."""
    with Wire(kafka, node) as wire:
        metadata = wire.send(MetadataRequest(topics=None), MetadataResponse)
    return next(each for each in metadata.topics if each.name == topic).partitions[0]


def others(kafka: EmbeddedKafka, *nodes: int) -> int:
    return next(each for each in (1, 2, 3) if each not in nodes)


def wait_until(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def test_a_leader_moves_and_the_one_before_refuses_and_it_moves_back(cluster: EmbeddedKafka) -> None:
    before = state(cluster)
    with cluster.faults.move_leader("t"):
        moved = state(cluster)
        assert moved.leader_id != before.leader_id
        assert moved.leader_epoch == before.leader_epoch + 1
        assert sorted(moved.isr_nodes) == [1, 2, 3]
        with Wire(cluster, before.leader_id) as old, Wire(cluster, moved.leader_id) as new:
            assert (old.produce("t"), new.produce("t")) == ({"t": NOT_LEADER}, {"t": 0})
    assert state(cluster).leader_id == before.leader_id


def test_a_leader_moves_to_where_it_is_wanted(cluster: EmbeddedKafka) -> None:
    before = state(cluster).leader_id
    for to in (1, 2, 3):
        if to != before:
            with cluster.faults.move_leader("t", to=to):
                assert {state(cluster, node=each).leader_id for each in (1, 2, 3)} == {to}


def test_a_producer_follows_a_moving_leader_without_losing_anything(cluster: EmbeddedKafka) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "acks": "all", "retry.backoff.ms": 10})
    producer.produce("t", "before")
    assert producer.flush(TIMEOUT_S) == 0
    with cluster.faults.move_leader("t"):
        producer.produce("t", "elsewhere")
        assert producer.flush(TIMEOUT_S) == 0
    producer.produce("t", "back")
    assert producer.flush(TIMEOUT_S) == 0
    assert consume_all(cluster.bootstrap_servers) == [b"before", b"elsewhere", b"back"]


def test_a_partition_without_a_leader(cluster: EmbeddedKafka) -> None:
    before = state(cluster)
    with cluster.faults.without_leader("t"):
        gone = state(cluster)
        assert (gone.leader_id, gone.error_code) == (-1, ErrorCode.LEADER_NOT_AVAILABLE)
        with Wire(cluster, before.leader_id) as wire:
            assert wire.produce("t") == {"t": NOT_LEADER}
    back = state(cluster)
    assert (back.leader_id, back.error_code) == (before.leader_id, 0)


def test_a_node_that_crashes_keeps_what_it_has_written_and_comes_back(cluster: EmbeddedKafka) -> None:
    produce(cluster.bootstrap_servers, "t", "1")
    leader = state(cluster).leader_id
    with cluster.faults.crash(leader):
        with pytest.raises(ConnectError):
            Wire(cluster, leader)
        survivor = others(cluster, leader)
        assert state(cluster, node=survivor).leader_id not in (leader, -1)
        assert leader not in state(cluster, node=survivor).isr_nodes
        produce(cluster.bootstrap_servers, "t", "2")
    wait_until(lambda: len(state(cluster).isr_nodes) == 3)
    with cluster.faults.move_leader("t", to=leader):
        assert consume_all(cluster.bootstrap_servers) == [b"1", b"2"]


def test_a_single_node_comes_back_with_its_data() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        address = kafka.bootstrap_servers
        for count in (1, 2):
            produce(address, "t", str(count))
            with kafka.faults.crash(), pytest.raises(ConnectError):
                Wire(kafka)
            assert kafka.bootstrap_servers == address
            assert consume_all(address) == [str(each + 1).encode() for each in range(count)]


def test_a_power_cut_takes_what_was_not_synced_and_replicas_bring_it_back(cluster: EmbeddedKafka) -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        produce(kafka.bootstrap_servers, "t", "1")
        with kafka.faults.crash(power_cut=True):
            pass
        assert consume_all(kafka.bootstrap_servers) == []
    with EmbeddedKafka(topics=["t"], config={"log.flush.interval.messages": 1}) as kafka:
        produce(kafka.bootstrap_servers, "t", "1")
        with kafka.faults.crash(power_cut=True):
            pass
        assert consume_all(kafka.bootstrap_servers) == [b"1"]
    produce(cluster.bootstrap_servers, "t", "1")
    leader = state(cluster).leader_id
    with cluster.faults.crash(leader, power_cut=True):
        produce(cluster.bootstrap_servers, "t", "2")
    wait_until(lambda: len(state(cluster).isr_nodes) == 3)
    with cluster.faults.move_leader("t", to=leader):
        assert consume_all(cluster.bootstrap_servers) == [b"1", b"2"]


def test_a_crash_that_is_not_undone_leaves_nothing_in_the_way_of_a_stop_and_a_reset() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        kafka.faults.crash()
        with pytest.raises(RuntimeError, match="node 1 does not run"):
            kafka.faults.crash()
        kafka.reset()
        produce(kafka.bootstrap_servers, "t", "v")
        kafka.faults.crash()


def test_a_crash_on_disks_is_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("data")
    with EmbeddedKafka(topics=["t"], data_dir=directory) as kafka:
        produce(kafka.bootstrap_servers, "t", "v")
        with kafka.faults.crash():
            assert not (directory / ".kafka_cleanshutdown").exists()
            assert not [at for at in descriptors().values() if str(directory) in at]
        assert consume_all(kafka.bootstrap_servers) == [b"v"]
        kafka.faults.pause()
        begun_s = time.monotonic()
    assert time.monotonic() - begun_s < 5
    assert (directory / ".kafka_cleanshutdown").exists()


def test_a_paused_node_accepts_connections_and_answers_once_it_goes_on() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka, Wire(kafka, timeout_ms=50) as wire:
        assert wire.produce("t") == {"t": 0}
        with kafka.faults.pause(), pytest.raises(RequestTimeoutError):
            wire.produce("t")
        wait_until(lambda: consume_all(kafka.bootstrap_servers) == [b"v", b"v"])


def test_leaders_leave_a_paused_node_that_is_taken_for_dead(cluster: EmbeddedKafka) -> None:
    leader = state(cluster).leader_id
    survivor = others(cluster, leader)
    with cluster.faults.pause(leader, noticed=True):
        assert state(cluster, node=survivor).leader_id not in (leader, -1)
        produce(cluster.bootstrap_servers, "t", "v")
    wait_until(lambda: leader in state(cluster, node=survivor).isr_nodes)
    wait_until(lambda: state(cluster, node=leader).leader_id == state(cluster, node=survivor).leader_id)


def test_a_node_that_is_cut_off_writes_nothing_that_lasts(cluster: EmbeddedKafka) -> None:
    leader = state(cluster).leader_id
    survivor = others(cluster, leader)
    with cluster.faults.isolate(leader, noticed=True), Wire(cluster, leader, timeout_ms=300) as alone:
        with pytest.raises(RequestTimeoutError):
            alone.produce("t", value=b"lost")  # it takes itself for the leader, and waits for replicas in vain
        new = state(cluster, node=survivor).leader_id
        assert new not in (leader, -1)
        with Wire(cluster, new) as wire:
            assert wire.produce("t", value=b"kept") == {"t": 0}
    wait_until(lambda: len(state(cluster, node=survivor).isr_nodes) == 3)
    with cluster.faults.move_leader("t", to=leader):
        assert consume_all(cluster.bootstrap_servers) == [b"kept"]


def test_requests_among_nodes_are_hit_only_where_that_is_said(cluster: EmbeddedKafka) -> None:
    with cluster.faults.drop("Fetch") as clients, Wire(cluster, state(cluster).leader_id) as wire:
        assert [wire.produce("t") for _ in range(3)] == [{"t": 0}] * 3
        assert clients.hits == 0
    with cluster.faults.drop("Fetch", internal=True, times=1) as nodes:
        nodes.wait()


def test_a_reset_mends_what_is_cut(cluster: EmbeddedKafka) -> None:
    cluster.faults.shrink_isr(2)
    cluster.faults.isolate(1)
    cluster.reset()
    produce(cluster.bootstrap_servers, "t", "v")
    wait_until(lambda: len(state(cluster).isr_nodes) == 3)


def test_too_few_replicas_in_sync_refuse_what_wants_all(cluster: EmbeddedKafka) -> None:
    leader = state(cluster).leader_id
    one, two = (each for each in (1, 2, 3) if each != leader)
    with Wire(cluster, leader) as wire:
        with cluster.faults.shrink_isr(one, topic="t"):
            assert sorted(state(cluster).isr_nodes) == sorted([leader, two])
            assert wire.produce("t") == {"t": 0}
        assert sorted(state(cluster).isr_nodes) == [1, 2, 3]


def test_an_isr_of_one_is_below_the_minimum() -> None:
    with EmbeddedKafka(2, topics=["t"], config={**HASTY, "min.insync.replicas": 2}) as kafka:
        leader = state(kafka).leader_id
        with kafka.faults.shrink_isr(3 - leader, topic="t"), Wire(kafka, leader) as wire:
            for _ in range(20):
                assert wire.produce("t", acks=1) == {"t": 0}
                assert wire.produce("t") == {"t": ErrorCode.NOT_ENOUGH_REPLICAS}
        assert sorted(state(kafka).isr_nodes) == [1, 2]


@pytest.mark.parametrize("kind", ["disk_full", "disk_error"])
def test_a_node_whose_disk_fails_stops_and_comes_back_when_it_is_mended(kind: str) -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        produce(kafka.bootstrap_servers, "t", "1")
        with kafka.faults.disk_full(topic="t"):
            assert consume_all(kafka.bootstrap_servers) == [b"1"]
        with getattr(kafka.faults, kind)(topic="t") as fault:
            with Wire(kafka) as wire:
                assert wire.produce("t") == {"t": ErrorCode.KAFKA_STORAGE_ERROR}
            fault.wait()
            wait_until(lambda: not is_up(kafka))
        assert consume_all(kafka.bootstrap_servers) == [b"1"]


def test_a_disk_that_stays_full_is_no_surprise_at_the_end() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        kafka.faults.disk_full(topic="t")
        with Wire(kafka) as wire:
            assert wire.produce("t") == {"t": ErrorCode.KAFKA_STORAGE_ERROR}
        wait_until(lambda: not is_up(kafka))


def is_up(kafka: EmbeddedKafka) -> bool:
    try:
        with Wire(kafka):
            return True
    except ConnectError:
        return False


def test_a_consumer_and_an_idempotent_producer_live_through_the_crash_of_a_leader(cluster: EmbeddedKafka) -> None:
    values = [str(number).encode() for number in range(40)]

    async def run() -> list[bytes]:
        servers = cluster.bootstrap_servers
        async with (
            AIOKafkaProducer(
                bootstrap_servers=servers, enable_idempotence=True, retry_backoff_ms=20, metadata_max_age_ms=200
            ) as producer,
            AIOKafkaConsumer(
                "t", bootstrap_servers=servers, auto_offset_reset="earliest", retry_backoff_ms=20,
                metadata_max_age_ms=200,
            ) as consumer,
        ):  # fmt: skip
            read: list[bytes] = []
            for number, value in enumerate(values):
                if number == 10:
                    crashed = await asyncio.to_thread(lambda: cluster.faults.crash(state(cluster).leader_id))
                if number == 30:
                    await asyncio.to_thread(crashed.lift)
                await producer.send_and_wait("t", value)
            while len(read) < len(values):
                read.append((await asyncio.wait_for(consumer.getone(), TIMEOUT_S)).value)
            return read

    assert asyncio.run(run()) == values


IMPOSSIBLE: tuple[tuple[Callable[[Faults], object], str], ...] = (
    (lambda faults: faults.move_leader("t", 7), "there is no partition t-7"),
    (lambda faults: faults.move_leader("no"), "there is no partition no-0"),
    (lambda faults: faults.move_leader("t", to=9), "node 9 cannot come to lead t-0"),
    (lambda faults: faults.crash(9), "there is no node 9"),
    (lambda faults: faults.shrink_isr(1, topic="no"), "there is no topic no"),
    (lambda faults: faults.move_coordinator(group="g", transactional_id="x"), "say which group or which"),
    (lambda faults: faults.move_coordinator(group="g"), "g has no coordinator yet"),
)


def test_what_cannot_be_is_refused(cluster: EmbeddedKafka) -> None:
    for make, problem in IMPOSSIBLE:
        with pytest.raises(ValueError, match=problem):
            make(cluster.faults)
    assert cluster.faults.active == {}


def test_one_node_has_nobody_to_move_a_leader_to() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka, pytest.raises(ValueError, match="nobody but node 1 can lead t-0"):
        kafka.faults.move_leader("t")
