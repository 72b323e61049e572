"""The short way through Fetch answers what the long way does, byte for byte."""

from __future__ import annotations

import struct

import pytest

from odradek.broker.fetch.session import size_of
from odradek.storage.log_results import AppendOrigin
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.messages.fetch import FetchResponse, ForgottenTopic, ReplicaState
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from tests.unit.broker.api.fetch_pair import Pair, Wanted, decoded
from tests.unit.broker.scene import batch_of
from tests.unit.storage.support import marker

VERSIONS = tuple(range(11, 19))


@pytest.mark.parametrize("isolation_level", [0, 1])
@pytest.mark.parametrize("version", VERSIONS)
def test_one_partition_is_read_to_its_end(version: int, isolation_level: int) -> None:
    pair = Pair(version, isolation_level)
    pair.begin(("t", 0, 0))
    for offset in range(5):
        pair.fetch(("t", 0, offset), partition_max_bytes=100)
    pair.fetch(("t", 0, 5))
    assert pair.short_answers == [True] * 6


@pytest.mark.parametrize("version", VERSIONS)
def test_several_partitions_take_turns(version: int) -> None:
    pair = Pair(version)
    pair.begin(("t", 2, 0), ("t", 0, 0), ("u", 0, 0), ("t", 1, 0))
    seen = []
    for _ in range(9):
        answer = decoded(pair.fetch(max_bytes=300, partition_max_bytes=1 << 20), version)
        seen.append(
            [
                (topic.topic_id or topic.topic, part.partition_index)
                for topic in answer.responses
                for part in topic.partitions
            ]
        )
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


@pytest.mark.parametrize(("count", "is_short"), [(1000, True), (1001, False)])
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
        ([("t", 0, 0)], {"of_partition": {"last_fetched_epoch": 1}}),
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


def test_a_topic_that_comes_again_is_read_by_its_name() -> None:
    pair = Pair(12)
    pair.begin(("u", 0, 0))
    pair.fetch(("u", 0, 0))
    for broker in (pair.short, pair.long):
        broker.scene.delete_topic(broker.ids["u"])
        broker.scene.create_topic("u")
        broker.scene.append("u", b"again")
    sizes = [size_of(decoded(pair.fetch(("u", 0, 0)), 12).responses[0].partitions[0]) for _ in range(2)]
    assert sizes == [len(batch_of(b"again"))] * 2
    assert pair.short_answers == [True, False, True]


def test_aborted_transactions_are_listed() -> None:
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
    assert pair.short_answers == [True, True, True]


def test_open_transactions_end_what_readers_of_committed_records_get() -> None:
    pair = Pair(isolation_level=1)
    for broker in (pair.short, pair.long):
        transactional = batch_of(b"x", producer_id=5, producer_epoch=0, base_sequence=0, is_transactional=True)
        partition = broker.scene.replicas.partition(TopicPartition("t", 0))
        broker.scene.replicas.append(partition, memoryview(bytearray(transactional)), all_replicas=True)
    pair.begin(("t", 0, 0))
    pair.fetch(("t", 0, 4))
    pair.fetch(("t", 0, 5))
    assert pair.short_answers == [True, True]


@pytest.mark.parametrize(
    "topics",
    [
        struct.pack(">i", -1),
        struct.pack(">ihi", 1, -1, 0),
        struct.pack(">ihi", 1, 0, 0),
        struct.pack(">ih1si", 1, 1, b"t", -1),
        struct.pack(">ih1si", 1, 1, b"t", 0),
        struct.pack(">ih1si", 1, 1, b"\xff", 0),
    ],
)
def test_lists_and_names_that_are_missing_are_answered_alike(topics: bytes) -> None:
    pair = Pair(11)
    pair.begin(("t", 0, 0))
    whole = pair.request([])
    begins = len(whole) - 10
    assert whole[begins:] == bytes(10)
    request = whole[:begins] + topics + bytes(6)
    assert pair.short.send(request) == pair.long.send(request)
    assert not pair.short.holds_ranges()


@pytest.mark.parametrize("version", [12, 18])
def test_a_request_that_is_cut_or_changed_anywhere_is_answered_alike(version: int) -> None:
    pair = Pair(version)
    pair.begin(("t", 0, 0), ("u", 0, 0))
    whole = pair.request([("t", 0, 0), ("u", 0, 0)])
    for end in range(8, len(whole)):
        assert pair.short.send(whole[:end]) == pair.long.send(whole[:end])
    assert not any(pair.short_answers)
    for at in range(14, len(whole)):
        for bit in (1, 0x80):
            changed = bytearray(whole)
            changed[at] ^= bit
            fresh = Pair(version)
            fresh.begin(("t", 0, 0), ("u", 0, 0))
            assert fresh.short.send(bytes(changed)) == fresh.long.send(bytes(changed)), at
            assert not fresh.short.holds_ranges()
