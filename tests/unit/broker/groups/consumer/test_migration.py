"""Groups that change their protocol: what happens to members, requests that wait, timers and the log."""

from __future__ import annotations

import pytest

from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.consumer.group import ConsumerGroup
from odradek.broker.groups.options import GroupOptions, MigrationPolicy
from odradek.broker.groups.table import heartbeat_timer, join_timer
from odradek.ports import Promise
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    ConsumerProtocolSubscriptionTopicPartition,
)
from odradek.wire.messages.join_group import JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.persistent.framing import encode_key
from odradek.wire.persistent.group.consumer_group_metadata import ConsumerGroupMetadataKey
from tests.unit.broker.coordinator.fake_log import DISK_BROKEN, NO_LEADER, FakeLog
from tests.unit.broker.groups.consumer.scene import HEARTBEAT_MS, SESSION_MS, Consumers, state
from tests.unit.broker.groups.scene import GROUP, SHARD

TOPIC = "orders"
CLASSIC_SESSION_MS = 10_000
CLASSIC_REBALANCE_MS = 60_000


def said(*topics: str, owned: list[int] | None = None) -> list[JoinGroupRequestProtocol]:
    """What a classic consumer offers in JoinGroup."""
    partitions = [ConsumerProtocolSubscriptionTopicPartition(topic=TOPIC, partitions=owned or [])]
    subscription = ConsumerProtocolSubscription(topics=list(topics or (TOPIC,)), owned_partitions=partitions)
    return [JoinGroupRequestProtocol(name="range", metadata=b"\0\1" + bytes(subscription.encode(1)))]


def assignment(*partitions: int, user_data: bytes = b"\xff\xff\xff\xff") -> bytes:
    entry = len(TOPIC).to_bytes(2, "big") + TOPIC.encode() + len(partitions).to_bytes(4, "big")
    return b"\0\1\0\0\0\1" + entry + b"".join(index.to_bytes(4, "big") for index in partitions) + user_data


class Mixed(Consumers):
    """A topic of four partitions, and members of both protocols."""

    def __init__(self, options: GroupOptions | None = None, log: FakeLog | None = None) -> None:
        options = (options or GroupOptions())._replace(initial_rebalance_delay_ms=0)
        super().__init__({TOPIC: 4}, options, log)

    @property
    def kind(self) -> type:
        return type(self.shard.table.groups.get(GROUP))

    def classic(self, *partitions: int, instance: str | None = None) -> tuple[str, int]:
        """A classic group of one member; its id and generation."""
        member_id = "" if instance is not None else self.new_id()
        joining = self.join(member_id, instance=instance, offers=said())
        self.world.advance(0)
        answer = self.answer(joining)
        synced = self.sync(
            answer.member_id, answer.generation_id, {answer.member_id: assignment(*partitions)}, instance=instance
        )
        assert self.answer(synced).error_code == ErrorCode.NONE
        return answer.member_id, answer.generation_id

    def rejoin(self, member_id: str, *owned: int, instance: str | None = None) -> JoinGroupResponse:
        return self.answer(self.join(member_id, instance=instance, offers=said(owned=list(owned))))

    def given(self, member_id: str, generation: int, instance: str | None = None) -> list[int]:
        answer = self.answer(self.sync(member_id, generation, instance=instance))
        assert answer.error_code == ErrorCode.NONE
        content, _ = ConsumerProtocolAssignment.decode_prefix(bytes(answer.assignment), 1, 2)
        return sorted(index for topic in content.assigned_partitions for index in topic.partitions)


def test_an_upgrade_hands_partitions_over_step_by_step() -> None:
    scene = Mixed()
    classic, generation = scene.classic(0, 1, 2, 3)
    consumer = scene.member(TOPIC)
    assert consumer.join().member_epoch == generation + 1
    assert scene.kind is ConsumerGroup
    assert scene.heartbeat(classic, generation) == ErrorCode.REBALANCE_IN_PROGRESS
    joined = scene.rejoin(classic, 0, 1, 2, 3)
    # It has to give up first: told what it may keep, in the epoch that it is in.
    assert (joined.generation_id, joined.leader) == (generation, "")
    kept = scene.given(classic, generation)
    assert len(kept) == 2
    assert scene.heartbeat(classic, generation) == ErrorCode.REBALANCE_IN_PROGRESS
    joined = scene.rejoin(classic, *kept)
    assert joined.generation_id == generation + 1
    assert scene.given(classic, joined.generation_id) == kept
    consumer.beat()
    assert sorted(kept + consumer.owned[scene.id_of(TOPIC)]) == [0, 1, 2, 3]
    assert scene.heartbeat(classic, joined.generation_id) == ErrorCode.NONE
    assert scene.describe_consumers().group_state == "Stable"


def test_parked_requests_are_told_to_join_again_by_an_upgrade() -> None:
    scene = Mixed()
    classic, _ = scene.classic(0, 1)
    other = scene.new_id()
    joining = scene.join(other, offers=said())
    syncing: Promise[JoinGroupResponse] = scene.join(classic, offers=said())
    answers = [scene.answer(joining), scene.answer(syncing)]
    parked = scene.sync(other, answers[0].generation_id)
    consumer = scene.member(TOPIC)
    assert consumer.join().error_code == ErrorCode.NONE
    assert scene.answer(parked).error_code == ErrorCode.REBALANCE_IN_PROGRESS
    assert {member.member_id for member in scene.group.members.values()} == {classic, other, consumer.member_id}


def test_a_classic_member_has_the_session_that_it_asked_for() -> None:
    scene = Mixed()
    scene.config = scene.config._replace(session_timeout_ms=10 * SESSION_MS)
    classic, _ = scene.classic(0, 1, 2, 3)
    consumer = scene.member(TOPIC)
    consumer.join()
    scene.world.advance(CLASSIC_SESSION_MS - 1)
    assert classic in scene.group.members
    scene.world.advance(1)
    assert classic not in scene.group.members
    scene.settle(consumer)
    assert consumer.count_owned == 4


def test_a_classic_member_that_does_not_join_again_is_out_after_its_rebalance_timeout() -> None:
    scene = Mixed()
    classic, generation = scene.classic(0, 1, 2, 3)
    consumer = scene.member(TOPIC)
    consumer.join()
    for _ in range(CLASSIC_REBALANCE_MS // HEARTBEAT_MS):
        assert scene.heartbeat(classic, generation) == ErrorCode.REBALANCE_IN_PROGRESS
        consumer.beat()
        scene.world.advance(HEARTBEAT_MS)
    assert scene.heartbeat(classic, generation) == ErrorCode.UNKNOWN_MEMBER_ID
    scene.settle(consumer)
    assert consumer.count_owned == 4


def test_a_classic_member_that_does_not_sync_is_out_after_its_rebalance_timeout() -> None:
    scene = Mixed()
    consumer = scene.member(TOPIC)
    consumer.join()
    classic = scene.new_id()
    generation = scene.rejoin(classic).generation_id
    for _ in range(CLASSIC_REBALANCE_MS // HEARTBEAT_MS):
        assert scene.heartbeat(classic, generation) in (ErrorCode.NONE, ErrorCode.REBALANCE_IN_PROGRESS)
        consumer.beat()
        scene.world.advance(HEARTBEAT_MS)
    assert classic not in scene.group.members


def test_joining_and_syncing_stops_the_clocks() -> None:
    scene = Mixed()
    consumer = scene.member(TOPIC)
    consumer.join()
    classic = scene.new_id()
    generation = scene.rejoin(classic).generation_id
    scene.given(classic, generation)
    consumer.beat()
    consumer.beat()
    assert scene.heartbeat(classic, generation) == ErrorCode.REBALANCE_IN_PROGRESS
    scene.given(classic, scene.rejoin(classic).generation_id)
    for _ in range(2 * CLASSIC_REBALANCE_MS // HEARTBEAT_MS):
        assert scene.heartbeat(classic, generation) == ErrorCode.NONE
        consumer.beat()
        scene.world.advance(HEARTBEAT_MS)
    assert classic in scene.group.members


def test_the_last_consumer_takes_the_group_back_to_the_classic_protocol() -> None:
    scene = Mixed()
    classic, _ = scene.classic(0, 1, 2, 3)
    consumer = scene.member(TOPIC)
    consumer.join()
    assert consumer.leave() == ErrorCode.NONE
    assert scene.kind is ClassicGroup
    described = scene.describe()
    assert (described.group_state, described.members[0].member_id) == ("PreparingRebalance", classic)
    answer = scene.rejoin(classic)
    assert (answer.leader, len(answer.members)) == (classic, 1)
    synced = scene.sync(classic, answer.generation_id, {classic: assignment(0)})
    assert scene.answer(synced).error_code == ErrorCode.NONE
    assert consumer.ask() == ErrorCode.GROUP_ID_NOT_FOUND


def test_a_session_that_ends_downgrades_as_well() -> None:
    scene = Mixed()
    scene.config = scene.config._replace(session_timeout_ms=1000)
    classic, generation = scene.classic(0, 1, 2, 3)
    scene.member(TOPIC).join()
    scene.world.advance(1000)
    assert scene.kind is ClassicGroup
    assert scene.heartbeat(classic, generation + 1) == ErrorCode.REBALANCE_IN_PROGRESS


def test_downgraded_members_are_given_what_they_were_to_have() -> None:
    scene = Mixed()
    consumer = scene.member(TOPIC, instance="one")
    consumer.join()
    answer = scene.rejoin("", instance="one")
    assert answer.error_code == ErrorCode.NONE
    assert scene.kind is ClassicGroup
    assert scene.given(answer.member_id, answer.generation_id, "one") == [0, 1, 2, 3]
    scene.restart()
    assert scene.kind is ClassicGroup
    assert scene.given(answer.member_id, answer.generation_id, "one") == [0, 1, 2, 3]


def test_a_downgrade_with_an_outdated_target_is_followed_by_a_rebalance() -> None:
    scene = Mixed()
    scene.config = scene.config._replace(assignment_interval_ms=60_000)
    consumer = scene.member(TOPIC, "more", instance="one")
    consumer.join()
    answer = scene.answer(scene.join("", instance="one", offers=said()))
    assert answer.error_code == ErrorCode.NONE
    assert scene.describe().group_state == "PreparingRebalance"


@pytest.mark.parametrize("broken", [DISK_BROKEN, NO_LEADER])
def test_a_downgrade_that_cannot_be_written_did_not_happen(broken: Exception) -> None:
    scene = Mixed()
    classic, _ = scene.classic(0, 1, 2, 3)
    consumer = scene.member(TOPIC)
    consumer.join()
    before = state(scene.shard)
    scene.log.append_error = broken
    assert consumer.leave() == ErrorCode.NOT_COORDINATOR
    scene.log.append_error = None
    scene.world.run_soon()
    assert scene.kind is ConsumerGroup
    assert state(scene.shard) == before
    assert consumer.beat().error_code == ErrorCode.NONE
    assert classic in scene.group.members


@pytest.mark.parametrize("broken", [DISK_BROKEN, NO_LEADER])
def test_an_upgrade_that_cannot_be_written_did_not_happen(broken: Exception) -> None:
    scene = Mixed()
    classic, generation = scene.classic(0, 1, 2, 3)
    scene.log.append_error = broken
    assert scene.member(TOPIC).join().error_code == ErrorCode.NOT_COORDINATOR
    scene.log.append_error = None
    scene.world.run_soon()
    assert scene.kind is ClassicGroup
    assert scene.heartbeat(classic, generation) == ErrorCode.NONE


def test_an_upgrade_that_is_refused_leaves_the_classic_group_to_its_rebalance() -> None:
    """Requests stay parked, and those who are silent are out in time, though the last check of all failed."""
    scene = Mixed()
    scene.classic(0, 1, 2, 3)
    waiting = scene.new_id()
    joining = scene.join(waiting, offers=said())
    assert scene.member(regex="(").join().error_code == ErrorCode.INVALID_REGULAR_EXPRESSION
    assert scene.kind is ClassicGroup
    assert not joining.done
    scene.world.advance(CLASSIC_SESSION_MS)
    assert scene.answer(joining).members[0].member_id == waiting


def test_every_state_on_the_way_is_what_the_log_says() -> None:
    scene = Mixed()
    states: dict[int, object] = {}

    def note() -> None:
        states[len(scene.log.batches[SHARD])] = state(scene.shard)

    classic, _ = scene.classic(0, 1, 2, 3)
    note()
    consumer = scene.member(TOPIC, regex="ord.*")
    consumer.join()
    note()
    scene.world.advance(0)
    note()
    scene.rejoin(classic, 0, 1, 2, 3)
    note()
    consumer.leave()
    for count, expected in states.items():
        copy = Consumers({TOPIC: 4}, log=scene.log.prefix(SHARD, count))
        assert state(copy.shard) == expected
    copy = Consumers({TOPIC: 4}, log=scene.log.prefix(SHARD, len(scene.log.batches[SHARD])))
    group = copy.shard.table.groups.get(GROUP)
    assert isinstance(group, ClassicGroup)
    assert list(group.members) == [classic]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (assignment(0, user_data=b"\0\0\0\1x"), "an unsupported custom assignor is in use"),
        (b"\0", "the embedded consumer protocol is malformed."),
    ],
)
def test_what_an_upgrade_would_lose_prevents_it(content: bytes, reason: str) -> None:
    scene = Mixed()
    classic, generation = scene.classic(0)
    joined = scene.rejoin(classic)
    scene.answer(scene.sync(classic, joined.generation_id, {classic: content}))
    answer = scene.member(TOPIC).join()
    assert answer.error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert reason in (answer.error_message or "")
    assert scene.heartbeat(classic, generation + 1) == ErrorCode.NONE


@pytest.mark.parametrize("policy", MigrationPolicy)
def test_the_policy_says_which_ways_are_open(policy: MigrationPolicy) -> None:
    scene = Mixed(GroupOptions(migration=policy))
    scene.classic(0, 1, 2, 3)
    upgrades = policy in (MigrationPolicy.UPGRADE, MigrationPolicy.BIDIRECTIONAL)
    assert (scene.member(TOPIC).join().error_code == ErrorCode.NONE) == upgrades
    scene = Mixed(GroupOptions(migration=policy))
    consumer = scene.member(TOPIC)
    consumer.join()
    joined = scene.rejoin("", instance="one")
    assert (joined.error_code == ErrorCode.NONE) == (policy is not MigrationPolicy.DISABLED)
    consumer.leave()
    downgrades = policy in (MigrationPolicy.DOWNGRADE, MigrationPolicy.BIDIRECTIONAL)
    assert (scene.kind is ClassicGroup) == downgrades


def test_groups_that_are_too_large_for_the_other_protocol_stay_what_they_are() -> None:
    scene = Mixed(GroupOptions(consumer_max_size=1))
    scene.form(2)
    answer = scene.member(TOPIC).join()
    assert (answer.error_code, answer.error_message) == (
        ErrorCode.GROUP_ID_NOT_FOUND,
        f"Cannot upgrade classic group {GROUP} to consumer group because the group size exceeds the consumer group "
        "maximum size.",
    )
    scene = Mixed(GroupOptions(max_size=1))
    consumer = scene.member(TOPIC)
    consumer.join()
    for instance in ("one", "two"):
        assert scene.rejoin("", instance=instance).error_code == ErrorCode.NONE
    consumer.leave()
    assert scene.kind is ConsumerGroup


def test_offsets_outlive_the_change_of_an_empty_group() -> None:
    scene = Mixed()
    scene.commit(5, topic=TOPIC)
    consumer = scene.member(TOPIC)
    consumer.join()
    assert scene.offsets() == {(TOPIC, 0): 5}
    consumer.leave()
    begin = len(scene.log.records(SHARD))
    scene.classic(0)
    assert scene.kind is ClassicGroup
    removed = [record.key for record in scene.log.records(SHARD)[begin:] if record.value is None]
    assert encode_key(ConsumerGroupMetadataKey(group_id=GROUP)) in removed
    assert scene.offsets() == {(TOPIC, 0): 5}
    scene.restart()
    assert scene.kind is ClassicGroup
    assert scene.offsets() == {(TOPIC, 0): 5}
    assert scene.describe().group_state == "Stable"


def test_members_keep_what_they_have_through_an_upgrade() -> None:
    scene = Mixed()
    classic, generation = scene.classic(2, 3)
    consumer = scene.member(TOPIC)
    consumer.join()
    assert consumer.owned == {scene.id_of(TOPIC): [0, 1]}
    joined = scene.rejoin(classic, 2, 3)
    assert joined.generation_id == generation + 1
    assert scene.given(classic, joined.generation_id) == [2, 3]


def test_a_static_member_may_change_its_protocol_without_leaving_first() -> None:
    scene = Mixed()
    classic, generation = scene.classic(0, 1, 2, 3, instance="one")
    other = scene.member(TOPIC)
    other.join()
    consumer = scene.member(TOPIC, instance="one")
    assert consumer.join().error_code == ErrorCode.NONE
    assert scene.heartbeat(classic, generation, instance="one") == ErrorCode.FENCED_INSTANCE_ID


def test_a_sync_for_an_old_target_is_told_to_join_again() -> None:
    scene = Mixed()
    consumer = scene.member(TOPIC)
    consumer.join()
    classic = scene.new_id()
    generation = scene.rejoin(classic).generation_id
    scene.put_topic(TOPIC, 5)
    consumer.beat()
    assert scene.answer(scene.sync(classic, generation)).error_code == ErrorCode.REBALANCE_IN_PROGRESS


def test_a_classic_member_that_reads_less_is_told_once_it_has_given_up() -> None:
    scene = Mixed()
    scene.config = scene.config._replace(assignment_interval_ms=60_000)
    scene.put_topic("bills", 1)
    consumer = scene.member(TOPIC)
    consumer.join()
    classic = scene.new_id()
    scene.world.advance(0)
    scene.config = scene.config._replace(assignment_interval_ms=0)
    generation = scene.rejoin(classic).generation_id
    scene.given(classic, generation)
    consumer.beat()
    consumer.beat()
    joined = scene.rejoin(classic)
    kept = scene.given(classic, joined.generation_id)
    assert len(kept) == 2
    scene.config = scene.config._replace(assignment_interval_ms=60_000)
    joined = scene.answer(scene.join(classic, offers=said("bills", owned=kept)))
    assert scene.given(classic, joined.generation_id) == []
    assert scene.heartbeat(classic, joined.generation_id) == ErrorCode.REBALANCE_IN_PROGRESS
    joined = scene.answer(scene.join(classic, offers=said("bills")))
    assert scene.heartbeat(classic, joined.generation_id) == ErrorCode.NONE


def test_a_classic_member_waits_for_what_others_have_yet_to_give_up() -> None:
    scene = Mixed()
    scene.put_topic("bills", 1)
    first, second = scene.member(TOPIC), scene.member(TOPIC)
    first.join()
    second.join()
    scene.settle(first, second)
    classic = scene.new_id()
    joined = scene.rejoin(classic)
    scene.given(classic, joined.generation_id)
    for _ in range(4):
        first.beat()
        second.beat()
    joined = scene.rejoin(classic)
    had = scene.given(classic, joined.generation_id)
    assert len(had) == 1
    first.send(subscribed_topic_names=["bills"])
    scene.world.run_soon()
    joined = scene.rejoin(classic, *had)
    assert scene.given(classic, joined.generation_id) == had
    # Its next partition is the first one's until that says that it has given it up.
    assert scene.heartbeat(classic, joined.generation_id) == ErrorCode.NONE
    first.owned = {}
    first.beat()
    assert scene.heartbeat(classic, joined.generation_id) == ErrorCode.REBALANCE_IN_PROGRESS
    assert len(scene.given(classic, scene.rejoin(classic, *had).generation_id)) == 2


def test_a_member_with_other_protocols_does_not_fit() -> None:
    scene = Mixed()
    scene.classic(0)
    scene.member(TOPIC).join()
    offers = [JoinGroupRequestProtocol(name="roundrobin", metadata=said()[0].metadata)]
    answer = scene.answer(scene.join("", instance="one", offers=offers))
    assert answer.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


def test_sessions_begin_anew_with_a_downgrade() -> None:
    scene = Mixed()
    scene.member(TOPIC, instance="one").join()
    answer = scene.rejoin("", instance="one")
    scene.world.advance(CLASSIC_SESSION_MS - 1)
    assert scene.heartbeat(answer.member_id, answer.generation_id, instance="one") == ErrorCode.NONE
    scene.world.advance(CLASSIC_SESSION_MS)
    assert scene.describe().group_state in ("PreparingRebalance", "Empty")


def test_timers_of_the_other_protocol_end_with_the_change() -> None:
    scene = Mixed()
    classic, _ = scene.classic(0, 1, 2, 3)
    waiting = scene.new_id()
    scene.join(waiting, offers=said())
    timers = scene.shard.table.context.timers
    assert join_timer(GROUP) in timers
    consumer = scene.member(TOPIC)
    consumer.join()
    assert join_timer(GROUP) not in timers
    assert heartbeat_timer(GROUP, consumer.member_id) in timers
    consumer.leave()
    assert heartbeat_timer(GROUP, consumer.member_id) not in timers
    assert heartbeat_timer(GROUP, classic) in timers


def test_timers_of_an_empty_classic_group_end_when_a_consumer_takes_it() -> None:
    scene = Mixed()
    pending = scene.new_id()
    timers = scene.shard.table.context.timers
    assert heartbeat_timer(GROUP, pending) in timers
    scene.member(TOPIC).join()
    assert heartbeat_timer(GROUP, pending) not in timers
