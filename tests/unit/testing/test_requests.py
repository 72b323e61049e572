"""`EmbeddedKafka.requests`: what clients have sent and got, and waiting for it."""

from __future__ import annotations

import asyncio
import re
import threading
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from odradek.testing import EmbeddedKafka, ErrorCode, RecordedRequest, WaitTimeoutError, watching
from odradek.wire.apis import ApiKey
from odradek.wire.messages.create_topics import CreateTopicsRequest
from odradek.wire.messages.fetch import FetchRequest, FetchResponse
from odradek.wire.messages.headers import RequestHeader
from odradek.wire.messages.metadata import MetadataRequest
from odradek.wire.messages.produce import ProduceRequest, ProduceResponse
from odradek.wire.records.batch import iter_records
from tests.unit.testing.clients import TIMEOUT_S, consume_all, produce


def send(kafka: EmbeddedKafka, client_id: str, topic: str, **options: object) -> Producer:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "client.id": client_id, **options})
    producer.produce(topic, f"of {client_id}")
    assert producer.flush(TIMEOUT_S) == 0
    return producer


def test_what_a_client_sent_and_what_it_got() -> None:
    with EmbeddedKafka(topics=["t", "other"]) as kafka:
        before_ms = time.time_ns() // 1_000_000
        send(kafka, "one", "t")
        send(kafka, "two", "t")
        send(kafka, "two", "other")
        assert [each.client_id for each in kafka.requests.of(ProduceRequest)] == ["one", "two", "two"]
        (request,) = kafka.requests.of(ProduceRequest).from_client("two").for_topic("t")
        (topic,) = request.message.topic_data
        records = topic.partition_data[0].records
        assert isinstance(records, bytes | memoryview)
        assert [record.value for record in iter_records(records)] == [b"of two"]
        assert (request.api, request.node_id, request.topics) == (ApiKey.PRODUCE, 1, ["t"])
        assert before_ms <= request.time_ms <= time.time_ns() // 1_000_000
        assert request.duration_ms is not None
        assert 0 < request.duration_ms < TIMEOUT_S * 1000
        assert isinstance(request.response, ProduceResponse)
        assert request.response.responses[0].partition_responses[0].base_offset == 1
        assert request.error_codes == []
        assert re.fullmatch(
            rf"\d\d:\d\d:\d\d\.\d{{3}} two: Produce v{request.version} of t -> ok after \d+\.\d ms", str(request)
        )
        connections = {each.connection for each in kafka.requests.from_client("one")}
        assert connections.isdisjoint(each.connection for each in kafka.requests.from_client("two"))


def test_errors_are_those_of_any_part_of_the_response() -> None:
    with EmbeddedKafka(topics=["t"], config={"min.insync.replicas": 2}) as kafka:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "message.timeout.ms": 500, "log_level": 0})
        producer.produce("unknown topic", "v")
        producer.flush(TIMEOUT_S)
        (first, *_) = kafka.requests.of(MetadataRequest).failed()
        assert first.error_codes == [ErrorCode.INVALID_TOPIC_EXCEPTION]
        assert first.topics == ["unknown topic"]
        assert "INVALID_TOPIC_EXCEPTION" in str(first)
        assert len(kafka.requests.of(ProduceRequest).failed()) == 0


def test_topics_are_named_where_only_their_ids_are_sent() -> None:
    with EmbeddedKafka(topics=["t", "u"]) as kafka:
        produce(kafka.bootstrap_servers, "t", "v")
        assert consume_all(kafka.bootstrap_servers, "t") == [b"v"]
        fetches = kafka.requests.of(FetchRequest).for_topic("t")
        assert any(each.version >= 13 and each.message.topics for each in fetches)
        response = fetches.wait_for(timeout_s=TIMEOUT_S)[0].response
        assert isinstance(response, FetchResponse)
        assert response.responses[0].partitions[0].high_watermark == 1
        assert response.responses[0].partitions[0].records is None
        assert len(kafka.requests.of(FetchRequest).for_topic("u")) == 0


def test_only_clients_are_heard_and_not_the_nodes_among_each_other() -> None:
    with EmbeddedKafka(nodes=3, topics=["t"]) as kafka:
        produce(kafka.bootstrap_servers, "t", "v")
        assert {each.client_id for each in kafka.requests} == {"rdkafka"}


def test_forgetting_and_looking_away() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        requests = kafka.requests.of(ProduceRequest)
        send(kafka, "one", "t")
        kafka.requests.clear()
        assert list(kafka.requests) == []
        kafka.requests.pause()
        send(kafka, "two", "t")
        assert len(requests) == 0
        kafka.requests.resume()
        send(kafka, "three", "t")
        assert [each.client_id for each in requests] == ["three"]
        kafka.reset()
        assert len(kafka.requests) == 0
        send(kafka, "four", "t")
        assert [each.client_id for each in requests] == ["four"]
    with pytest.raises(RuntimeError, match="is not started"):
        len(requests)
    assert "do not run" in repr(requests)


def test_what_is_no_request_is_refused() -> None:
    with EmbeddedKafka() as kafka, pytest.raises(ValueError, match="RequestHeader is no request"):
        kafka.requests.of(RequestHeader)


def test_only_what_is_answered_is_waited_for() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        config = {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "g", "fetch.wait.max.ms": 60_000}
        consumer = Consumer({**config, "log_level": 0})
        consumer.assign([TopicPartition("t", 0, 0)])
        fetches = kafka.requests.of(FetchRequest)
        consumer.poll(0)
        (parked,) = kafka.wait_until(lambda: list(fetches), timeout_s=TIMEOUT_S)
        with pytest.raises(WaitTimeoutError, match="but 0 requests"):
            fetches.wait_for(timeout_s=0)
        produce(kafka.bootstrap_servers, "t", "v")
        assert fetches.wait_for(timeout_s=TIMEOUT_S)[0].error_codes == []
        assert not parked.is_answered, "it is as it was when it was looked at"
        assert str(parked).endswith("no answer")
        consumer.close()


def test_any_condition() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        send(kafka, "one", "t", acks=1)
        send(kafka, "two", "t", acks="all")
        assert [each.client_id for each in kafka.requests.of(ProduceRequest).where(_wants_all)] == ["two"]


def _wants_all(request: RecordedRequest[ProduceRequest]) -> bool:
    return request.message.acks == -1


def test_waiting_ends_when_it_comes() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        thread = threading.Thread(target=send, args=(kafka, "late", "t"))
        waited_for = kafka.requests.of(ProduceRequest).from_client("late")
        thread.start()
        (request,) = waited_for.wait_for(timeout_s=TIMEOUT_S)
        thread.join()
        assert request.is_answered

        async def wait() -> list[RecordedRequest[ProduceRequest]]:
            waiting = asyncio.ensure_future(waited_for.wait_for_async(2, timeout_s=TIMEOUT_S))
            await asyncio.to_thread(send, kafka, "late", "t")
            return await waiting

        assert len(asyncio.run(wait())) == 2


def test_waiting_is_woken_by_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not by looking again and again."""
    monkeypatch.setattr(watching, "LOOK_S", 10 * TIMEOUT_S)
    with EmbeddedKafka(topics=["t"]) as kafka:
        thread = threading.Thread(target=send, args=(kafka, "late", "t"))
        thread.start()
        begun_s = time.monotonic()
        kafka.requests.of(ProduceRequest).wait_for(timeout_s=5 * TIMEOUT_S)
        assert time.monotonic() - begun_s < TIMEOUT_S
        thread.join()


def test_nothing_is_looked_at_twice_while_waiting() -> None:
    """There may be thousands, and each has to be read."""
    with EmbeddedKafka(topics=["t"]) as kafka:
        send(kafka, "one", "t")
        looked: list[int] = []

        def note(request: RecordedRequest[ProduceRequest]) -> bool:
            looked.append(request.number)
            return request.message.acks == -1

        requests = kafka.requests.of(ProduceRequest).where(note)
        thread = threading.Thread(target=send, args=(kafka, "two", "t"))
        thread.start()
        found = requests.wait_for(2, timeout_s=TIMEOUT_S)
        thread.join()
        with pytest.raises(WaitTimeoutError, match="but 2 requests"):
            requests.wait_for(3, timeout_s=5 * watching.LOOK_S)
        assert sorted(looked) == sorted([each.number for each in found] * 2)


def test_a_time_out_says_what_there_was() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        send(kafka, "one", "t")
        with pytest.raises(WaitTimeoutError) as raised:
            kafka.requests.of(ProduceRequest).from_client("one").for_topic("t").wait_for(9, timeout_s=0.05)
        first, second = str(raised.value).splitlines()
        assert first == ("after 0.05 s there are not 9, but 1 requests of ProduceRequest from client one of topic t:")
        assert " one: Produce v" in second
        with pytest.raises(WaitTimeoutError, match="there are not 1, but 0 requests of CreateTopicsRequest"):
            kafka.requests.of(CreateTopicsRequest).wait_for(timeout_s=0)
