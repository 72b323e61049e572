"""What the controls do, asked over HTTP as programs in any language ask."""

from __future__ import annotations

import base64
import threading
import time
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from odradek.wire.partitioning import partition_of
from tests.unit.control.conftest import Client, Controlled
from tests.unit.testing.clients import TIMEOUT_S, consume, produce

HOUR_MS = 3_600_000


def test_health_and_nodes(controlled: Controlled) -> None:
    assert controlled.http.get("/health").json["status"] == "ok"
    nodes = controlled.http.get("/nodes").json
    assert nodes["bootstrap_servers"] == controlled.kafka.bootstrap_servers
    (node,) = nodes["nodes"]
    assert (node["node_id"], node["is_controller"], node["is_fenced"], node["leads"]) == (1, True, False, 0)
    assert controlled.kafka.bootstrap_servers == f"127.0.0.1:{node['listeners']['PLAINTEXT']}"


def test_topics_are_created_described_and_deleted(http: Client) -> None:
    answer = http.post("/topics", {"name": "t", "partitions": 3, "config": {"retention.ms": 5000, "preallocate": True}})
    assert answer.status == 201
    assert [each["leader"] for each in answer.json["partitions"]] == [1, 1, 1]
    assert answer.json["config"]["retention.ms"] == "5000"
    assert answer.json["config"]["preallocate"] == "true"
    assert http.get("/topics").json == {"t": 3}
    assert http.get("/topics/t").json == answer.json
    assert http.post("/topics", {"name": "t"}).error == (409, "TOPIC_ALREADY_EXISTS")
    assert http.delete("/topics/t").status == 204
    assert http.get("/topics").json == {}
    for problem in (http.get("/topics/t"), http.delete("/topics/t"), http.get("/topics/t/records")):
        assert problem.error == (404, "UNKNOWN_TOPIC_OR_PARTITION")
    assert http.post("/topics", {"name": "a b"}).error == (400, "INVALID_TOPIC_EXCEPTION")
    assert http.post("/topics", {"name": "t", "config": {"retention.ms": "x"}}).error == (400, "INVALID_CONFIG")


def test_records_that_are_written_reach_a_consumer(controlled: Controlled) -> None:
    http = controlled.http
    http.post("/topics", {"name": "t", "partitions": 3})
    raw = base64.b64encode(b"\xff\x00").decode()
    records: list[dict[str, Any]] = [
        {"key": "a", "value": "one", "headers": [{"name": "h", "value": "x"}, {"name": "h"}], "timestamp_ms": 123},
        {"key": "a", "value": {"json": {"n": 1}}},
        {"value": {"base64": raw}, "partition": 2},
        {"key": None, "value": None, "partition": 2},
    ]
    answer = http.post("/topics/t/records", {"records": records})
    assert answer.status == 201
    at = partition_of(b"a", 3)
    assert [each["partition"] for each in answer.json] == [at, at, 2, 2]
    assert answer.json[1]["offset"] == answer.json[0]["offset"] + 1
    consumer = Consumer({"bootstrap.servers": controlled.kafka.bootstrap_servers, "group.id": "g"})
    consumer.assign([TopicPartition("t", each["partition"], each["offset"]) for each in answer.json[::2]])
    found = {(each.partition(), each.offset()): each for each in consumer.consume(4, TIMEOUT_S)}
    consumer.close()
    messages = [found[each["partition"], each["offset"]] for each in answer.json]
    assert [each.value() for each in messages] == [b"one", b'{"n":1}', b"\xff\x00", None]
    assert messages[0].headers() == [("h", b"x"), ("h", None)]
    assert messages[0].timestamp()[1] == 123


def test_records_of_producers_are_read_in_several_encodings(controlled: Controlled) -> None:
    http = controlled.http
    http.post("/topics", {"name": "t"})
    produce(controlled.kafka.bootstrap_servers, "t", "text", '{"a": [1]}')
    first, second = http.get("/topics/t/records").json
    assert (first["partition"], first["offset"], first["key"], first["value"]) == (0, 0, None, "text")
    assert second["value"] == '{"a": [1]}'
    values = [each["value"] for each in http.get("/topics/t/records", encoding="json").json]
    assert values == [{"base64": base64.b64encode(b"text").decode()}, {"json": {"a": [1]}}]
    (only,) = http.get("/topics/t/records", encoding="base64", from_offset=1, partition=0).json
    assert only["value"] == {"base64": base64.b64encode(b'{"a": [1]}').decode()}
    assert http.get("/topics/t/records", partition=1).error == (404, "UNKNOWN_TOPIC_OR_PARTITION")
    # What is read can be written.
    http.post("/topics/t/records", {"records": [{"value": value} for value in values]})
    assert [each["value"] for each in http.get("/topics/t/records", from_offset=2).json] == ["text", '{"a":[1]}']


def test_a_reader_waits_for_records_and_is_told_what_there_is_instead(controlled: Controlled) -> None:
    http = controlled.http
    http.post("/topics", {"name": "t"})
    answers: list[list[Any]] = []
    reading = threading.Thread(target=lambda: answers.append(http.get("/topics/t/records", wait_for=2).json))
    reading.start()
    for value in ("a", "b"):
        produce(controlled.kafka.bootstrap_servers, "t", value)
    reading.join(TIMEOUT_S)
    assert [each["value"] for each in answers[0]] == ["a", "b"]
    late = http.get("/topics/t/records", wait_for=3, timeout_ms=10)
    assert late.error == (504, "TIMED_OUT")
    assert "t has not 3 records, but 2" in late.json["error"]["message"]


def test_aborted_records_are_seen_only_by_who_wants_them(controlled: Controlled) -> None:
    http = controlled.http
    http.post("/topics", {"name": "t"})
    producer = Producer({"bootstrap.servers": controlled.kafka.bootstrap_servers, "transactional.id": "x"})
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    producer.produce("t", "aborted")
    producer.flush(TIMEOUT_S)
    transaction = http.get("/transactions/x", state="Ongoing").json
    assert transaction["partitions"] == {"t": [0]}
    producer.abort_transaction(TIMEOUT_S)
    assert http.get("/transactions/x", state="CompleteAbort").json["state"] == "CompleteAbort"
    assert [each["transactional_id"] for each in http.get("/transactions").json] == ["x"]
    assert http.get("/topics/t/records").json == []
    (found,) = http.get("/topics/t/records", isolation_level="read_uncommitted").json
    assert found["value"] == "aborted"
    assert http.get("/transactions/y").error == (404, "TRANSACTIONAL_ID_NOT_FOUND")


def test_states_that_are_none_are_refused(http: Client) -> None:
    assert http.get("/groups/g", state="Asleep").error == (400, "BAD_REQUEST")
    assert http.get("/transactions/x", state="Asleep").error == (400, "BAD_REQUEST")


def test_groups(controlled: Controlled) -> None:
    http = controlled.http
    http.post("/topics", {"name": "t"})
    produce(controlled.kafka.bootstrap_servers, "t", "a")
    assert http.get("/groups/g").error == (404, "GROUP_ID_NOT_FOUND")
    assert consume(controlled.kafka.bootstrap_servers, "t", 1) == ["a"]
    group = http.get("/groups/g", state="Empty", max_lag=0).json
    assert group["committed_offsets"] == {"t": {"0": 1}}
    assert http.get("/groups").json == {"g": "Empty"}
    assert http.get("/groups/g", members=1, timeout_ms=10).error == (504, "TIMED_OUT")
    assert http.get("/groups/none", state="Dead").json["state"] == "Dead"


def test_requests_of_clients(controlled: Controlled) -> None:
    http = controlled.http
    http.post("/topics", {"name": "t"})
    produce(controlled.kafka.bootstrap_servers, "t", "a")
    (request,) = http.get("/requests", api="Produce", topic="t", client_id="rdkafka", wait_for=1).json
    assert (request["message"]["acks"], request["error_codes"], request["topics"]) == (-1, [], ["t"])
    assert request["response"]["responses"][0]["partition_responses"][0]["base_offset"] == 0
    assert http.get("/requests", failed="true").json == []
    assert len(http.get("/requests", limit=1).json) == 1
    assert http.delete("/requests").status == 204
    assert http.get("/requests", api="Produce").json == []
    problem = http.get("/requests", api="Product")
    assert problem.error == (400, "BAD_PARAMETER")
    assert "OffsetCommit" in problem.json["error"]["message"]


def test_the_clock(http: Client) -> None:
    frozen = http.post("/clock/freeze").json
    assert frozen["is_frozen"]
    assert abs(frozen["now_ms"] - time.time() * 1000) < 60_000
    later = http.post("/clock/advance", {"hours": 1, "minutes": 1.5, "ms": 5}).json
    assert later == {"now_ms": frozen["now_ms"] + HOUR_MS + 90_005, "is_frozen": True}
    http.post("/topics", {"name": "t", "config": {"retention.ms": HOUR_MS}})
    http.post("/topics/t/records", {"records": [{"value": "v"}]})
    (written,) = http.get("/topics/t/records").json
    assert written["timestamp_ms"] == later["now_ms"]
    http.post("/clock/advance", {"hours": 2})
    assert http.get("/topics/t/records").json == []
    assert not http.post("/clock/resume").json["is_frozen"]
    assert http.get("/clock").json["now_ms"] >= later["now_ms"] + 2 * HOUR_MS
    assert http.post("/clock/advance", {"days": 1e9}).error == (400, "BAD_REQUEST")
    assert http.post("/clock/advance", {"hours": -1}).error == (400, "BAD_REQUEST")


def test_a_reset_empties_the_node_and_keeps_its_address(http: Client) -> None:
    before = http.get("/nodes").json["bootstrap_servers"]
    http.post("/topics", {"name": "t"})
    assert http.post("/reset").status == 204
    assert http.get("/topics").json == {}
    assert http.get("/nodes").json["bootstrap_servers"] == before


@pytest.mark.parametrize("value", [{"base64": "!"}, "\ud800", 1, {"base64": "", "json": 1}, {}])
def test_what_is_no_data_is_refused(http: Client, value: object) -> None:
    http.post("/topics", {"name": "t"})
    assert http.post("/topics/t/records", {"records": [{"value": value}]}).status == 400
    assert http.get("/topics/t/records").json == []


def test_faults(controlled: Controlled) -> None:
    http = controlled.http
    http.post("/topics", {"name": "t"})
    spec = {"fault": "fail", "api": "Produce", "error": "NOT_LEADER_OR_FOLLOWER", "topic": "t", "times": 1}
    answer = http.post("/faults", spec)
    assert (answer.status, answer.json["fault"], answer.json["hits"]) == (201, spec, 0)
    fault = f"/faults/{answer.json['id']}"
    assert http.get("/faults").json == [answer.json]
    produce(controlled.kafka.bootstrap_servers, "t", "v")
    assert http.get(fault, wait_for_hits=1).json["hits"] == 1
    failed, passed = http.get("/requests", api="Produce", wait_for=2).json
    assert (failed["error_codes"], passed["error_codes"]) == (["NOT_LEADER_OR_FOLLOWER"], [])
    assert http.get(fault, wait_for_hits=2, timeout_ms=1).error == (504, "TIMED_OUT")
    assert http.delete(fault).status == 204
    assert http.get(fault).error == http.delete(fault).error == (404, "NO_FAULT")
    http.post("/faults", {"fault": "stall"})
    assert http.delete("/faults").status == 204
    assert http.get("/faults").json == []


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"fault": "x"}, "there is no fault 'x'"),
        ({"fault": "fail"}, "needs error"),
        ({"fault": "fail", "error": "X"}, "X"),
        ({"fault": "fail", "error": 1}, "error is str"),
        ({"fault": "stall", "speed": 1}, "no argument 'speed'"),
    ],
)
def test_faults_that_make_no_sense_are_refused(http: Client, spec: object, problem: str) -> None:
    answer = http.post("/faults", spec)
    assert answer.error == (400, "BAD_REQUEST")
    assert problem in answer.json["error"]["message"]
