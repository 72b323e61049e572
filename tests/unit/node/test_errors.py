"""Whatever goes wrong inside, a client is told so in the words of the API that it used."""

from __future__ import annotations

import pytest

from odradek.server.dispatcher import error_response
from odradek.server.handlers import CloseConnection
from odradek.storage.log import Log
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.apis import stable_versions
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from odradek.wire.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from tests.unit.broker.scene import batch_of
from tests.unit.node.machine import Machine

FAILURE = KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, "something broke")


def test_every_api_has_an_error_response_in_each_of_its_versions() -> None:
    node = Machine().start()
    handlers = [*node.node.broker_handlers, *node.node.controller_handlers]
    assert len(handlers) > 60
    for handler in handlers:
        for version in stable_versions(handler.api_key):
            request = handler.request()
            if isinstance(request, ProduceRequest):
                request.acks = 1
            assert error_response(handler, version, request, FAILURE).encode(version)


def test_without_acknowledgement_a_failed_produce_costs_the_connection() -> None:
    (handler,) = [each for each in Machine().start().node.broker_handlers if each.request is ProduceRequest]
    with pytest.raises(CloseConnection):
        error_response(handler, 12, ProduceRequest(acks=0), FAILURE)


def test_a_partition_that_fails_unexpectedly_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Machine().start()
    node.create_topic("t", partitions=2)
    for partition in (0, 1):
        assert node.produce("t", b"v", partition=partition) is ErrorCode.NONE
    broken = node.node.broker.replicas.partition(TopicPartition("t", 0)).local_log()

    def checked(log: Log) -> Log:
        if log is broken:
            raise RuntimeError("a defect")
        return log

    append, read = Log.append_as_leader, Log.read
    monkeypatch.setattr(Log, "append_as_leader", lambda log, *args, **named: append(checked(log), *args, **named))
    monkeypatch.setattr(Log, "read", lambda log, *args, **named: read(checked(log), *args, **named))
    produce = ProduceRequest(
        acks=-1,
        timeout_ms=1000,
        topic_data=[
            TopicProduceData(
                name="t", partition_data=[PartitionProduceData(index=index, records=batch_of(b"w")) for index in (0, 1)]
            )
        ],
    )
    (produced,) = node.ask(produce, ProduceResponse, 12).responses
    assert [(part.error_code, part.base_offset) for part in produced.partition_responses] == [
        (ErrorCode.UNKNOWN_SERVER_ERROR, -1),
        (ErrorCode.NONE, 1),
    ]
    partitions = [FetchPartition(partition=index, fetch_offset=0, partition_max_bytes=1000) for index in (0, 1)]
    fetch = FetchRequest(max_wait_ms=0, max_bytes=1000, topics=[FetchTopic(topic="t", partitions=partitions)])
    (fetched,) = node.ask(fetch, FetchResponse, 12).responses
    assert [part.error_code for part in fetched.partitions] == [ErrorCode.UNKNOWN_SERVER_ERROR, ErrorCode.NONE]


def test_a_defect_is_told_for_every_partition_that_was_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Machine().start()
    node.create_topic("t")

    def fail(_manager: object, _name: TopicPartition) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(type(node.node.broker.replicas), "partition", fail)
    asked = ListOffsetsPartition(partition_index=0, timestamp=-1)
    request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsTopic(name="t", partitions=[asked])])
    ((answer,),) = [topic.partitions for topic in node.ask(request, ListOffsetsResponse).topics]
    assert (answer.partition_index, answer.error_code) == (0, ErrorCode.UNKNOWN_SERVER_ERROR)
