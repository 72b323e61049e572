"""OffsetCommit (API 8), OffsetFetch (9), OffsetDelete (47)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
)
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchResponse,
)
from tests.support.groups import RawMember, commit, committed
from tests.support.process import wait_for
from tests.support.requests import await_coordinator, code
from tests.support.targets import Target
from tests.support.wire import Connection

NewTopic = Callable[..., str]
Unique = Callable[[str], str]


@pytest.fixture
def group(connection: Connection, unique: Unique) -> str:
    """A group id whose coordinator answers."""
    name = unique("group")
    await_coordinator(connection, name)
    return name


@pytest.mark.parametrize("version", range(2, 10))
def test_a_commit_of_a_simple_consumer_in_every_version(
    connection: Connection, new_topic: NewTopic, group: str, version: int
) -> None:
    """No member, no generation: the group holds offsets only. Metadata comes back as it was."""
    topic = new_topic()
    assert commit(connection, group, topic, 42, metadata="naïve ✓", version=version) == "NONE"
    answer = committed(connection, group, topic)
    assert (answer.committed_offset, answer.metadata, code(answer.error_code)) == (42, "naïve ✓", "NONE")


def test_null_metadata_comes_back_empty(connection: Connection, new_topic: NewTopic, group: str) -> None:
    """The stored form has no null."""
    topic = new_topic()
    commit(connection, group, topic, 1, metadata=None)
    assert committed(connection, group, topic).metadata == ""


def test_the_leader_epoch_is_kept(connection: Connection, new_topic: NewTopic, group: str) -> None:
    """KIP-320."""
    topic = new_topic()
    commit(connection, group, topic, 1, leader_epoch=3)
    assert committed(connection, group, topic).committed_leader_epoch == 3


def test_an_offset_that_was_never_committed_is_minus_1(connection: Connection, new_topic: NewTopic, group: str) -> None:
    """No error: offset -1, epoch -1, empty metadata."""
    answer = committed(connection, group, new_topic())
    assert (answer.committed_offset, answer.committed_leader_epoch, answer.metadata) == (-1, -1, "")
    assert code(answer.error_code) == "NONE"


@pytest.mark.parametrize("version", range(1, 8))
def test_old_versions_fetch_one_group(connection: Connection, new_topic: NewTopic, group: str, version: int) -> None:
    """Versions 1 to 7 of OffsetFetch; null means all topics from 2 on."""
    topic = new_topic()
    commit(connection, group, topic, 7)
    wanted = OffsetFetchRequestTopic(name=topic, partition_indexes=[0])
    answer = connection.call(OffsetFetchRequest(group_id=group, topics=[wanted]), OffsetFetchResponse, version)
    assert answer.topics[0].partitions[0].committed_offset == 7
    if version >= 2:
        everything = connection.call(OffsetFetchRequest(group_id=group, topics=None), OffsetFetchResponse, version)
        assert [entry.name for entry in everything.topics] == [topic]


def test_many_groups_are_fetched_at_once(
    connection: Connection, new_topic: NewTopic, group: str, unique: Unique
) -> None:
    """KIP-709; null topics are all topics of the group."""
    topic, other = new_topic(partitions=2), unique("other")
    commit(connection, group, topic, 5, partition=1)
    wanted = [OffsetFetchRequestGroup(group_id=name, topics=None) for name in (group, other)]
    answer = connection.call(OffsetFetchRequest(groups=wanted), OffsetFetchResponse, 8)
    found = {
        entry.group_id: [(partition.partition_index, partition.committed_offset) for partition in each.partitions]
        for entry in answer.groups
        for each in entry.topics
    }
    assert found == {group: [(1, 5)]}
    assert [code(entry.error_code) for entry in answer.groups] == ["NONE", "NONE"]


def test_metadata_has_a_largest_size(target: Target, connection: Connection, new_topic: NewTopic, group: str) -> None:
    """offset.metadata.max.bytes: OFFSET_METADATA_TOO_LARGE, and nothing is stored."""
    topic, limit = new_topic(), int(target.overrides.get("offset.metadata.max.bytes", "4096"))
    assert commit(connection, group, topic, 1, metadata="x" * (limit + 1)) == "OFFSET_METADATA_TOO_LARGE"
    assert committed(connection, group, topic).committed_offset == -1
    assert commit(connection, group, topic, 1, metadata="x" * limit) == "NONE"


def test_a_commit_for_a_missing_topic(connection: Connection, group: str, unique: Unique) -> None:
    """UNKNOWN_TOPIC_OR_PARTITION."""
    assert commit(connection, group, unique("missing"), 1) == "UNKNOWN_TOPIC_OR_PARTITION"


def test_a_stranger_cannot_commit_while_the_group_has_members(
    target: Target, connection: Connection, new_topic: NewTopic, group: str
) -> None:
    """UNKNOWN_MEMBER_ID for a simple consumer in a group that is alive."""
    topic, member = new_topic(), RawMember(target, group)
    member.join()
    member.sync({})
    assert commit(connection, group, topic, 9) == "UNKNOWN_MEMBER_ID"
    assert member.commit(topic, 3) == "NONE"
    member.close()
    assert committed(connection, group, topic).committed_offset == 3


def test_commits_during_a_rebalance(target: Target, new_topic: NewTopic, group: str) -> None:
    """Between JoinGroup and SyncGroup: REBALANCE_IN_PROGRESS."""
    topic, member = new_topic(), RawMember(target, group)
    member.join()
    assert member.commit(topic, 3) == "REBALANCE_IN_PROGRESS"
    member.close()


def delete_offset(connection: Connection, group: str, topic: str) -> str:
    wanted = OffsetDeleteRequestTopic(name=topic, partitions=[OffsetDeleteRequestPartition(partition_index=0)])
    answer = connection.call(OffsetDeleteRequest(group_id=group, topics=[wanted]), OffsetDeleteResponse)
    return code(answer.error_code or answer.topics[0].partitions[0].error_code)


def test_offsets_are_deleted(connection: Connection, new_topic: NewTopic, group: str, unique: Unique) -> None:
    """KIP-496; GROUP_ID_NOT_FOUND for a group that is not there."""
    topic = new_topic()
    commit(connection, group, topic, 4)
    assert delete_offset(connection, group, topic) == "NONE"
    assert committed(connection, group, topic).committed_offset == -1
    assert delete_offset(connection, unique("nobody"), topic) == "GROUP_ID_NOT_FOUND"


def test_offsets_of_a_subscribed_topic_are_not_deleted(
    target: Target, connection: Connection, new_topic: NewTopic, group: str
) -> None:
    """KIP-496: GROUP_SUBSCRIBED_TO_TOPIC, as far as the subscription can be read; else NON_EMPTY_GROUP."""
    topic, member = new_topic(), RawMember(target, group, protocol_type="connect")
    member.join()
    member.sync({})
    member.commit(topic, 3)
    assert delete_offset(connection, group, topic) == "NON_EMPTY_GROUP"
    member.close()


def test_offsets_survive_the_members(target: Target, connection: Connection, new_topic: NewTopic, group: str) -> None:
    """An empty group keeps its offsets, and its next generation starts from them."""
    topic, member = new_topic(), RawMember(target, group)
    member.join()
    member.sync({})
    member.commit(topic, 11)
    assert member.leave() == "NONE"
    member.close()
    assert committed(connection, group, topic).committed_offset == 11


def test_a_deleted_topic_takes_its_offsets_along(connection: Connection, new_topic: NewTopic, group: str) -> None:
    """The coordinator drops the offsets of a topic that is deleted."""
    topic = new_topic()
    commit(connection, group, topic, 11)
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name=topic)], timeout_ms=10_000)
    assert code(connection.call(request, DeleteTopicsResponse).responses[0].error_code) == "NONE"
    wait_for(lambda: committed(connection, group, topic).committed_offset == -1, "the offsets are gone")
