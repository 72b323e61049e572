"""AddOffsetsToTxn (API 25), TxnOffsetCommit (28), and what OffsetFetch makes of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
)
from odradek.wire.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse,
)
from tests.support.consumer_groups import RawConsumer
from tests.support.groups import RawMember, commit, committed
from tests.support.requests import await_coordinator as await_group_coordinator
from tests.support.requests import code, metadata
from tests.support.targets import Target
from tests.support.transactions import RawTransactions, await_coordinator, describe, eventually
from tests.support.wire import Connection

NewTopic = Callable[..., str]
Unique = Callable[[str], str]


@pytest.fixture
def group(connection: Connection, unique: Unique) -> str:
    """A group id whose coordinator answers."""
    name = unique("group")
    await_group_coordinator(connection, name)
    return name


@pytest.fixture(params=[False, True], ids=["v1", "v2"])
def producer(request: pytest.FixtureRequest, connection: Connection, unique: Unique) -> RawTransactions:
    """A producer that has its id, in each protocol."""
    made = RawTransactions(connection, unique("tx"), is_v2=request.param)
    await_coordinator(connection, made.transactional_id)
    made.init()
    return made


def take(producer: RawTransactions, group: str, topic: str, offset: int) -> None:
    """Commit an offset in the producer's transaction."""
    if not producer.is_v2:
        assert eventually(lambda: producer.add_offsets(group), str) == "NONE"
    taken = eventually(lambda: producer.commit_offset(group, topic, offset, metadata="m"), str)
    assert taken == "NONE"


def stable(connection: Connection, group: str, topic: str) -> tuple[str, int]:
    """OffsetFetch with `require_stable`: error and offset of partition 0."""
    wanted = OffsetFetchRequestTopics(name=topic, partition_indexes=[0])
    request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=group, topics=[wanted])], require_stable=True)
    answer = connection.call(request, OffsetFetchResponse, 9).groups[0].topics[0].partitions[0]
    return code(answer.error_code), answer.committed_offset


@pytest.mark.parametrize("is_commit", [True, False])
def test_offsets_count_as_the_transaction_ends(
    connection: Connection, new_topic: NewTopic, group: str, producer: RawTransactions, is_commit: bool
) -> None:
    """Meanwhile who wants stable offsets is told to wait (KIP-447)."""
    topic = new_topic()
    assert commit(connection, group, topic, 3) == "NONE"
    take(producer, group, topic, 7)
    assert committed(connection, group, topic).committed_offset == 3
    assert stable(connection, group, topic) == ("UNSTABLE_OFFSET_COMMIT", -1)
    producer.finish(commit=is_commit)
    answer = committed(connection, group, topic)
    assert (answer.committed_offset, answer.metadata) == ((7, "m") if is_commit else (3, ""))
    assert stable(connection, group, topic) == ("NONE", 7 if is_commit else 3)


def test_the_groups_partition_is_part_of_the_transaction(
    connection: Connection, new_topic: NewTopic, group: str, producer: RawTransactions
) -> None:
    topic = new_topic()
    take(producer, group, topic, 1)
    state = describe(connection, producer.transactional_id)
    assert [(entry.topic, len(entry.partitions)) for entry in state.topics] == [("__consumer_offsets", 1)]
    producer.write(topic, b"x")
    assert {entry.topic for entry in describe(connection, producer.transactional_id).topics} == {
        "__consumer_offsets",
        topic,
    }
    producer.finish(commit=True)
    assert committed(connection, group, topic).committed_offset == 1


@pytest.mark.parametrize("version", range(6))
def test_a_commit_in_every_version(
    connection: Connection, new_topic: NewTopic, group: str, unique: Unique, version: int
) -> None:
    """From version 5 on the broker adds the group's partition itself; before, it has to be added."""
    topic = new_topic()
    producer = RawTransactions(connection, unique("tx"), is_v2=version >= 5)
    await_coordinator(connection, producer.transactional_id)
    producer.init()
    early = producer.commit_offset(group, topic, 1, version=version)
    assert early == {4: "TRANSACTION_ABORTABLE", 5: "NONE"}.get(version, "INVALID_TXN_STATE")
    if version < 5:
        assert producer.add_offsets(group) == "NONE"
    assert producer.commit_offset(group, topic, 5, version=version) == "NONE"
    producer.finish(commit=True)
    assert committed(connection, group, topic).committed_offset == 5


def test_topics_by_their_ids(connection: Connection, new_topic: NewTopic, group: str, unique: Unique) -> None:
    """Version 6 (KIP-848)."""
    topic = new_topic()
    producer = RawTransactions(connection, unique("tx"), is_v2=True)
    await_coordinator(connection, producer.transactional_id)
    producer.init()
    entries = [
        TxnOffsetCommitRequestPartition(partition_index=index, committed_offset=9, committed_metadata="")
        for index in (0, 5)
    ]
    topic_id = metadata(connection, topic).topic_id
    request = TxnOffsetCommitRequest(
        transactional_id=producer.transactional_id,
        group_id=group,
        producer_id=producer.producer[0],
        producer_epoch=producer.producer[1],
        topics=[
            TxnOffsetCommitRequestTopic(topic_id=topic_id, partitions=entries),
            TxnOffsetCommitRequestTopic(topic_id=bytes(15) + b"?", partitions=entries[:1]),
        ],
    )
    answer = connection.call(request, TxnOffsetCommitResponse, 6)
    told = {
        (topic.topic_id, partition.partition_index): code(partition.error_code)
        for topic in answer.topics
        for partition in topic.partitions
    }
    assert told == {
        (topic_id, 0): "NONE",
        (topic_id, 5): "UNKNOWN_TOPIC_OR_PARTITION",
        (bytes(15) + b"?", 0): "UNKNOWN_TOPIC_ID",
    }
    producer.finish(commit=True)
    assert committed(connection, group, topic).committed_offset == 9


def test_commits_that_are_refused(
    connection: Connection, new_topic: NewTopic, group: str, producer: RawTransactions
) -> None:
    topic = new_topic()
    producer_id, epoch = producer.producer
    if not producer.is_v2:
        assert producer.add_offsets(group) == "NONE"
    assert producer.commit_offset(group, topic, 1, generation=4) == "ILLEGAL_GENERATION"
    assert producer.commit_offset(group, "no-such-topic", 1) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert producer.commit_offset(group, topic, 1, partition=9) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert producer.commit_offset("", topic, 1) == "INVALID_GROUP_ID"
    assert producer.commit_offset(group, topic, 1, metadata="x" * 5000) == "OFFSET_METADATA_TOO_LARGE"
    fenced = (producer_id, epoch + 5)
    assert producer.commit_offset(group, topic, 1, producer=fenced) == "INVALID_PRODUCER_EPOCH"
    stranger = (producer_id + 12345, 0)
    assert producer.commit_offset(group, topic, 1, producer=stranger) == "INVALID_PRODUCER_ID_MAPPING"
    nobody = (-1, -1)
    assert producer.commit_offset(group, topic, 1, producer=nobody) == "INVALID_PRODUCER_ID_MAPPING"
    producer.end(commit=False)
    assert committed(connection, group, topic).committed_offset == -1


def test_the_member_that_read_must_still_be_in_the_group(
    target: Target, connection: Connection, new_topic: NewTopic, group: str, producer: RawTransactions
) -> None:
    """KIP-447: a generation that is over fences the producer's offsets."""
    topic = new_topic()
    member = RawMember(target, group)
    try:
        member.join()
        if not producer.is_v2:
            assert producer.add_offsets(group) == "NONE"
        who = {"member_id": member.member_id, "generation": member.generation}
        # Unlike other commits, a producer's need not wait for the assignment.
        assert producer.commit_offset(group, topic, 3, **who) == "NONE"  # type: ignore[arg-type] # of both types
        member.sync({member.member_id: b""})
        assert producer.commit_offset(group, topic, 4, **who) == "NONE"  # type: ignore[arg-type] # of both types
        old = {**who, "generation": member.generation - 1}
        assert producer.commit_offset(group, topic, 5, **old) == "ILLEGAL_GENERATION"  # type: ignore[arg-type] # likewise
        other = {**who, "member_id": "somebody-else"}
        assert producer.commit_offset(group, topic, 5, **other) == "UNKNOWN_MEMBER_ID"  # type: ignore[arg-type] # likewise
        # A producer of before KIP-447 does not know of members.
        assert producer.commit_offset(group, topic, 6) == "NONE"
        producer.finish(commit=True)
        assert committed(connection, group, topic).committed_offset == 6
    finally:
        member.close()


def test_a_member_of_a_consumer_group_has_an_epoch(
    connection: Connection, new_topic: NewTopic, group: str, producer: RawTransactions
) -> None:
    """KIP-848: one that is over fences the producer's offsets, in an error that versions before 6 do not know."""
    topic = new_topic()
    member = RawConsumer(connection, group, topic)
    member.join()
    member.settle()
    if not producer.is_v2:
        assert producer.add_offsets(group) == "NONE"

    def take(offset: int, epoch: int, member_id: str = member.member_id) -> str:
        return producer.commit_offset(group, topic, offset, member_id=member_id, generation=epoch)

    assert take(4, member.epoch) == "NONE"
    assert take(5, member.epoch - 1) == "ILLEGAL_GENERATION"
    assert take(5, member.epoch + 1) == "ILLEGAL_GENERATION"
    assert take(5, member.epoch, "somebody-else") == "UNKNOWN_MEMBER_ID"
    producer.finish(commit=True)
    assert committed(connection, group, topic).committed_offset == 4


def test_a_later_commit_outside_of_the_transaction_wins(
    connection: Connection, new_topic: NewTopic, group: str, producer: RawTransactions
) -> None:
    topic = new_topic()
    take(producer, group, topic, 7)
    assert commit(connection, group, topic, 9) == "NONE"
    producer.finish(commit=True)
    assert committed(connection, group, topic).committed_offset == 9
