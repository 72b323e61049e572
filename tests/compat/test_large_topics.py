"""Topics of hundreds of partitions come and go while another client goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from odradek.wire.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
)
from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from tests.support.batches import batch
from tests.support.process import wait_for
from tests.support.requests import (
    NAMED_PRODUCE_VERSION,
    code,
    connect,
    list_offset,
    metadata,
    produce,
    wait_for_topic,
)
from tests.support.targets import Target
from tests.support.wire import Connection

PARTITIONS = 500
SOME = 100
LATEST = -1
CREATION_S = 60.0
"""Apache Kafka takes its time for so many files, on a machine that has other work."""


class Producer(threading.Thread):
    """Writes one record after the other, each with an answer."""

    def __init__(self, target: Target, topic: str) -> None:
        super().__init__()
        self.offsets: list[int] = []
        self.refusals: list[str] = []
        self.is_over = threading.Event()
        self._target = target
        self._topic = topic

    def run(self) -> None:
        with connect(self._target, CREATION_S) as connection:
            while not self.is_over.is_set():
                answer = produce(connection, self._topic, batch([b"steady"]))
                if answer.error_code:
                    self.refusals.append(code(answer.error_code))
                else:
                    self.offsets.append(answer.base_offset)


@contextmanager
def producing(target: Target, topic: str) -> Iterator[Producer]:
    """A producer goes on meanwhile; afterwards it has lost nothing, and nothing was refused."""
    producer = Producer(target, topic)
    producer.start()
    try:
        yield producer
    finally:
        producer.is_over.set()
        producer.join()
    assert producer.refusals == []
    assert producer.offsets == list(range(len(producer.offsets)))


def create(connection: Connection, topic: str, partitions: int) -> None:
    wanted = CreatableTopic(name=topic, num_partitions=partitions, replication_factor=1)
    answer = connection.call(CreateTopicsRequest(topics=[wanted], timeout_ms=60_000), CreateTopicsResponse)
    assert code(answer.topics[0].error_code) == "NONE", answer.topics[0].error_message


def grow(connection: Connection, topic: str, partitions: int) -> None:
    wanted = CreatePartitionsTopic(name=topic, count=partitions, assignments=None)
    answer = connection.call(CreatePartitionsRequest(topics=[wanted], timeout_ms=60_000), CreatePartitionsResponse)
    assert code(answer.results[0].error_code) == "NONE", answer.results[0].error_message


def delete(connection: Connection, topic: str) -> None:
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name=topic)], timeout_ms=60_000)
    assert code(connection.call(request, DeleteTopicsResponse).responses[0].error_code) == "NONE"


def write_to_all(connection: Connection, topic: str, partitions: int) -> set[tuple[str, int]]:
    """A record for each partition in one request; which errors and offsets came of it."""
    data = [PartitionProduceData(index=index, records=batch([b"x"])) for index in range(partitions)]
    request = ProduceRequest(acks=-1, timeout_ms=60_000, topic_data=[TopicProduceData(name=topic, partition_data=data)])
    (answer,) = connection.call(request, ProduceResponse, NAMED_PRODUCE_VERSION).responses
    assert len(answer.partition_responses) == partitions
    return {(code(each.error_code), each.base_offset) for each in answer.partition_responses}


@pytest.mark.parametrize(("first", "partitions"), [(PARTITIONS, PARTITIONS), (1, SOME)], ids=["created", "added"])
def test_a_producer_goes_on_while_many_partitions_come_and_go(
    target: Target, new_topic: Callable[..., str], unique: Callable[[str], str], first: int, partitions: int
) -> None:
    steady, large = new_topic(), unique("large")
    with connect(target, CREATION_S) as connection, producing(target, steady) as producer:
        create(connection, large, first)
        if first < partitions:
            grow(connection, large, partitions)
        wait_for_topic(connection, large, partitions, CREATION_S)
        assert write_to_all(connection, large, partitions) == {("NONE", 0)}
        before = len(producer.offsets)
        delete(connection, large)

        def is_gone() -> bool:
            return code(metadata(connection, large).error_code) == "UNKNOWN_TOPIC_OR_PARTITION"

        wait_for(is_gone, f"{large} is deleted", CREATION_S)
        wait_for(lambda: len(producer.offsets) > before, "the producer goes on", CREATION_S)
        assert list_offset(connection, steady, LATEST).offset > before


def test_a_large_topic_by_the_name_of_one_just_deleted_is_empty(
    connection: Connection, unique: Callable[[str], str]
) -> None:
    large = unique("large")
    for _ in range(2):
        create(connection, large, SOME)
        wait_for_topic(connection, large, SOME, CREATION_S)
        assert write_to_all(connection, large, SOME) == {("NONE", 0)}
        delete(connection, large)


@pytest.mark.odradek_only(reason="Apache Kafka's brokers may hear of a new topic later than whoever made it")
def test_all_partitions_can_be_written_to_once_their_creation_is_answered(
    connection: Connection, unique: Callable[[str], str]
) -> None:
    created, grown = unique("created"), unique("grown")
    create(connection, created, SOME)
    assert write_to_all(connection, created, SOME) == {("NONE", 0)}
    create(connection, grown, 1)
    grow(connection, grown, SOME)
    assert write_to_all(connection, grown, SOME) == {("NONE", 0)}
    delete(connection, created)
    assert write_to_all(connection, created, SOME) == {("UNKNOWN_TOPIC_OR_PARTITION", -1)}
    delete(connection, grown)
