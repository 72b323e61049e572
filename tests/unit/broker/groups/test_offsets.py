"""Committed offsets: who may commit, what is read, and when offsets go."""

from __future__ import annotations

import pytest

from odradek.broker.groups.options import GROUP_METADATA_TOPIC, GroupOptions
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from odradek.wire.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from odradek.wire.persistent.group.group_metadata import GroupMetadataKey
from odradek.wire.persistent.group.offset_commit import OffsetCommitKey
from tests.unit.broker.coordinator.fake_log import DISK_BROKEN, NO_LEADER
from tests.unit.broker.groups.scene import GROUP, SESSION_MS, SHARD, TOPIC, TOPIC_ID, Groups

OTHER_ID = b"another topic id"
MINUTE_MS = 60_000
RETENTION = GroupOptions(offsets_retention_ms=60 * MINUTE_MS, offsets_retention_check_interval_ms=MINUTE_MS)


def delete(groups: Groups, *partitions: int, group: str = GROUP, topic: str = TOPIC) -> list[ErrorCode]:
    """Send an OffsetDelete; the error of the group, or one for each partition."""
    entries = [OffsetDeleteRequestPartition(partition_index=index) for index in partitions]
    request = OffsetDeleteRequest(group_id=group, topics=[OffsetDeleteRequestTopic(name=topic, partitions=entries)])
    response = groups.answer(groups.coordinator.delete_offsets(request))
    if response.error_code:
        return [ErrorCode(response.error_code)]
    return [ErrorCode(partition.error_code) for partition in response.topics[0].partitions]


def test_what_was_committed_is_fetched_with_its_metadata() -> None:
    groups = Groups()
    assert groups.commit(42, metadata="möglich 🙂") == ErrorCode.NONE
    found, missing = groups.fetch(0, 7)
    assert (found.committed_offset, found.metadata, found.committed_leader_epoch) == (42, "möglich 🙂", -1)
    assert (missing.committed_offset, missing.metadata, missing.error_code) == (-1, "", ErrorCode.NONE)


def test_no_metadata_reads_as_empty() -> None:
    groups = Groups()
    groups.commit(1, metadata=None)
    assert groups.fetch(0)[0].metadata == ""


def test_a_commit_without_generation_makes_a_simple_group() -> None:
    groups = Groups()
    groups.commit(1)
    described = groups.describe()
    assert (described.group_state, described.protocol_type) == ("Empty", "")
    assert groups.listed() == [GROUP]


def test_commits_to_groups_that_do_not_exist() -> None:
    groups = Groups()
    assert groups.commit(1, generation=1, member_id="m", version=9) == ErrorCode.GROUP_ID_NOT_FOUND
    assert groups.commit(1, generation=1, member_id="m", version=8) == ErrorCode.ILLEGAL_GENERATION
    assert groups.listed() == []


def test_only_members_of_the_generation_commit_to_a_live_group() -> None:
    groups = Groups()
    (member,) = groups.stable()
    assert groups.commit(1) == ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.commit(1, member_id="stranger", generation=1) == ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.commit(1, member_id=member, generation=2) == ErrorCode.ILLEGAL_GENERATION
    assert groups.commit(1, member_id=member, generation=1) == ErrorCode.NONE
    assert groups.offset() == 1


def test_no_commits_while_the_assignment_is_open() -> None:
    groups = Groups()
    (answer,) = groups.form(1)
    assert groups.commit(1, member_id=answer.member_id, generation=1) == ErrorCode.REBALANCE_IN_PROGRESS


def test_members_may_commit_while_the_next_generation_forms() -> None:
    groups = Groups()
    (member,) = groups.stable()
    groups.join(groups.new_id())
    assert groups.commit(5, member_id=member, generation=1) == ErrorCode.NONE


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ("x" * 4096, ErrorCode.NONE),
        ("x" * 4097, ErrorCode.OFFSET_METADATA_TOO_LARGE),
        ("🙂" * 2048, ErrorCode.NONE),
        ("🙂" * 2049, ErrorCode.OFFSET_METADATA_TOO_LARGE),
    ],
)
def test_metadata_is_limited_in_java_characters(metadata: str, code: ErrorCode) -> None:
    assert Groups().commit(1, metadata=metadata) == code


def test_a_commit_is_answered_and_visible_once_it_is_committed_to_the_log() -> None:
    groups = Groups()
    groups.commit(1)
    groups.log.commits_at_once = False
    parked = groups.send_commit(2)
    groups.world.run_soon()
    assert not parked.done
    assert groups.offset() == 1
    assert groups.offsets() == {(TOPIC, 0): 1}
    groups.log.commit(SHARD)
    assert groups.answer(parked) == ErrorCode.NONE
    assert groups.offset() == 2


def test_a_new_group_is_seen_once_it_is_committed_to_the_log() -> None:
    groups = Groups()
    groups.log.commits_at_once = False
    groups.send_commit(2)
    assert groups.listed() == []
    assert groups.describe().error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert groups.offset() == -1
    groups.log.commit(SHARD)
    assert groups.listed() == [GROUP]


def test_a_commit_that_is_not_replicated_in_time_fails_and_may_still_count() -> None:
    groups = Groups()
    groups.log.commits_at_once = False
    parked = groups.send_commit(2)
    groups.world.advance(groups.options.commit_timeout_ms)
    assert groups.answer(parked) == ErrorCode.COORDINATOR_NOT_AVAILABLE
    groups.log.commit(SHARD)
    assert groups.offset() == 2


@pytest.mark.parametrize("error", [NO_LEADER, DISK_BROKEN])
def test_a_commit_that_is_not_written_leaves_the_old_offset(error: Exception) -> None:
    groups = Groups()
    groups.commit(1)
    groups.log.append_error = error
    assert groups.commit(2) == ErrorCode.NOT_COORDINATOR
    groups.world.run_soon()
    groups.log.append_error = None
    assert groups.offset() == 1
    assert groups.commit(3) == ErrorCode.NONE


def test_a_stable_read_waits_for_what_was_written_before_it() -> None:
    groups = Groups()
    groups.log.commits_at_once = False
    groups.send_commit(2)
    groups.world.run_soon()
    assert groups.fetch(0)[0].committed_offset == -1
    groups.log.commit(SHARD)
    assert groups.fetch(0, stable=True)[0].committed_offset == 2


def test_offsets_of_an_earlier_topic_of_that_name_are_not_its_own() -> None:
    groups = Groups()
    groups.commit(9, topic_id=OTHER_ID)
    assert groups.fetch(0, topic_id=TOPIC_ID)[0].committed_offset == -1
    assert groups.fetch(0, topic_id=OTHER_ID)[0].committed_offset == 9
    assert groups.fetch(0)[0].committed_offset == 9


def test_a_deleted_topic_takes_its_offsets_along() -> None:
    groups = Groups()
    groups.commit(1, topic_id=TOPIC_ID)
    groups.commit(2, partition=1, topic_id=OTHER_ID)
    groups.commit(3, topic="payments")
    groups.coordinator.topics_deleted({TOPIC: TOPIC_ID})
    assert groups.offsets() == {(TOPIC, 1): 2, ("payments", 0): 3}
    groups.restart()
    assert groups.offsets() == {(TOPIC, 1): 2, ("payments", 0): 3}


def test_many_tombstones_are_split_over_batches() -> None:
    groups = Groups()
    for partition in range(50):
        groups.commit(1, partition=partition)
    before = len(groups.log.batches[SHARD])
    groups.log.largest_batch_bytes = 500
    groups.coordinator.topics_deleted({TOPIC: TOPIC_ID})
    assert groups.offsets() == {}
    written = groups.log.batches[SHARD][before:]
    assert len(written) > 3
    assert all(len(batch) <= 500 for batch in written)


def test_offsets_of_deleted_topics_go_in_one_shard_after_the_other() -> None:
    groups = Groups(GroupOptions(), partitions=2)
    names = [next(name for name in map(str, range(9)) if groups.coordinator.partition_for(name) == n) for n in (0, 1)]
    for name in names:
        groups.commit(1, group=name)
    first, second = (TopicPartition(GROUP_METADATA_TOPIC, number) for number in (0, 1))
    ends = [groups.log.end(first), groups.log.end(second)]
    groups.log.commits_at_once = False
    groups.coordinator.topics_deleted({TOPIC: TOPIC_ID})
    groups.world.run_soon()
    assert [groups.log.end(first), groups.log.end(second)] == [ends[0] + 1, ends[1]]
    groups.log.commit(first)
    groups.world.run_soon()
    groups.log.commit(second)
    assert [groups.offsets(name) for name in names] == [{}, {}]


def test_a_commit_of_thousands_gives_way_and_is_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = Groups()
    monkeypatch.setattr(groups.world, "monotonic_ms", iter(range(1_000_000)).__next__)  # a look takes a millisecond
    wanted = [OffsetCommitRequestPartition(partition_index=index, committed_offset=index) for index in range(2000)]
    topic = OffsetCommitRequestTopic(name=TOPIC, topic_id=TOPIC_ID, partitions=wanted)
    sent = groups.coordinator.commit_offsets(OffsetCommitRequest(group_id=GROUP, topics=[topic]), 9)
    later = groups.send_commit(7, partition=1999)
    turns = 0
    while not sent.done:
        assert not later.done
        groups.world.run_one_turn()
        turns += 1
    assert turns >= 3 * 2000 // 16  # decided, written and replayed
    groups.world.run_soon()
    assert [each.error_code for each in sent.result().topics[0].partitions] == [0] * 2000
    assert len(groups.log.batches[SHARD]) == 2
    assert groups.offsets() == {(TOPIC, index): index for index in range(1999)} | {(TOPIC, 1999): 7}


def test_a_commit_larger_than_a_batch_may_be_is_refused_whole() -> None:
    groups = Groups()
    groups.log.largest_batch_bytes = 100
    assert groups.commit(1) == ErrorCode.UNKNOWN_SERVER_ERROR
    assert groups.log.batches == {}
    assert groups.listed() == []


def test_offset_delete() -> None:
    groups = Groups()
    assert delete(groups, 0) == [ErrorCode.GROUP_ID_NOT_FOUND]
    assert delete(groups, 0, group="") == [ErrorCode.INVALID_GROUP_ID]
    groups.commit(1)
    groups.commit(2, partition=1)
    assert delete(groups, 0, 5) == [ErrorCode.NONE, ErrorCode.NONE]
    assert groups.offsets() == {(TOPIC, 1): 2}


def test_offset_delete_spares_what_members_read() -> None:
    groups = Groups()
    (member,) = groups.stable()
    groups.commit(1, member_id=member, generation=1)
    groups.commit(1, member_id=member, generation=1, topic="payments")
    assert delete(groups, 0) == [ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC]
    assert delete(groups, 0, topic="payments") == [ErrorCode.NONE]
    assert groups.offsets() == {(TOPIC, 0): 1}


def test_offset_delete_refuses_groups_of_another_kind_while_they_have_members() -> None:
    groups = Groups()
    join = groups.join(protocol_type="connect", version=3)
    groups.world.advance(3000)
    groups.answer(join)
    assert delete(groups, 0) == [ErrorCode.NON_EMPTY_GROUP]


def test_delete_groups() -> None:
    groups = Groups()
    groups.commit(1, group="done")
    groups.stable()
    assert groups.delete("done", GROUP, "none") == [
        ErrorCode.NONE,
        ErrorCode.NON_EMPTY_GROUP,
        ErrorCode.GROUP_ID_NOT_FOUND,
    ]
    assert groups.listed() == [GROUP]
    assert groups.offset(group="done") == -1
    groups.restart()
    assert groups.listed() == [GROUP]


def test_listing_filters_by_state_and_type_in_any_case() -> None:
    groups = Groups()
    groups.stable()
    groups.commit(1, group="simple")
    assert groups.listed(" STABLE") == [GROUP]
    assert groups.listed("empty", "stable") == [GROUP, "simple"]
    assert groups.listed("bogus") == []
    assert groups.listed(types=("Classic",)) == [GROUP, "simple"]
    assert groups.listed(types=("consumer", "share")) == []


def test_offsets_of_a_simple_group_expire_after_their_commit() -> None:
    groups = Groups(RETENTION)
    groups.commit(1)
    groups.world.advance(30 * MINUTE_MS)
    groups.commit(2, partition=1)
    groups.world.advance(30 * MINUTE_MS)
    assert groups.offsets() == {(TOPIC, 1): 2}
    groups.world.advance(30 * MINUTE_MS)
    assert groups.listed() == []


def test_offsets_of_a_group_expire_after_it_became_empty() -> None:
    groups = Groups(RETENTION)
    (member,) = groups.stable()
    groups.commit(1, member_id=member, generation=1)
    for _ in range(90):
        groups.world.advance(SESSION_MS * 6 / 7)
        groups.heartbeat(member, 1)
    groups.leave((member, None))
    groups.world.advance(59 * MINUTE_MS)
    assert groups.offset() == 1
    groups.world.advance(2 * MINUTE_MS)
    assert groups.offset() == -1
    assert groups.listed() == []


def test_offsets_that_members_read_do_not_expire_and_others_do() -> None:
    groups = Groups(RETENTION)
    (member,) = groups.stable()
    groups.commit(1, member_id=member, generation=1)
    groups.commit(1, member_id=member, generation=1, topic="payments")
    for _ in range(70 * 7):
        groups.world.advance(MINUTE_MS / 7)
        groups.heartbeat(member, 1)
    assert groups.offsets() == {(TOPIC, 0): 1}


def test_an_old_client_may_ask_for_its_own_retention() -> None:
    groups = Groups(RETENTION)
    groups.commit(1, retention_ms=5 * MINUTE_MS, version=4)
    groups.restart()
    groups.world.advance(4 * MINUTE_MS)
    assert groups.offset() == 1
    groups.world.advance(2 * MINUTE_MS)
    assert groups.offset() == -1


def test_records_are_written_in_the_versions_of_4_4_0() -> None:
    groups = Groups()
    (member,) = groups.stable()
    groups.commit(1, member_id=member, generation=1)
    groups.commit(1, member_id=member, generation=1, topic_id=bytes(16))
    groups.commit(1, member_id=member, generation=1, retention_ms=1000, version=4)
    group_key = b"\0\2" + GroupMetadataKey(group=GROUP).encode(0)
    offset_key = b"\0\1" + OffsetCommitKey(group=GROUP, topic=TOPIC, partition=0).encode(0)
    written = [(record.key, (record.value or b"")[:2]) for record in groups.log.records(SHARD)]
    assert written == [
        (group_key, b"\0\3"),
        (group_key, b"\0\3"),
        (offset_key, b"\0\4"),
        (offset_key, b"\0\3"),
        (offset_key, b"\0\1"),
    ]
