"""Heartbeats: joining, sharing, going, and what time does."""

from __future__ import annotations

from odradek.broker.groups.consumer.environment import ConsumerGroupConfig
from odradek.broker.groups.consumer.member import ConsumerMember, MemberState
from odradek.broker.groups.consumer.records import assignment_of_record
from odradek.broker.groups.options import GroupOptions
from odradek.broker.groups.table import heartbeat_timer
from odradek.wire.errors import ErrorCode
from odradek.wire.persistent.framing import encode_key
from odradek.wire.persistent.group import KEYS
from odradek.wire.persistent.group.consumer_group_current_member_assignment import (
    ConsumerGroupCurrentMemberAssignmentValue,
    TopicPartitions,
)
from odradek.wire.persistent.group.consumer_group_partition_metadata import ConsumerGroupPartitionMetadataKey
from odradek.wire.persistent.group.consumer_group_target_assignment_member import (
    ConsumerGroupTargetAssignmentMemberKey,
)
from odradek.wire.records.batch import BatchBuilder
from odradek.wire.schema import Message
from tests.unit.broker.coordinator.fake_log import DISK_BROKEN, NO_LEADER
from tests.unit.broker.groups.consumer.scene import (
    HEARTBEAT_MS,
    NO_INTERVAL,
    REBALANCE_MS,
    SESSION_MS,
    Consumers,
)
from tests.unit.broker.groups.scene import GROUP, SHARD


def test_a_group_begins_in_epoch_2_with_all_partitions_for_its_first_member() -> None:
    scene = Consumers({"orders": 3})
    member = scene.member("orders")
    answer = member.join()
    assert (answer.member_epoch, answer.heartbeat_interval_ms) == (2, HEARTBEAT_MS)
    assert member.owned == {scene.id_of("orders"): [0, 1, 2]}


def test_a_member_that_reads_nothing_is_in_epoch_1() -> None:
    scene = Consumers()
    member = scene.member()
    assert (member.join().member_epoch, member.owned) == (1, {})
    described = scene.describe_consumers()
    assert (described.group_epoch, described.assignment_epoch, described.group_state) == (1, 1, "Stable")
    other = scene.member()
    assert other.join().member_epoch == 1


def test_the_answer_waits_until_the_records_are_committed() -> None:
    scene = Consumers({"orders": 1})
    scene.log.commits_at_once = False
    joining = scene.member("orders").send(
        rebalance_timeout_ms=1, subscribed_topic_names=["orders"], topic_partitions=[]
    )
    scene.world.run_soon()
    assert not joining.done
    assert scene.describe_consumers().error_code == ErrorCode.GROUP_ID_NOT_FOUND
    scene.log.commit(SHARD)
    assert scene.answer(joining).member_epoch == 2
    assert scene.describe_consumers().group_state == "Stable"


def test_description_is_as_of_the_committed_log() -> None:
    scene = Consumers({"orders": 2})
    first = scene.member("orders")
    first.join()
    before = scene.describe_consumers()
    scene.log.commits_at_once = False
    joining = scene.member("orders", assignor="range").send(
        rebalance_timeout_ms=1, subscribed_topic_names=["orders"], topic_partitions=[]
    )
    scene.world.run_soon()
    after = scene.describe_consumers()
    assert (after.group_epoch, after.group_state, after.members) == (
        before.group_epoch,
        before.group_state,
        before.members,
    )
    assert scene.listed("Stable", types=("consumer",)) == [GROUP]
    scene.log.commit(SHARD)
    assert scene.answer(joining).error_code == ErrorCode.NONE
    assert scene.describe_consumers().group_state == "Reconciling"


def test_a_failed_append_leaves_no_trace() -> None:
    scene = Consumers({"orders": 1})
    scene.log.append_error = DISK_BROKEN
    member = scene.member("orders")
    assert member.join().error_code == ErrorCode.NOT_COORDINATOR
    scene.log.append_error = None
    scene.world.run_soon()
    assert scene.describe_consumers().error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert member.join().member_epoch == 2


def test_partitions_go_over_one_step_at_a_time() -> None:
    scene = Consumers({"orders": 4})
    first, second = scene.member("orders"), scene.member("orders")
    first.join()
    second.join()
    assert (second.epoch, second.count_owned) == (3, 0)
    assert scene.group.members.get(second.member_id).state is MemberState.UNRELEASED_PARTITIONS  # type: ignore[union-attr]
    had = dict(first.owned)
    first.beat()
    assert (first.epoch, first.count_owned) == (2, 2)
    keeps = dict(first.owned)
    first.owned = had
    first.beat()
    assert (first.epoch, first.owned) == (2, had)
    assert scene.group.members.get(first.member_id).state is MemberState.UNREVOKED_PARTITIONS  # type: ignore[union-attr]
    assert second.beat().assignment is None
    first.owned = keeps
    assert first.beat().member_epoch == 3
    second.beat()
    assert second.count_owned == 2
    assert scene.describe_consumers().group_state == "Stable"


def test_a_member_whose_answer_was_lost_says_it_again() -> None:
    scene = Consumers({"orders": 4})
    first, second = scene.member("orders"), scene.member("orders")
    first.join()
    second.join()
    first.beat()
    keeps = dict(first.owned)
    assert first.beat().member_epoch == 3
    first.epoch = 2
    assert first.ask(topic_partitions=None) == ErrorCode.FENCED_MEMBER_EPOCH
    assert first.beat(rebalance_timeout_ms=1, subscribed_topic_names=["orders"]).member_epoch == 3
    assert first.owned == keeps
    first.epoch = 2
    first.owned = {scene.id_of("orders"): [0, 1, 2, 3]}
    assert first.beat().error_code == ErrorCode.FENCED_MEMBER_EPOCH


def test_silence_ends_a_session() -> None:
    scene = Consumers({"orders": 2})
    first, second = scene.member("orders"), scene.member("orders")
    first.join()
    second.join()
    scene.settle(first, second)
    scene.world.advance(SESSION_MS - 1)
    assert first.beat().error_code == ErrorCode.NONE
    scene.world.advance(1)
    assert second.ask() == ErrorCode.UNKNOWN_MEMBER_ID
    scene.settle(first)
    assert first.count_owned == 2
    scene.world.advance(SESSION_MS)
    assert scene.describe_consumers().group_state == "Empty"


def test_a_member_has_its_rebalance_timeout_to_give_up_partitions() -> None:
    scene = Consumers({"orders": 2})
    slow, other = scene.member("orders"), scene.member("orders")
    slow.join()
    other.join()
    had = dict(slow.owned)
    slow.beat()
    for _ in range(REBALANCE_MS // HEARTBEAT_MS):
        slow.owned = had
        assert slow.beat().error_code == ErrorCode.NONE
        other.beat()
        scene.world.advance(HEARTBEAT_MS)
    assert slow.beat().error_code == ErrorCode.UNKNOWN_MEMBER_ID
    scene.settle(other)
    assert other.count_owned == 2


def test_who_gives_up_in_time_has_as_long_the_next_time() -> None:
    scene = Consumers({"orders": 2})
    first, second = scene.member("orders"), scene.member("orders")
    first.join()
    second.join()
    scene.settle(first, second)
    scene.world.advance(REBALANCE_MS)
    assert first.beat().error_code == ErrorCode.NONE


def test_timeouts_begin_anew_with_a_restart() -> None:
    scene = Consumers({"orders": 2})
    slow, other = scene.member("orders"), scene.member("orders")
    slow.join()
    other.join()
    slow.send(topic_partitions=None)
    scene.world.advance(REBALANCE_MS - 1)
    scene.restart()
    scene.world.advance(REBALANCE_MS - 1)
    assert slow.ask() == ErrorCode.NONE
    scene.world.advance(1)
    assert slow.ask() == ErrorCode.UNKNOWN_MEMBER_ID
    scene.world.advance(SESSION_MS)
    assert other.ask() == ErrorCode.UNKNOWN_MEMBER_ID


def test_targets_are_computed_once_in_the_assignment_interval() -> None:
    scene = Consumers({"orders": 2})
    scene.config = ConsumerGroupConfig(SESSION_MS, HEARTBEAT_MS, assignment_interval_ms=1000)
    first, second = scene.member("orders"), scene.member("orders")
    first.join()
    second.join()
    assert second.epoch == 2
    assert scene.describe_consumers().group_state == "Assigning"
    scene.world.advance(999)
    first.beat()
    assert first.count_owned == 2
    scene.world.advance(1)
    scene.settle(first, second)
    assert (first.count_owned, second.count_owned) == (1, 1)


def test_a_clock_that_is_set_back_does_not_keep_targets_from_being_computed() -> None:
    scene = Consumers({"orders": 2})
    scene.config = ConsumerGroupConfig(SESSION_MS, HEARTBEAT_MS, assignment_interval_ms=1000)
    first, second = scene.member("orders"), scene.member("orders")
    first.join()
    scene.world.set_clock(-3_600_000)
    second.join()
    scene.settle(first, second)
    assert (first.count_owned, second.count_owned) == (1, 1)


def test_a_group_that_was_empty_does_not_wait_for_the_interval() -> None:
    scene = Consumers({"orders": 2})
    scene.config = NO_INTERVAL._replace(assignment_interval_ms=1000)
    first = scene.member("orders")
    first.join()
    first.leave()
    second = scene.member("orders")
    second.join()
    assert second.count_owned == 2


def test_group_configs_count_from_the_next_heartbeat_on() -> None:
    scene = Consumers({"orders": 1})
    member = scene.member("orders")
    member.join()
    scene.config = ConsumerGroupConfig(2000, 500, 0)
    assert member.beat().heartbeat_interval_ms == 500
    scene.world.advance(2000)
    assert member.ask() == ErrorCode.UNKNOWN_MEMBER_ID


def test_members_follow_topics_that_grow_come_and_go() -> None:
    scene = Consumers({"orders": 1})
    member = scene.member("orders", "later")
    member.join()
    epoch = member.epoch
    scene.put_topic("unrelated", 3)
    assert member.beat().member_epoch == epoch
    scene.put_topic("orders", 2)
    assert (member.beat().member_epoch, member.count_owned) == (epoch + 1, 2)
    scene.put_topic("later", 2)
    scene.settle(member)
    assert member.count_owned == 4
    scene.remove_topic("orders")
    scene.settle(member)
    assert list(member.owned) == [scene.id_of("later")]
    assert member.epoch == epoch + 3


def test_a_restart_notices_what_happened_to_topics_meanwhile() -> None:
    scene = Consumers({"orders": 1})
    member = scene.member("orders")
    member.join()
    scene.restart()
    assert member.beat().member_epoch == 2
    scene.put_topic("orders", 2)
    scene.restart()
    assert (member.beat().member_epoch, member.count_owned) == (3, 2)


def test_racks_of_replicas_are_part_of_what_is_noticed() -> None:
    scene = Consumers({"orders": 3})
    member = scene.member("orders")
    member.join()
    scene.set_racks("a", "b", "c")
    scene.put_topic("orders", 3)
    assert member.beat().member_epoch == 3


def test_a_member_gives_up_topics_that_it_does_not_read_any_more() -> None:
    scene = Consumers({"orders": 2, "bills": 2})
    scene.config = ConsumerGroupConfig(SESSION_MS, HEARTBEAT_MS, assignment_interval_ms=60_000)
    member = scene.member("orders", "bills")
    member.join()
    answer = member.beat(subscribed_topic_names=["bills"])
    # There is no new target yet, but what is not read is not assigned.
    assert list(member.owned) == [scene.id_of("bills")]
    assert answer.member_epoch == 2
    assert member.beat().member_epoch == 2


def test_most_members_choose_the_assignor() -> None:
    scene = Consumers({"orders": 4})
    first = scene.member("orders", assignor="range")
    others = [scene.member("orders", assignor="uniform") for _ in range(2)]
    first.join()
    assert scene.describe_consumers().assignor_name == "range"
    for member in others:
        member.join()
    assert scene.describe_consumers().assignor_name == "uniform"
    epoch = scene.group.head.epoch
    others[0].beat(server_assignor="range")
    assert scene.describe_consumers().assignor_name == "range"
    assert scene.group.head.epoch == epoch + 1


def test_a_static_member_keeps_its_place_until_its_session_ends() -> None:
    scene = Consumers({"orders": 4})
    first, other = scene.member("orders", instance="one"), scene.member("orders")
    first.join()
    other.join()
    scene.settle(first, other)
    had, epoch = dict(first.owned), scene.group.head.epoch
    assert scene.member("orders", instance="one").join().error_code == ErrorCode.UNRELEASED_INSTANCE_ID
    assert first.leave(-2) == ErrorCode.NONE
    other.beat()
    assert other.count_owned == 2
    again = scene.member("orders", instance="one")
    assert again.join().member_epoch == epoch
    assert again.owned == had
    assert first.ask() == ErrorCode.FENCED_INSTANCE_ID
    assert first.leave() == ErrorCode.FENCED_INSTANCE_ID
    assert again.leave(-2) == ErrorCode.NONE
    for _ in range(SESSION_MS // HEARTBEAT_MS):
        scene.world.advance(HEARTBEAT_MS)
        other.beat()
    scene.settle(other)
    assert other.count_owned == 4


def test_a_static_member_that_comes_back_is_not_too_many() -> None:
    scene = Consumers({"orders": 2}, GroupOptions(consumer_max_size=1))
    first = scene.member("orders", instance="one")
    first.join()
    assert scene.member("orders").join().error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
    first.leave(-2)
    assert scene.member("orders", instance="one").join().error_code == ErrorCode.NONE


def test_the_session_of_a_replaced_member_does_not_end_that_of_its_successor() -> None:
    scene = Consumers({"orders": 2})
    first = scene.member("orders", instance="one")
    first.join()
    first.leave(-2)
    scene.world.advance(SESSION_MS - 1)
    again = scene.member("orders", instance="one")
    again.join()
    scene.world.advance(SESSION_MS - 1)
    assert again.ask() == ErrorCode.NONE


def test_offsets_of_consumer_groups_expire_by_their_age_but_not_while_they_are_read() -> None:
    scene = Consumers({"orders": 1, "bills": 1}, GroupOptions(offsets_retention_ms=1000))
    member = scene.member("orders")
    member.join()
    scene.commit(5, topic="orders", topic_id=scene.id_of("orders"), member_id=member.member_id, generation=2)
    scene.commit(7, topic="bills", topic_id=scene.id_of("bills"), member_id=member.member_id, generation=2)
    for _ in range(61):
        scene.world.advance(SESSION_MS - 1)
        member.beat()
    assert scene.offsets() == {("orders", 0): 5}
    member.leave()
    scene.world.advance(600_000)
    assert scene.offsets() == {}
    assert scene.describe_consumers().error_code == ErrorCode.GROUP_ID_NOT_FOUND


def test_an_old_epoch_may_commit_what_the_member_has_had_since() -> None:
    scene = Consumers({"orders": 4})
    first, second = scene.member("orders"), scene.member("orders")
    first.join()
    second.join()
    scene.settle(first, second)
    kept, late = first.owned[scene.id_of("orders")][0], second.owned[scene.id_of("orders")][0]

    def commit(member_id: str, epoch: int, partition: int) -> ErrorCode:
        return scene.commit(
            1, topic_id=scene.id_of("orders"), partition=partition, member_id=member_id, generation=epoch
        )

    assert commit(first.member_id, 2, kept) == ErrorCode.NONE
    assert commit(first.member_id, 1, kept) == ErrorCode.STALE_MEMBER_EPOCH
    assert commit(first.member_id, 2, late) == ErrorCode.STALE_MEMBER_EPOCH
    assert commit(second.member_id, 2, late) == ErrorCode.STALE_MEMBER_EPOCH
    assert commit(second.member_id, 3, late) == ErrorCode.NONE
    assert commit(first.member_id, 4, kept) == ErrorCode.STALE_MEMBER_EPOCH


def test_a_heartbeat_that_says_nothing_of_partitions_can_go_on_where_nothing_is_lost() -> None:
    scene = Consumers({"orders": 1})
    member = scene.member("orders")
    member.join()
    scene.put_topic("orders", 2)
    answer = scene.answer(member.send())
    assert answer.member_epoch == 3
    assert answer.assignment is not None


def test_a_full_heartbeat_is_told_its_assignment_again() -> None:
    scene = Consumers({"orders": 1})
    member = scene.member("orders")
    member.join()
    assert member.beat().assignment is None
    full = member.beat(rebalance_timeout_ms=REBALANCE_MS, subscribed_topic_names=["orders"])
    assert full.assignment is not None


def test_only_the_epoch_before_is_forgiven() -> None:
    scene = Consumers({"orders": 1, "a": 1, "b": 1})
    member = scene.member("orders")
    member.join()
    member.beat(subscribed_topic_names=["orders", "a"])
    member.beat(subscribed_topic_names=["orders", "a", "b"])
    member.epoch = 2
    assert member.beat().error_code == ErrorCode.FENCED_MEMBER_EPOCH
    member.epoch = 3
    assert member.beat().member_epoch == 4


def test_topics_are_compared_once_after_they_changed() -> None:
    scene = Consumers({"orders": 1})
    member = scene.member("orders")
    member.join()
    member.beat()
    assert not scene.group.is_stale
    scene.put_topic("orders", 1)
    assert scene.group.is_stale
    member.beat()
    assert not scene.group.is_stale


def test_topics_are_compared_again_where_the_outcome_could_not_be_written() -> None:
    scene = Consumers({"orders": 1})
    member = scene.member("orders")
    member.join()
    scene.put_topic("orders", 2)
    scene.log.append_error = NO_LEADER
    assert member.beat().error_code == ErrorCode.NOT_COORDINATOR
    scene.log.append_error = None
    assert member.beat().member_epoch == 3


def test_a_step_that_could_not_be_written_has_no_time_limit() -> None:
    scene = Consumers({"orders": 2})
    slow, other = scene.member("orders"), scene.member("orders")
    slow.join()
    other.join()
    scene.log.append_error = NO_LEADER
    assert slow.beat().error_code == ErrorCode.NOT_COORDINATOR
    scene.log.append_error = None
    scene.world.advance(REBALANCE_MS)
    assert slow.member_id in scene.group.members


def test_timers_go_with_the_member() -> None:
    scene = Consumers({"orders": 2})
    static, slow, other = scene.member("orders", instance="one"), scene.member("orders"), scene.member("orders")
    static.join()
    slow.join()
    other.join()
    slow.beat()
    static.leave(-2)
    scene.member("orders", instance="one").join()
    for member in (slow, other):
        member.leave()
    timers = scene.shard.table.context.timers
    for member in (static, slow, other):
        assert heartbeat_timer(GROUP, member.member_id) not in timers


def test_the_timer_for_giving_up_ends_when_that_is_done() -> None:
    scene = Consumers({"orders": 2})
    first, second = scene.member("orders"), scene.member("orders")
    first.join()
    second.join()
    key = f"consumer-rebalance-{len(GROUP)}-{GROUP}-{first.member_id}"
    first.beat()
    assert key in scene.shard.table.context.timers
    first.beat()
    assert key not in scene.shard.table.context.timers


def test_description_shows_what_a_member_has_yet_to_give_up() -> None:
    scene = Consumers({"orders": 2})
    first, second = scene.member("orders"), scene.member("orders")
    first.join()
    second.join()
    first.beat()
    described = {member.member_id: member for member in scene.describe_consumers().members}
    (assigned,) = described[first.member_id].assignment.topic_partitions
    (target,) = described[first.member_id].target_assignment.topic_partitions
    assert (assigned.partitions, len(target.partitions)) == ([0, 1], 1)


def test_a_static_member_that_is_away_may_come_back_to_any_epoch() -> None:
    scene = Consumers({"orders": 2})
    first = scene.member("orders", instance="one")
    first.join()
    first.leave(-2)
    (member,) = scene.group.members.values()
    assert member.assigned == {scene.id_of("orders"): {0: 0, 1: 0}}
    scene.restart()
    assert scene.group.members.values() == [member]


def test_the_first_form_of_metadata_is_removed_from_the_log() -> None:
    scene = Consumers({"orders": 1})
    member = scene.member("orders")
    member.join()
    builder = BatchBuilder()
    key = ConsumerGroupPartitionMetadataKey(group_id=GROUP)
    builder.append(1, encode_key(key), b"\0\0\1\0")
    scene.log.append(SHARD, bytearray(builder.build()), 0)
    scene.restart()
    assert scene.group.has_partition_metadata
    member.beat()
    assert not scene.group.has_partition_metadata
    assert scene.log.records(SHARD)[-1].value is None


def test_records_from_before_4_4_have_the_epoch_of_the_member() -> None:
    value = ConsumerGroupCurrentMemberAssignmentValue(
        member_epoch=7,
        previous_member_epoch=6,
        state=0,
        assigned_partitions=[TopicPartitions(topic_id=bytes(16), partitions=[1, 2], assignment_epochs=None)],
    )
    assert assignment_of_record(ConsumerMember("m"), value).assigned == {bytes(16): {1: 7, 2: 7}}
    value.member_epoch = -2
    assert assignment_of_record(ConsumerMember("m"), value).assigned == {bytes(16): {1: 0, 2: 0}}


def test_a_static_member_that_comes_back_with_more_topics_keeps_what_it_had() -> None:
    scene = Consumers({"orders": 4, "bills": 1})
    first, other = scene.member("orders", instance="one"), scene.member("orders")
    other.join()
    first.join()
    scene.settle(first, other)
    had = first.owned[scene.id_of("orders")]
    first.leave(-2)
    again = scene.member("orders", "bills", instance="one")
    again.join()
    scene.settle(again, other)
    assert again.owned == {scene.id_of("orders"): had, scene.id_of("bills"): [0]}
    assert other.count_owned == 2


def test_only_targets_that_differ_are_written() -> None:
    scene = Consumers({"orders": 2, "bills": 1})
    first, second = scene.member("orders"), scene.member("bills")
    first.join()
    second.join()
    scene.settle(first, second)
    begin = len(scene.log.records(SHARD))
    scene.put_topic("bills", 2)
    first.beat()
    keys = [decode_key(record.key or b"") for record in scene.log.records(SHARD)[begin:]]
    targets = [key.member_id for key in keys if isinstance(key, ConsumerGroupTargetAssignmentMemberKey)]
    assert targets == [second.member_id]


def decode_key(key: bytes) -> Message:
    return KEYS.record_class(int.from_bytes(key[:2], "big")).decode(key[2:], 0)


def test_a_static_member_that_comes_back_keeps_its_target_where_a_new_one_is_computed() -> None:
    scene = Consumers({"orders": 4})
    other, first = scene.member("orders"), scene.member("orders", instance="one")
    other.join()
    first.join()
    scene.settle(other, first)
    had = first.owned[scene.id_of("orders")]
    first.leave(-2)
    scene.put_topic("orders", 6)
    again = scene.member("orders", instance="one")
    again.join()
    scene.settle(again, other)
    assert set(had) < set(again.owned[scene.id_of("orders")])
