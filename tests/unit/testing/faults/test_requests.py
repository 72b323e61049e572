"""Faults of requests, as what a client sends and gets."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from odradek.net.connection import ClientError, ConnectError, ConnectionLostError
from odradek.testing import EmbeddedKafka
from odradek.wire.apis import ApiKey
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.headers import RequestHeader
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.messages.list_groups import ListGroupsRequest, ListGroupsResponse
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from odradek.wire.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchResponse,
)
from odradek.wire.messages.produce import ProduceRequest, ProduceResponse
from odradek.wire.schema import Message
from tests.unit.testing.clients import partitions
from tests.unit.testing.faults.wire import Wire, produce_request

NOT_LEADER = ErrorCode.NOT_LEADER_OR_FOLLOWER
LONG_MS = 60_000
LATEST = -1


def end_offset(wire: Wire, topic: str, partition: int = 0) -> int:
    asked = ListOffsetsPartition(partition_index=partition, timestamp=LATEST)
    request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsTopic(name=topic, partitions=[asked])])
    (answered,) = wire.send(request, ListOffsetsResponse, 7).topics
    assert answered.partitions[0].error_code == 0
    return answered.partitions[0].offset


def in_background(action: Callable[[], object]) -> Future[object]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(action)
    pool.shutdown(wait=False)
    return future


@pytest.mark.parametrize("error", ["NOT_LEADER_OR_FOLLOWER", NOT_LEADER, 6, KafkaError(NOT_LEADER)])
def test_the_nth_request_fails_and_nothing_of_it_is_done(kafka: EmbeddedKafka, error: str | int | KafkaError) -> None:
    with Wire(kafka) as wire:
        fault = kafka.faults.fail("Produce", error, after=1, times=2)
        codes = [wire.produce("a")["a"] for _ in range(4)]
        assert codes == [0, NOT_LEADER, NOT_LEADER, 0]
        assert end_offset(wire, "a") == 2
        assert fault.hits == 2


def test_a_fault_ends_with_its_block_and_leaves_other_requests_alone(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        with kafka.faults.fail("Produce", "NOT_ENOUGH_REPLICAS") as fault:
            assert wire.produce("a") == {"a": ErrorCode.NOT_ENOUGH_REPLICAS}
            assert end_offset(wire, "a") == 0
            assert kafka.faults.active == {fault.id: fault.spec}
        assert kafka.faults.active == {}
        assert wire.produce("a") == {"a": 0}


def test_only_the_topic_and_partition_that_are_meant_fail(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        with kafka.faults.fail("Produce", NOT_LEADER, topic="a"):
            assert wire.produce("a", "b") == {"a": NOT_LEADER, "b": 0}
        with kafka.faults.fail("Produce", NOT_LEADER, topic="a", partition=1):
            assert wire.produce("a") == {"a": 0}
            assert wire.produce("a", partition=1) == {"a": NOT_LEADER}
            both = produce_request("a")
            both.topic_data[0].partition_data += produce_request("a", partition=1).topic_data[0].partition_data
            (topic,) = wire.send(both, ProduceResponse, 12).responses
            assert sorted((each.index, each.error_code) for each in topic.partition_responses) == [
                (0, 0),
                (1, NOT_LEADER),
            ]
        assert [end_offset(wire, "a"), end_offset(wire, "a", 1), end_offset(wire, "b")] == [2, 0, 1]


def test_a_topic_is_also_known_by_its_id(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        metadata = wire.send(MetadataRequest(topics=None), MetadataResponse)
        request = produce_request("a", "b")
        for topic in request.topic_data:
            topic.topic_id = next(each.topic_id for each in metadata.topics if each.name == topic.name)
        ids = [topic.topic_id for topic in request.topic_data]
        with kafka.faults.fail("Produce", NOT_LEADER, topic="b"):
            answered = wire.send(request, ProduceResponse, 13).responses
        codes = {topic.topic_id: topic.partition_responses[0].error_code for topic in answered}
        assert codes == {ids[0]: 0, ids[1]: NOT_LEADER}


def test_only_the_client_that_is_meant_fails(kafka: EmbeddedKafka) -> None:
    kafka.faults.fail("Produce", NOT_LEADER, client_id="orders-*")
    with Wire(kafka, client_id="orders-1") as orders, Wire(kafka, client_id="others-1") as others:
        assert (orders.produce("a"), others.produce("a")) == ({"a": NOT_LEADER}, {"a": 0})


def test_a_predicate_sees_the_typed_request(kafka: EmbeddedKafka) -> None:
    def is_unacknowledged(request: Message) -> bool:
        return isinstance(request, ProduceRequest) and request.acks == 1

    with Wire(kafka) as wire, kafka.faults.fail("Produce", NOT_LEADER, where=is_unacknowledged):
        assert (wire.produce("a", acks=1), wire.produce("a", acks=-1)) == ({"a": NOT_LEADER}, {"a": 0})


def test_a_group_and_a_transactional_id_choose_requests(kafka: EmbeddedKafka) -> None:
    def heartbeat(group: str) -> int:
        return wire.send(HeartbeatRequest(group_id=group, member_id="m"), HeartbeatResponse).error_code

    def find(key: str, kind: int, version: int) -> int:
        request = FindCoordinatorRequest(key_type=kind)
        if version < 4:
            request.key = key
        else:
            request.coordinator_keys = [key]
        found = wire.send(request, FindCoordinatorResponse, version)
        return found.error_code if version < 4 else found.coordinators[0].error_code

    with Wire(kafka) as wire:
        moved = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        with kafka.faults.fail("Heartbeat", moved, group="g"):
            assert [heartbeat("g"), heartbeat("h") == moved] == [moved, False]
        for version in (3, 4):
            for kind in ("group", "transactional_id"):
                with kafka.faults.fail("FindCoordinator", moved, **{kind: "g"}):  # type: ignore[arg-type]
                    is_hit = {number: find("g", number, version) == moved for number in (0, 1)}
                    assert is_hit == {0: kind == "group", 1: kind != "group"}


def test_chance_is_decided_by_the_seed() -> None:
    def outcomes(kafka: EmbeddedKafka) -> list[bool]:
        kafka.faults.fail("ListGroups", "COORDINATOR_NOT_AVAILABLE", probability=0.5)
        with Wire(kafka) as wire:
            return [bool(wire.send(ListGroupsRequest(), ListGroupsResponse).error_code) for _ in range(40)]

    with EmbeddedKafka(seed=1) as kafka, EmbeddedKafka(seed=1) as like, EmbeddedKafka(seed=2) as unlike:
        one, again, other = outcomes(kafka), outcomes(like), outcomes(unlike)
        assert one == again != other
        assert 5 < sum(one) < 35
        kafka.reset()
        assert outcomes(kafka) == one


def test_every_api_says_it_in_its_own_place(kafka: EmbeddedKafka) -> None:
    code = ErrorCode.POLICY_VIOLATION
    with Wire(kafka) as wire, kafka.faults.fail("*", code):
        assert wire.send(InitProducerIdRequest(), InitProducerIdResponse).error_code == code
        created = wire.send(CreateTopicsRequest(topics=[CreatableTopic(name="t")]), CreateTopicsResponse)
        assert [(each.name, each.error_code) for each in created.topics] == [("t", code)]
        request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id="g", topics=None)])
        fetched = wire.send(request, OffsetFetchResponse, 8)
        assert [(each.group_id, each.error_code) for each in fetched.groups] == [("g", code)]
        assert wire.send(OffsetFetchRequest(group_id="g"), OffsetFetchResponse, 7).error_code == code
    assert partitions(kafka) == {"a": 2, "b": 1}


def test_metadata_of_a_topic_fails_and_the_brokers_are_told(kafka: EmbeddedKafka) -> None:
    def leaders(code: str) -> list[int]:
        with kafka.faults.fail("Metadata", code, topic="b"):
            response = wire.send(MetadataRequest(topics=[MetadataRequestTopic(name="b")]), MetadataResponse)
        return [each.leader_id for each in response.topics[0].partitions]

    def ask(*names: str) -> tuple[list[tuple[str | None, int, list[int]]], int]:
        request = MetadataRequest(topics=[MetadataRequestTopic(name=each) for each in names])
        response = wire.send(request, MetadataResponse)
        return [
            (topic.name, topic.error_code, [each.error_code for each in topic.partitions]) for topic in response.topics
        ], len(response.brokers)

    with Wire(kafka) as wire:
        with kafka.faults.fail("Metadata", "TOPIC_AUTHORIZATION_FAILED", topic="a"):
            assert ask("a", "b") == ([("a", 29, []), ("b", 0, [0])], 1)
        with kafka.faults.fail("Metadata", "LEADER_NOT_AVAILABLE", topic="a", partition=1):
            assert ask("a", "b") == ([("a", 0, [0, 5]), ("b", 0, [0])], 1)
        with kafka.faults.fail("Metadata", "UNKNOWN_TOPIC_OR_PARTITION"):
            assert ask("new") == ([("new", 3, [])], 1)
        assert (leaders("LEADER_NOT_AVAILABLE"), leaders("REPLICA_NOT_AVAILABLE")) == ([-1], [1])
    assert "new" not in partitions(kafka)


def fetch(wire: Wire, *topics: str, session: tuple[int, int] = (0, -1), wait_ms: int = 0) -> FetchResponse:
    request = FetchRequest(
        replica_id=-1, max_wait_ms=wait_ms, min_bytes=1, session_id=session[0], session_epoch=session[1],
        topics=[
            FetchTopic(topic=topic, partitions=[FetchPartition(partition=0, partition_max_bytes=10_000)])
            for topic in topics
        ],
    )  # fmt: skip
    return wire.send(request, FetchResponse, 12)


def outcome(response: FetchResponse) -> dict[str, tuple[int, int]]:
    """Of each topic, the error and how many bytes were read."""
    return {
        topic.topic: (topic.partitions[0].error_code, len(topic.partitions[0].records or b""))  # type: ignore[arg-type]
        for topic in response.responses
    }


def test_a_fetch_fails_for_a_partition_and_reads_the_others(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        wire.produce("a", "b")
        size = outcome(fetch(wire, "b"))["b"][1]
        assert size > 0
        with kafka.faults.fail("Fetch", NOT_LEADER, topic="a", times=1):
            assert outcome(fetch(wire, "a", "b")) == {"a": (NOT_LEADER, 0), "b": (0, size)}
            assert outcome(fetch(wire, "a", "b")) == {"a": (0, size), "b": (0, size)}


def test_a_fetch_session_goes_on_behind_a_failure_and_does_not_wait_for_records(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        session = fetch(wire, "a", "b", session=(0, 0)).session_id
        assert session
        assert outcome(fetch(wire, session=(session, 1))) == {}
        with kafka.faults.fail("Fetch", NOT_LEADER, topic="a"):
            assert outcome(fetch(wire, session=(session, 2), wait_ms=LONG_MS)) == {"a": (NOT_LEADER, 0)}
        wire.produce("a")
        answered = outcome(fetch(wire, session=(session, 3)))
        assert answered["a"][0] == 0
        assert answered["a"][1] > 0
        with kafka.faults.fail("Fetch", "FETCH_SESSION_ID_NOT_FOUND", topic="a"):
            assert fetch(wire, session=(session, 4)).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_a_request_without_acknowledgement_fails_by_the_end_of_its_connection(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire, kafka.faults.fail("Produce", NOT_LEADER), pytest.raises(ConnectionLostError):
        wire.produce("a", acks=0)


def test_delays_do_not_add_up_and_keep_the_order(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        fault = kafka.faults.delay("Produce", ms=60)
        begun_s = time.monotonic()
        offsets = wire.produce_all(*[produce_request("a")] * 30)
        taken_s = time.monotonic() - begun_s
        assert 0.06 <= taken_s < 30 * 0.06 / 2
        assert fault.hits == 30
        assert offsets == list(range(30))


def test_an_answer_can_be_late_alone(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire, Wire(kafka) as other, kafka.faults.delay("Produce", ms=LONG_MS, applied=True) as fault:
        produced = in_background(lambda: wire.produce("a"))
        fault.wait()
        assert end_offset(other, "a") == 1
        fault.lift()
        assert produced.result(5) == {"a": 0}


@pytest.mark.parametrize("applied", [False, True])
def test_a_stalled_request_goes_on_when_that_is_lifted(kafka: EmbeddedKafka, applied: bool) -> None:
    with Wire(kafka) as wire, Wire(kafka) as other, kafka.faults.stall("Produce", applied=applied, times=1) as fault:
        produced = in_background(lambda: wire.produce("a"))
        fault.wait()
        assert end_offset(other, "a") == (1 if applied else 0)
        assert other.produce("b") == {"b": 0}
        fault.lift()
        assert produced.result(5) == {"a": 0}
        assert end_offset(other, "a") == 1


def test_what_is_behind_a_stalled_request_waits_for_it(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire, Wire(kafka) as other:
        stalled = kafka.faults.stall("Produce", times=1)
        seen = kafka.faults.delay("Produce", ms=0, after=1, times=1)
        first, second = produce_request("a", value=b"first"), produce_request("a", value=b"second")
        both = in_background(lambda: wire.produce_all(first, second))
        seen.wait()
        assert end_offset(other, "a") == 0
        stalled.lift()
        assert both.result(5) == [0, 1]


def test_several_faults_of_one_request_all_act(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire, Wire(kafka) as other:
        kafka.faults.lose_response("Produce")
        stalled = kafka.faults.stall("Produce")
        produced = in_background(lambda: wire.produce("a"))
        stalled.wait()
        assert end_offset(other, "a") == 0
        stalled.lift()
        with pytest.raises(ConnectionLostError):
            produced.result(5)
        assert end_offset(other, "a") == 1


def test_of_two_answers_the_one_of_the_newer_fault_is_given(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire, kafka.faults.fail("Produce", NOT_LEADER):
        with kafka.faults.fail("Produce", "NOT_ENOUGH_REPLICAS"):
            assert wire.produce("a") == {"a": ErrorCode.NOT_ENOUGH_REPLICAS}
        assert wire.produce("a") == {"a": NOT_LEADER}


def test_a_dropped_request_is_not_done_and_a_lost_response_is_of_one_that_is(kafka: EmbeddedKafka) -> None:
    for fault, written in ((kafka.faults.drop, 0), (kafka.faults.lose_response, 1)):
        with fault("Produce", times=1), Wire(kafka) as wire, Wire(kafka) as other:
            with pytest.raises(ConnectionLostError):
                wire.produce("a")
            assert end_offset(other, "a") == written
            assert other.produce("b") == {"b": 0}


def test_connections_end_also_idle_ones_and_can_be_made_again(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as busy, Wire(kafka) as idle, kafka.faults.stall("Produce") as stalled:
        produced = in_background(lambda: busy.produce("a"))
        stalled.wait()
        kafka.faults.disconnect().wait(2)
        with pytest.raises(ConnectionLostError):
            produced.result(5)
        with pytest.raises(ConnectionLostError):
            idle.produce("b")
    with Wire(kafka) as wire:
        assert wire.produce("b") == {"b": 0}


def test_a_half_closed_connection_ends_on_one_side(kafka: EmbeddedKafka) -> None:
    host, _, port = kafka.bootstrap_servers.partition(":")
    header = RequestHeader(request_api_key=ApiKey.API_VERSIONS, correlation_id=1, client_id="x").encode(1)
    frame = len(header).to_bytes(4, "big") + header
    with kafka.faults.half_close("ApiVersions") as fault, socket.create_connection((host, int(port)), 5) as sock:
        for _ in range(3):
            sock.sendall(frame)
            assert sock.recv(1) == b""
        fault.wait(3)


@pytest.mark.parametrize("cut", [False, True])
def test_a_spoilt_answer_is_of_a_request_that_is_done(kafka: EmbeddedKafka, cut: bool) -> None:
    with Wire(kafka) as wire, Wire(kafka) as other, kafka.faults.corrupt("Produce", cut=cut):
        with pytest.raises(ClientError):
            wire.produce("a")
        assert end_offset(other, "a") == 1


def test_a_throttled_client_is_told_and_its_connection_is_muted(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire, Wire(kafka) as other, kafka.faults.throttle("Produce", ms=80, times=1):
        assert wire.send(produce_request("a"), ProduceResponse).throttle_time_ms == 80
        begun_s = time.monotonic()
        assert other.produce("b") == {"b": 0}
        assert wire.send(produce_request("a"), ProduceResponse).throttle_time_ms == 0
        assert time.monotonic() - begun_s > 0.06


def test_a_throttled_request_mutes_also_what_was_waiting_behind_it(kafka: EmbeddedKafka) -> None:
    with Wire(kafka) as wire:
        kafka.faults.throttle("Produce", ms=80, times=1)
        stalled = kafka.faults.stall("Produce", times=1)
        seen = kafka.faults.delay("Produce", ms=0, after=1, times=1)
        both = in_background(lambda: wire.produce_all(produce_request("a"), produce_request("a")))
        seen.wait()
        begun_s = time.monotonic()
        stalled.lift()
        assert both.result(5) == [0, 1]
        assert time.monotonic() - begun_s > 0.06


def test_a_fault_is_still_there_when_the_node_is_started_again(kafka: EmbeddedKafka) -> None:
    with kafka.faults.fail("Produce", NOT_LEADER):
        with kafka.faults.crash():
            pass
        with Wire(kafka) as wire:
            assert wire.produce("a") == {"a": NOT_LEADER}


def test_a_reset_lifts_faults_and_those_of_before_lift_nothing_of_afterwards(kafka: EmbeddedKafka) -> None:
    before = kafka.faults.fail("Produce", NOT_LEADER)
    kafka.reset()
    with Wire(kafka) as wire:
        assert wire.produce("a") == {"a": 0}
        kafka.faults.fail("Produce", NOT_LEADER)
        before.lift()
        assert wire.produce("a") == {"a": NOT_LEADER}


def test_a_stop_does_not_wait_for_what_is_held_up() -> None:
    with EmbeddedKafka(topics=["a"]) as kafka:
        with kafka.faults.stall("Produce") as fault, Wire(kafka) as wire:
            produced = in_background(lambda: wire.produce("a"))
            fault.wait()
            begun_s = time.monotonic()
            kafka.stop()
            assert time.monotonic() - begun_s < 3
            with pytest.raises(ConnectionLostError):
                produced.result(5)
        with pytest.raises(RuntimeError):
            _ = fault.hits


def test_nodes_in_another_process_have_the_same_faults_but_predicates_of_this_one() -> None:
    with EmbeddedKafka(topics=["a"], process=True) as kafka:
        with pytest.raises(ValueError, match="`where` is for nodes in this process"):
            kafka.faults.drop("Produce", where=lambda _request: True)
        with Wire(kafka) as wire:
            assert wire.produce("a") == {"a": 0}
            with kafka.faults.fail("Produce", NOT_LEADER, topic="a") as fault:
                assert wire.produce("a") == {"a": NOT_LEADER}
                assert fault.wait().hits == 1
        with kafka.faults.crash(), pytest.raises(ConnectError):
            Wire(kafka)
        with Wire(kafka) as wire:
            assert end_offset(wire, "a") == 1
        kafka.faults.stall("Produce")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda faults: faults.drop("Produze"), "there is no API 'Produze'"),
        (lambda faults: faults.fail("Produce", "OH_NO"), "'OH_NO' is none of Kafka's errors"),
        (lambda faults: faults.fail("Produce", 12345), "12345 is none of Kafka's errors"),
        (lambda faults: faults.fail("Produce", 0), "'NONE' is none of Kafka's errors"),
        (lambda faults: faults.fail("BrokerHeartbeat", 6, node=2), "there is no node 2"),
        (lambda faults: faults.fail("ShareFetch", 6), "is not served here"),
        (lambda faults: faults.drop(times=0), "times at least 1"),
        (lambda faults: faults.drop(probability=2), "between 0 and 1"),
        (lambda faults: faults.drop(partition=1), "needs its topic"),
        (lambda faults: faults.drop().wait(timeout_s=0.01), "hit 0 times in 0.01 s"),
    ],
)
def test_what_makes_no_sense_is_refused(kafka: EmbeddedKafka, make: Callable[[object], object], problem: str) -> None:
    with pytest.raises((ValueError, TimeoutError), match=problem):
        make(kafka.faults)
