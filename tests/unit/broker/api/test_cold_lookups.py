"""Fetch and ListOffsets of what is on a disk: the thread of the state machines never waits for it."""

from __future__ import annotations

import pytest

from odradek.broker.api.fetch import FetchApi, FetchLimits
from odradek.broker.api.offsets import OffsetsApi
from odradek.broker.fetch.session import SessionCache
from odradek.ports import Promise
from odradek.ports.promise import flatten, spawn
from odradek.server.handlers import AnyHandler, erase, is_sliced
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.segment_file import FileRange
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from odradek.wire.records.header import parse_header
from odradek.wire.schema import Message
from tests.unit.broker.scene import Scene
from tests.unit.cold_files import ColdFileSystem, ColdWorld

RECORDS = 500
CONFIG = LogConfig(segment_bytes=100_000, index_interval_bytes=1000)


class Broker:
    """Topic "t": two partitions of several segments, one batch of 1 KB a record, and nothing of it in memory."""

    def __init__(self) -> None:
        self.world = ColdWorld()
        self.files = ColdFileSystem(self.world)
        self.scene = Scene(world=self.world, files=self.files)
        self.scene.create_topic("t", partitions=2)
        for log in (self.log(0), self.log(1)):
            log.update_config(CONFIG)
        self.begin_ms = self.world.now_ms()
        for number in range(RECORDS):
            self.world.advance(1)
            for partition in range(2):
                self.scene.append("t", b"%06d" % number + b"." * 1000, partition=partition)
        self.world.run_soon()
        for log in (self.log(0), self.log(1)):
            assert len(log.segments) > 4
            log.release()
        self.files.evict()
        self.world.works = 0
        sessions = SessionCache(self.world, self.world, slots=10, eviction_ms=120_000)
        self.fetch_api = FetchApi(self.scene.replicas, sessions, FetchLimits(1 << 26), self.world)
        self.offsets_api = OffsetsApi(self.scene.replicas, self.world)

    def log(self, partition: int) -> Log:
        return self.scene.replicas.partition(TopicPartition("t", partition)).local_log()

    def ask(self, handler: AnyHandler, request: Message, version: int) -> Message:
        answer = handler.handle(self.scene.context(handler, version), request)
        promise = flatten(spawn(answer)) if is_sliced(answer) else answer
        self.world.run_soon()
        response = promise.result() if isinstance(promise, Promise) else promise
        assert isinstance(response, Message)
        return response

    def fetch(self, *offsets: int) -> list[PartitionData]:
        wanted = [
            FetchPartition(partition=index % 2, fetch_offset=offset, partition_max_bytes=1 << 20)
            for index, offset in enumerate(offsets)
        ]
        request = FetchRequest(
            max_wait_ms=0, max_bytes=1 << 26, session_epoch=-1, topics=[FetchTopic(topic="t", partitions=wanted)]
        )
        response = self.ask(erase(self.fetch_api.handler()), request, 12)
        assert isinstance(response, FetchResponse)
        return [part for topic in response.responses for part in topic.partitions]

    def find(self, timestamp_ms: int) -> int:
        asked = ListOffsetsTopic(name="t", partitions=[ListOffsetsPartition(partition_index=0, timestamp=timestamp_ms)])
        response = self.ask(self.offsets_api.handlers()[0], ListOffsetsRequest(replica_id=-1, topics=[asked]), 8)
        assert isinstance(response, ListOffsetsResponse)
        return response.topics[0].partitions[0].offset


def first_offset(world: ColdWorld, part: PartitionData) -> int:
    """Of what was answered, read as the socket layer would, in the background."""
    held = part.records
    assert isinstance(held, FileRange)
    world.in_background = True
    data = held.read(0, held.size)
    world.in_background = False
    held.release()
    return parse_header(data).base_offset


@pytest.mark.parametrize("offset", [0, 50, 99, 250, RECORDS - 200])
def test_a_fetch_of_what_is_on_the_disk_is_prepared_in_the_background(offset: int) -> None:
    broker = Broker()
    (part,) = broker.fetch(offset)
    assert first_offset(broker.world, part) == offset
    assert broker.world.works == 1


def test_all_partitions_of_a_fetch_are_prepared_at_once_and_nothing_is_held_twice() -> None:
    broker = Broker()
    parts = broker.fetch(100, 200)
    assert [first_offset(broker.world, part) for part in parts] == [100, 200]
    assert broker.world.works == 1
    assert broker.log(0).segments.first.log._pool.held == 0


def test_what_was_at_hand_is_not_held_twice_when_another_partition_is_on_the_disk() -> None:
    broker = Broker()
    first_offset(broker.world, broker.fetch(130)[0])
    parts = broker.fetch(130, 200)
    assert [first_offset(broker.world, part) for part in parts] == [130, 200]
    assert broker.log(0).segments.first.log._pool.held == 0


def test_a_fetch_that_gives_way_to_others_is_prepared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odradek.broker.api.fetch.MANY_PARTITIONS", 1)
    broker = Broker()
    assert [first_offset(broker.world, part) for part in broker.fetch(100, 200)] == [100, 200]
    assert broker.world.works == 1


def test_what_is_in_memory_is_looked_up_at_once() -> None:
    broker = Broker()
    first_offset(broker.world, broker.fetch(130)[0])
    assert first_offset(broker.world, broker.fetch(130)[0]) == 130
    assert broker.world.works == 1
    broker.scene.append("t", b"new")
    assert first_offset(broker.world, broker.fetch(RECORDS)[0]) == RECORDS
    assert broker.world.works == 1


def test_a_partition_that_fails_is_told_of_beside_one_that_is_on_the_disk() -> None:
    broker = Broker()
    found, failed = broker.fetch(10, RECORDS + 1)
    assert first_offset(broker.world, found) == 10
    assert failed.error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_a_segment_that_goes_while_it_is_being_prepared_is_no_matter() -> None:
    broker = Broker()
    log = broker.log(0)
    wanted = FetchPartition(partition=0, fetch_offset=3, partition_max_bytes=99)
    request = FetchRequest(
        max_wait_ms=0, max_bytes=1 << 20, session_epoch=-1, topics=[FetchTopic(topic="t", partitions=[wanted])]
    )
    handler = erase(broker.fetch_api.handler())
    answer = handler.handle(broker.scene.context(handler, 12), request)
    assert is_sliced(answer)
    promise = flatten(spawn(answer))
    log.delete_oldest_segments(1)
    broker.world.run_soon()
    response = promise.result()
    assert isinstance(response, FetchResponse)
    assert response.responses[0].partitions[0].error_code == ErrorCode.OFFSET_OUT_OF_RANGE


@pytest.mark.parametrize("number", [0, 77, 300])
def test_a_search_by_timestamp_is_prepared_in_the_background(number: int) -> None:
    broker = Broker()
    assert broker.find(broker.begin_ms + 1 + number) == number
    assert broker.world.works == 1


def test_a_search_for_the_largest_timestamp_is_prepared_in_the_background() -> None:
    broker = Broker()
    assert broker.find(-3) == RECORDS - 1
    assert broker.world.works == 1


def test_ends_of_a_log_need_no_disk() -> None:
    broker = Broker()
    assert (broker.find(-2), broker.find(-1)) == (0, RECORDS)
    assert broker.world.works == 0
