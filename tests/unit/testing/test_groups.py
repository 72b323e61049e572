"""`EmbeddedKafka.group`: state, members, offsets and lag of groups of both protocols."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, TopicPartition

from odradek.testing import EmbeddedKafka, ErrorCode, GroupInfo, GroupMember, KafkaError, WaitTimeoutError, watching
from odradek.testing.cluster import Cluster
from odradek.testing.group_inspection import with_offsets
from odradek.testing.inspection import when_loaded
from odradek.testing.options import Options
from tests.unit.testing.clients import TIMEOUT_S, admin, produce

PROTOCOLS = pytest.mark.parametrize("protocol", ["classic", "consumer"])


@contextmanager
def member(
    kafka: EmbeddedKafka,
    protocol: str = "classic",
    client_id: str = "one",
    *,
    instance_id: str = "",
    commits: bool = True,
) -> Iterator[Consumer]:
    """A consumer that polls on a thread, as in a program."""
    config = {
        "bootstrap.servers": kafka.bootstrap_servers, "group.id": "g", "client.id": client_id, "log_level": 0,
        "group.protocol": protocol, "auto.offset.reset": "earliest", "auto.commit.interval.ms": 50,
        "enable.auto.commit": commits, "group.instance.id": instance_id,
    }  # fmt: skip
    if protocol == "classic":
        config["heartbeat.interval.ms"] = 50
    consumer = Consumer(config)
    consumer.subscribe(["t"])
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            consumer.poll(0.02)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield consumer
    finally:
        done.set()
        thread.join()
        consumer.close()


@PROTOCOLS
def test_a_group_from_its_first_member_to_its_last(protocol: str) -> None:
    with EmbeddedKafka(topics={"t": 2}) as kafka:
        group = kafka.group("g")
        assert (group.exists, group.state, group.lag, group.members, kafka.groups()) == (False, "Dead", {}, (), {})
        produce(kafka.bootstrap_servers, "t", "a", "b", "c")
        with member(kafka, protocol):
            stable = group.wait_for_stable(1, timeout_s=TIMEOUT_S)
            assert (stable.type, stable.state, stable.generation > 0) == (protocol, "Stable", True)
            (only,) = stable.members
            assert (only.client_id, only.subscription, only.assignment) == ("one", ("t",), {"t": (0, 1)})
            assert group.assignment == {only.member_id: {"t": (0, 1)}}
            read = group.wait_for_lag(timeout_s=TIMEOUT_S)
            assert (read.lag, read.total_lag) == ({"t": {0: 0, 1: 0}}, 0)
            assert sum(read.committed_offsets["t"].values()) == 3
            assert (kafka.groups(), kafka.topics()) == ({"g": "Stable"}, {"t": 2})
        empty = group.wait_for_state("Empty", timeout_s=TIMEOUT_S)
        assert (empty.members, empty.total_lag) == ((), 0)
        produce(kafka.bootstrap_servers, "t", "d", "e")
        assert group.total_lag == 2


def test_members_share_and_are_waited_for() -> None:
    with EmbeddedKafka(topics={"t": 2}) as kafka, member(kafka, client_id="one"):
        group = kafka.group("g")
        group.wait_for_stable(1, timeout_s=TIMEOUT_S)
        with member(kafka, client_id="two", instance_id="fixed"):
            both = asyncio.run(group.wait_for_stable_async(2, timeout_s=TIMEOUT_S))
            assert {each.client_id: each.group_instance_id for each in both.members} == {"one": None, "two": "fixed"}
            assert sorted(partition for each in both.members for partition in each.assignment["t"]) == [0, 1]


def test_lag_counts_what_nobody_has_committed() -> None:
    with EmbeddedKafka(nodes=3, topics={"t": 2, "u": 1}) as kafka:
        produce(kafka.bootstrap_servers, "u", "a", "b", "c")
        group = kafka.group("g")
        consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "g"})
        consumer.commit(offsets=[TopicPartition("u", 0, 1)], asynchronous=False)
        consumer.close()
        assert (group.state, group.committed_offsets, group.lag) == ("Empty", {"u": {0: 1}}, {"u": {0: 2}})
        assert asyncio.run(group.wait_for_lag_async(2)) == group.describe()
        client = admin(kafka)
        for future in client.delete_records([TopicPartition("u", 0, 2)]).values():
            future.result(TIMEOUT_S)
        assert group.lag == {"u": {0: 1}}, "what is deleted nobody will read"


def test_a_time_out_says_how_it_is() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        group = kafka.group("g")
        with pytest.raises(WaitTimeoutError, match="it is not stable: group g does not exist"):
            group.wait_for_stable(timeout_s=0.05)
        with pytest.raises(WaitTimeoutError, match="not at a lag of 0: group g does not exist"):
            group.wait_for_lag(timeout_s=0)
        produce(kafka.bootstrap_servers, "t", "a")
        with member(kafka, commits=False):
            group.wait_for_stable(timeout_s=TIMEOUT_S)
            with pytest.raises(
                WaitTimeoutError, match="not at a lag of 0: group g is Stable, has a lag of 1, and one with t-0"
            ):
                group.wait_for_lag(timeout_s=0.05)
            with pytest.raises(WaitTimeoutError, match="it is not stable with 2 members"):
                group.wait_for_stable(2, timeout_s=0)
            with pytest.raises(WaitTimeoutError, match="it is not Empty"):
                asyncio.run(group.wait_for_state_async("Empty", timeout_s=0))


def test_what_a_member_subscribes_to_counts_before_it_is_assigned() -> None:
    async def use() -> None:
        cluster = Cluster(Options.of(1, ["t"], None, None, False), lambda: None)
        await cluster.start()
        member = GroupMember("m", "one", "host", None, ("t", "unknown"), {})
        group = with_offsets(cluster, GroupInfo("g", "Reconciling", members=(member,)), ())
        assert (group.lag, group.members) == ({"t": {0: 0}}, (member,))
        await cluster.stop()

    asyncio.run(use())


def test_a_coordinator_that_reads_its_log_is_asked_again_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_S", 0.001)

    async def use() -> None:
        cluster = Cluster(Options.of(1, (), None, None, False), lambda: None)
        codes = [ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR]

        async def look() -> str:
            if codes:
                raise KafkaError(codes.pop())
            return "there"

        assert await when_loaded(cluster, look) == "there"
        codes += [ErrorCode.NOT_COORDINATOR] * 1000
        with pytest.raises(KafkaError):
            await when_loaded(cluster, look)
        assert codes
        codes[:] = [ErrorCode.UNKNOWN_SERVER_ERROR]
        with pytest.raises(KafkaError):
            await when_loaded(cluster, look)

    asyncio.run(use())


def test_the_total_is_of_all_topics() -> None:
    info = GroupInfo("g", "Empty", lag={"a": {0: 1, 1: 2}, "b": {0: 4}})
    assert info.total_lag == 7
