"""The short way through Fetch answers what the long way does, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from odradek.broker.api.fetch import FetchApi, FetchLimits
from odradek.broker.fetch.session import SessionCache, size_of
from odradek.ports import Promise, Turns
from odradek.ports.network import Outcome, Reply
from odradek.security.acl import AllowAll
from odradek.server.dispatcher import Dispatcher
from odradek.server.handlers import erase
from odradek.server.lane import Lane
from odradek.storage.log_results import AppendOrigin
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.messages.fetch import (
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    ForgottenTopic,
    ReplicaState,
)
from odradek.wire.messages.headers import RequestHeader
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from tests.unit.broker.scene import CONNECTION, Scene, batch_of
from tests.unit.storage.support import marker

VERSIONS = (15, 16, 17, 18)
Wanted = tuple[str, int, int]
"""Topic, partition and offset."""


class Broker:
    """Topics `t` with three partitions and `u` with one, each of which has five batches of one record."""

    def __init__(self, *, takes_the_short_way: bool, max_bytes: int = 1 << 20) -> None:
        self.scene = scene = Scene()
        self.ids = {name: scene.create_topic(name, partitions=count) for name, count in (("t", 3), ("u", 1))}
        self.ids["new"] = scene.create_topic("new")
        for name, partition in (("t", 0), ("t", 1), ("t", 2), ("u", 0)):
            for number in range(5):
                scene.append(name, b"%d" % number * 50, partition=partition)
        sessions = SessionCache(scene.world, scene.world, slots=10, eviction_ms=120_000)
        handler = FetchApi(scene.replicas, sessions, FetchLimits(max_bytes)).handler()
        plain = handler.plain
        assert plain is not None
        self.short_answers: list[bool] = []

        def counted(version: int, correlation_id: int, frame: memoryview, body_at: int) -> Reply | None:
            answer = plain(version, correlation_id, frame, body_at)
            self.short_answers.append(answer is not None)
            return answer

        handler = replace(handler, plain=counted if takes_the_short_way else None)
        self._dispatcher = Dispatcher([erase(handler)], AllowAll(), Turns(scene.world, scene.world), Lane())

    def send(self, frame: bytes) -> bytes | Outcome:
        reply = self._dispatcher.handle(CONNECTION, memoryview(bytearray(frame)))
        settled = reply.result() if isinstance(reply, Promise) else reply
        return settled if isinstance(settled, Outcome) else b"".join(map(_taken, settled))

    def holds_ranges(self) -> bool:
        logs = [partition.local_log() for partition in self.scene.replicas.partitions.values()]
        return any(segment.log.is_busy() for log in logs for segment in log.segments)


def _taken(chunk: object) -> bytes:
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    data = chunk.read(0, chunk.size)  # type: ignore[attr-defined] # a FileRange
    chunk.release()  # type: ignore[attr-defined] # likewise
    return bytes(data)


class Pair:
    """The same broker twice, asked the short and the long way."""

    def __init__(self, version: int = 17, isolation_level: int = 0, max_bytes: int = 1 << 20) -> None:
        """`max_bytes`: what the broker sends at most, whatever is asked for."""
        self.short = Broker(takes_the_short_way=True, max_bytes=max_bytes)
        self.long = Broker(takes_the_short_way=False, max_bytes=max_bytes)
        self.version = version
        self.isolation_level = isolation_level
        self.session_id = 0
        self.epoch = 0

    def begin(self, *wanted: Wanted) -> None:
        """A session of these partitions; nothing is read yet."""
        answer = self.fetch(*wanted, max_bytes=0, partition_max_bytes=0, is_whole=False)
        self.session_id = FetchResponse.decode(answer[5:], self.version).session_id
        assert self.session_id
        self.epoch = 1
        for broker in (self.short, self.long):
            broker.short_answers.clear()

    def fetch(
        self, *wanted: Wanted, max_bytes: int = 1 << 20, partition_max_bytes: int = 1 << 20, is_whole: bool = True,
        **fields: object,
    ) -> bytes:  # fmt: skip
        """Ask both, see that they answer the same, and come to the session's next epoch; the answer."""
        request = self.request(wanted, max_bytes, partition_max_bytes, fields)
        answer = self.both(request)
        self.epoch += is_whole
        return answer

    def request(
        self, wanted: Sequence[Wanted], max_bytes: int = 1 << 20, partition_max_bytes: int = 1 << 20,
        fields: dict[str, object] | None = None, of_partition: dict[str, int] | None = None,
    ) -> bytes:  # fmt: skip
        topics: list[FetchTopic] = []
        for name, index, offset in wanted:
            partition = FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=partition_max_bytes)
            for field, value in (of_partition or {}).items():
                setattr(partition, field, value)
            topic_id = self.short.ids.get(name, b"?" * 16)
            if topics and topics[-1].topic_id == topic_id:
                topics[-1].partitions.append(partition)
            else:
                topics.append(FetchTopic(topic_id=topic_id, partitions=[partition]))
        named: dict[str, object] = {
            "max_wait_ms": 0, "min_bytes": 1, "session_id": self.session_id, "session_epoch": self.epoch,
            "isolation_level": self.isolation_level, **(fields or {}),
        }  # fmt: skip
        request = FetchRequest(max_bytes=max_bytes, topics=topics, **named)  # type: ignore[arg-type] # what the case needs
        header = RequestHeader(request_api_key=1, request_api_version=self.version, correlation_id=7, client_id="me")
        return header.encode(2) + request.encode(self.version)

    def both(self, frame: bytes) -> bytes:
        mine, theirs = self.short.send(frame), self.long.send(frame)
        assert mine == theirs
        assert isinstance(mine, bytes)
        assert not self.short.holds_ranges()
        return mine

    def change(self, *records: object) -> None:
        for broker in (self.short, self.long):
            broker.scene.apply(*records)  # type: ignore[arg-type] # messages

    @property
    def short_answers(self) -> list[bool]:
        return self.short.short_answers


@pytest.mark.parametrize("isolation_level", [0, 1])
@pytest.mark.parametrize("version", VERSIONS)
def test_one_partition_is_read_to_its_end(version: int, isolation_level: int) -> None:
    pair = Pair(version, isolation_level)
    pair.begin(("t", 0, 0))
    for offset in range(5):
        pair.fetch(("t", 0, offset), partition_max_bytes=100)
    pair.fetch(("t", 0, 5))
    assert pair.short_answers == [True] * 5 + [False]


@pytest.mark.parametrize("version", VERSIONS)
def test_several_partitions_take_turns(version: int) -> None:
    pair = Pair(version)
    pair.begin(("t", 2, 0), ("t", 0, 0), ("u", 0, 0), ("t", 1, 0))
    seen = []
    for _ in range(9):
        answer = FetchResponse.decode(pair.fetch(max_bytes=300, partition_max_bytes=1 << 20)[5:], version)
        seen.append([(topic.topic_id, part.partition_index) for topic in answer.responses for part in topic.partitions])
    assert len({tuple(each) for each in seen}) > 2
    assert all(pair.short_answers)


def test_partitions_without_news_are_left_out_and_others_told() -> None:
    pair = Pair()
    pair.begin(("t", 0, 0), ("t", 1, 5), ("u", 0, 5))
    pair.fetch(("t", 0, 4))
    for broker in (pair.short, pair.long):
        broker.scene.append("t", b"later", partition=1)
    pair.fetch(("t", 0, 3), ("t", 1, 6))
    for broker in (pair.short, pair.long):
        log = broker.scene.replicas.partition(TopicPartition("u", 0)).local_log()
        log.delete_records_before(3)
    told = FetchResponse.decode(pair.fetch(("t", 0, 3))[5:], 17)
    assert [topic.topic_id for topic in told.responses] == [pair.short.ids["u"], pair.short.ids["t"]]
    again = FetchResponse.decode(pair.fetch(("t", 0, 3))[5:], 17)
    assert [topic.topic_id for topic in again.responses] == [pair.short.ids["t"]]
    assert pair.short_answers == [True, True, True, True]


@pytest.mark.parametrize("isolation_level", [0, 1])
@pytest.mark.parametrize("max_bytes", [0, 1, 130, 260, 1 << 20])
@pytest.mark.parametrize("partition_max_bytes", [0, 1, 130, 260, 1 << 20])
def test_the_limits_of_a_response(max_bytes: int, partition_max_bytes: int, isolation_level: int) -> None:
    pair = Pair(isolation_level=isolation_level)
    pair.begin(("t", 0, 0), ("t", 1, 2), ("u", 0, 4))
    for number in range(4):
        for broker in (pair.short, pair.long):
            broker.scene.append("t", b"news %d" % number, partition=1)
        pair.fetch(("t", 0, 0), ("t", 1, 2), ("u", 0, 4), max_bytes=max_bytes, partition_max_bytes=partition_max_bytes)


def test_the_limit_of_the_broker() -> None:
    pair = Pair(max_bytes=260)
    pair.begin(("t", 0, 0), ("t", 1, 0))
    answer = FetchResponse.decode(pair.fetch(("t", 0, 0), ("t", 1, 0))[5:], 17)
    sizes = [size_of(part) for topic in answer.responses for part in topic.partitions]
    assert 0 < sum(sizes) <= 260
    assert pair.short_answers == [True]


@pytest.mark.parametrize(("count", "is_short"), [(100, True), (101, False)])
def test_sessions_of_many_partitions_are_read_the_long_way(count: int, is_short: bool) -> None:
    pair = Pair()
    for broker in (pair.short, pair.long):
        broker.ids["many"] = broker.scene.create_topic("many", partitions=count)
        broker.scene.append("many", b"x", partition=7)
    pair.begin(*(("many", index, 0) for index in range(count)))
    pair.fetch(("many", 7, 0))
    assert pair.short_answers == [is_short]


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        ([("t", 0, 0)], {"min_bytes": 2}),
        ([("t", 0, 0)], {"rack_id": "r"}),
        ([("t", 0, 0)], {"forgotten": True}),
        ([("t", 0, 0)], {"replica_state": ReplicaState(replica_id=2, replica_epoch=1)}),
        ([("t", 0, 0)], {"session_epoch": 7}),
        ([("t", 0, 0)], {"session_id": 12345}),
        ([("t", 0, 0)], {"session_epoch": -1}),
        ([("t", 0, 0)], {"session_epoch": 0}),
        ([("new", 0, 0), ("t", 0, 0)], {}),
        ([("nobody's", 0, 0), ("t", 0, 0)], {}),
        ([("t", 0, 9)], {}),
        ([("t", 0, -5)], {}),
        ([("t", 0, 0)], {"of_partition": {"current_leader_epoch": 1}}),
        ([("t", 0, 0)], {"of_partition": {"current_leader_epoch": -2}}),
        ([("t", 0, 0)], {"of_partition": {"last_fetched_epoch": 0}}),
        ([("t", 0, 0)], {"of_partition": {"high_watermark": 3}}),
    ],
)
def test_what_is_unusual_goes_the_long_way(wanted: list[Wanted], fields: dict[str, object]) -> None:
    pair = Pair(18)
    pair.begin(("t", 0, 0), ("u", 0, 0))
    of_partition = fields.pop("of_partition", None)
    if fields.pop("forgotten", False):
        fields["forgotten_topics_data"] = [ForgottenTopic(topic_id=pair.short.ids["u"], partitions=[0])]
    pair.both(pair.request(wanted, fields=fields, of_partition=of_partition))  # type: ignore[arg-type] # as above
    assert pair.short_answers == [False]
    pair.both(pair.request([("t", 0, 0)], fields={"session_epoch": 2}))


def test_a_partition_that_joins_the_session_is_read_the_short_way_next_time() -> None:
    pair = Pair()
    pair.begin(("t", 0, 0))
    pair.fetch(("u", 0, 0))
    pair.fetch(("u", 0, 1))
    assert pair.short_answers == [False, True]


def test_leaders_that_change_and_topics_that_go() -> None:
    pair = Pair()
    pair.begin(("t", 0, 0), ("u", 0, 0))
    pair.fetch(("t", 0, 1))
    pair.change(PartitionChangeRecord(topic_id=pair.short.ids["t"], partition_id=0, leader=2, isr=[2], replicas=[1, 2]))
    pair.fetch(("t", 0, 2))
    pair.change(PartitionChangeRecord(topic_id=pair.short.ids["t"], partition_id=0, leader=1, isr=[1], replicas=[1]))
    pair.fetch(("t", 0, 2))
    for broker in (pair.short, pair.long):
        broker.scene.delete_topic(pair.short.ids["u"])
    pair.fetch(("t", 0, 3))
    assert pair.short_answers == [True, False, True, False]


def test_aborted_transactions_are_listed_the_long_way() -> None:
    pair = Pair(isolation_level=1)
    for broker in (pair.short, pair.long):
        partition = broker.scene.replicas.partition(TopicPartition("t", 0))
        transactional = batch_of(b"x", producer_id=5, producer_epoch=0, base_sequence=0, is_transactional=True)
        broker.scene.replicas.append(partition, memoryview(bytearray(transactional)), all_replicas=True)
        aborted = memoryview(bytearray(marker(5, 0, commit=False)))
        broker.scene.replicas.append(partition, aborted, all_replicas=True, origin=AppendOrigin.COORDINATOR)
    pair.begin(("t", 0, 0), ("u", 0, 0))
    pair.fetch(("t", 0, 0), partition_max_bytes=130)
    pair.fetch(("t", 0, 5))
    pair.fetch(("u", 0, 4), ("t", 0, 7))
    assert pair.short_answers == [False, False, True]


def test_open_transactions_end_what_readers_of_committed_records_get() -> None:
    pair = Pair(isolation_level=1)
    for broker in (pair.short, pair.long):
        transactional = batch_of(b"x", producer_id=5, producer_epoch=0, base_sequence=0, is_transactional=True)
        partition = broker.scene.replicas.partition(TopicPartition("t", 0))
        broker.scene.replicas.append(partition, memoryview(bytearray(transactional)), all_replicas=True)
    pair.begin(("t", 0, 0))
    pair.fetch(("t", 0, 4))
    pair.fetch(("t", 0, 5))
    assert pair.short_answers == [True, False]


def test_a_request_that_is_cut_or_changed_anywhere_is_answered_alike() -> None:
    pair = Pair(18)
    pair.begin(("t", 0, 0), ("u", 0, 0))
    whole = pair.request([("t", 0, 0), ("u", 0, 0)])
    for end in range(8, len(whole)):
        assert pair.short.send(whole[:end]) == pair.long.send(whole[:end])
    assert not any(pair.short_answers)
    for at in range(14, len(whole)):
        for bit in (1, 0x80):
            changed = bytearray(whole)
            changed[at] ^= bit
            fresh = Pair(18)
            fresh.begin(("t", 0, 0), ("u", 0, 0))
            assert fresh.short.send(bytes(changed)) == fresh.long.send(bytes(changed)), at
            assert not fresh.short.holds_ranges()
