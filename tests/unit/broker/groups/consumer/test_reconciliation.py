"""Random groups: nobody ever owns what another one does, everybody gets there, and a restart changes nothing."""

from __future__ import annotations

import random

import pytest

from odradek.broker.coordinator.timeline import Timeline
from odradek.broker.groups.consumer.group import ConsumerGroup
from odradek.broker.groups.consumer.member import ConsumerMember, MemberState
from odradek.broker.groups.consumer.reconciliation import Step, next_step
from odradek.wire.errors import ErrorCode, KafkaError
from tests.unit.broker.coordinator.fake_log import FakeLog
from tests.unit.broker.groups.consumer.scene import HEARTBEAT_MS, Consumers, Member, state
from tests.unit.broker.groups.scene import SHARD

TOPICS = ("a1", "a2", "b1", "b2")
REGEXES = ("a.*", ".*2", "b1|a1", "")


class Walk:
    """Members that come, go, change their minds, miss answers and hesitate to give partitions up."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.scene = Consumers({"a1": 3, "b1": 2}, seed=seed)
        self.members: list[Member] = []

    def step(self) -> None:
        choice = self.random.randrange(20)
        if choice == 0 or not self.members:
            self.join()
        elif choice == 1:
            self.leave()
        elif choice == 2:
            self.change_topics()
        elif choice == 3:
            self.subscribe()
        elif choice == 4:
            self.scene.world.advance(HEARTBEAT_MS)
        elif choice == 5:
            self.scene.restart()
        else:
            self.beat(self.random.choice(self.members))
        self.check()

    def join(self) -> None:
        if len(self.members) == 6:
            return
        instances = [None, None, "i1", "i2"]
        taken = [member.instance for member in self.members]
        instance = self.random.choice([name for name in instances if name is None or name not in taken])
        topics = self.random.sample(TOPICS, self.random.randrange(3))
        member = self.scene.member(*topics, regex=self.random.choice(REGEXES), instance=instance)
        answer = member.join(server_assignor=self.random.choice([None, "range", "uniform"]))
        assert answer.error_code == ErrorCode.NONE, answer.error_message
        self.members.append(member)

    def leave(self) -> None:
        member = self.members.pop(self.random.randrange(len(self.members)))
        assert member.leave(self.random.choice([-1, -2]) if member.instance else -1) == ErrorCode.NONE

    def change_topics(self) -> None:
        topic = self.random.choice(TOPICS)
        image = self.scene.image.topics.by_name.get(topic)
        if image is None:
            self.scene.put_topic(topic, self.random.randrange(1, 5))
        elif self.random.random() < 0.5:
            self.scene.put_topic(topic, len(image.partitions) + 1)
        else:
            self.scene.remove_topic(topic)

    def subscribe(self) -> None:
        member = self.random.choice(self.members)
        topics = self.random.sample(TOPICS, self.random.randrange(3))
        member.beat(subscribed_topic_names=topics, subscribed_topic_regex=self.random.choice(REGEXES))

    def beat(self, member: Member) -> None:
        """Mostly do as told; now and then hold on to what was owned, or miss the answer."""
        before, epoch = dict(member.owned), member.epoch
        answer = member.beat()
        if answer.error_code != ErrorCode.NONE:
            self.members.remove(member)
            return
        mood = self.random.random()
        if mood < 0.15:
            member.owned = {
                topic: [index for index in indexes if index in before.get(topic, ())]
                for topic, indexes in {**before, **{key: [] for key in member.owned}}.items()
            }
            member.owned = {topic: indexes for topic, indexes in member.owned.items() if indexes}
        elif mood < 0.25:
            member.owned, member.epoch = before, epoch
            if member.beat(rebalance_timeout_ms=5000, subscribed_topic_regex="").error_code != ErrorCode.NONE:
                self.members.remove(member)

    def check(self) -> None:
        owners: dict[tuple[bytes, int], str] = {}
        for member in self.members:
            if self.scene.group.members.get(member.member_id) is None:
                continue
            for topic, indexes in member.owned.items():
                for index in indexes:
                    assert (topic, index) not in owners, "two members own a partition"
                    owners[topic, index] = member.member_id
        held: dict[tuple[bytes, int], str] = {}
        for member_id, known in self.scene.group.members.items():
            for partitions in (known.assigned, known.pending_revocation):
                for topic, epochs in partitions.items():
                    for index in epochs:
                        assert (topic, index) not in held, "two members were given a partition"
                        held[topic, index] = member_id


@pytest.mark.parametrize("seed", range(12))
def test_members_never_share_a_partition_and_get_there_in_the_end(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(250):
        walk.step()
    for _ in range(60):
        for member in list(walk.members):
            if member.beat().error_code != ErrorCode.NONE:
                walk.members.remove(member)
        walk.scene.world.advance(HEARTBEAT_MS)
    assert walk.scene.describe_consumers().group_state == ("Stable" if len(walk.scene.group.members) else "Empty")
    walk.check()


@pytest.mark.parametrize("seed", range(12, 20))
def test_any_prefix_of_the_log_is_the_state_that_was(seed: int) -> None:
    walk = Walk(seed)
    states: dict[int, object] = {}
    for _ in range(120):
        walk.step()
        walk.scene.world.advance(0)
        states[len(walk.scene.log.batches.get(SHARD, []))] = state(walk.scene.shard)
    for count in sorted(states)[::5]:
        log: FakeLog = walk.scene.log.prefix(SHARD, count)
        copy = Consumers(log=log)
        assert state(copy.shard) == states[count]


def test_a_member_in_a_state_of_a_newer_broker_begins_anew() -> None:
    topic = bytes(16)
    member = ConsumerMember("m", epoch=3, state=MemberState(9), assigned={topic: {0: 3}})
    assert member.state is MemberState.UNKNOWN
    step = Step(5, {topic: (0, 1)}, {topic: 2}, False, None, lambda _topic, index: 3 if index == 0 else None)
    with pytest.raises(KafkaError) as caught:
        next_step(member, step)
    assert caught.value.code is ErrorCode.FENCED_MEMBER_EPOCH
    fresh = next_step(member, step._replace(owned={}))
    assert (fresh.epoch, fresh.state, fresh.assigned) == (5, MemberState.STABLE, {topic: {0: 3, 1: 5}})


def test_a_member_that_owned_nothing_of_what_it_loses_goes_on_at_once() -> None:
    topic = bytes(16)
    member = ConsumerMember("m", epoch=3, assigned={topic: {0: 3, 1: 3}})
    step = Step(4, {topic: (0,)}, {topic: 2}, False, {topic: [0]}, lambda _topic, _index: 3)
    stepped = next_step(member, step)
    assert (stepped.epoch, stepped.state, stepped.assigned) == (4, MemberState.STABLE, {topic: {0: 3}})
    assert next_step(member, step._replace(owned=None)).state is MemberState.UNREVOKED_PARTITIONS


def test_what_is_given_up_is_free_for_the_member_itself() -> None:
    topic = bytes(16)
    member = ConsumerMember(
        "m",
        epoch=3,
        state=MemberState.UNREVOKED_PARTITIONS,
        assigned={topic: {0: 3}},
        pending_revocation={topic: {1: 3}},
    )
    step = Step(5, {topic: (0, 1)}, {topic: 2}, False, {topic: [0]}, lambda _topic, _index: 3)
    stepped = next_step(member, step)
    assert (stepped.state, stepped.assigned) == (MemberState.STABLE, {topic: {0: 3, 1: 5}})


def test_topics_that_are_not_read_any_more_are_given_up_beside_what_was_to_be() -> None:
    orders, bills = bytes(16), bytes(15) + b"\1"
    member = ConsumerMember(
        "m",
        epoch=3,
        state=MemberState.UNREVOKED_PARTITIONS,
        assigned={orders: {0: 3}, bills: {0: 3}},
        pending_revocation={orders: {1: 2}, bills: {1: 2}},
    )
    step = Step(3, {orders: (0,)}, {orders: 2}, True, {orders: [0, 1], bills: [0]}, lambda _topic, _index: 3)
    stepped = next_step(member, step)
    assert (stepped.epoch, stepped.state) == (3, MemberState.UNREVOKED_PARTITIONS)
    assert stepped.assigned == {orders: {0: 3}}
    assert stepped.pending_revocation == {orders: {1: 2}, bills: {0: 3, 1: 2}}


@pytest.mark.parametrize("owned", [None, {b"\1" * 16: [0]}])
def test_a_member_that_reads_less_gives_up_ahead_of_a_new_target(owned: dict[bytes, list[int]] | None) -> None:
    topic = b"\1" * 16
    member = ConsumerMember("m", epoch=3, assigned={topic: {0: 3}})
    stepped = next_step(member, Step(3, {topic: (0,)}, {}, True, owned, lambda _topic, _index: 3))
    assert (stepped.state, stepped.assigned) == (MemberState.UNREVOKED_PARTITIONS, {})
    assert stepped.pending_revocation == {topic: {0: 3}}


def test_a_log_whose_records_a_cleaner_has_thinned_out_shows_the_later_owner() -> None:
    """Of each key the last record is left, so that an earlier owner's may come behind a later one's."""
    topic = bytes(16)
    group = ConsumerGroup("g", Timeline())
    group.replay_member(ConsumerMember("early", epoch=5, assigned={topic: {0: 5}}))
    group.replay_member(ConsumerMember("late", epoch=6, assigned={topic: {0: 6}}))
    assert group.holding_epoch(topic, 0) == 6
    group.replay_member(ConsumerMember("early", epoch=7))
    assert group.holding_epoch(topic, 0) == 6
    group.replay_member(ConsumerMember("other", epoch=4, assigned={topic: {0: 4}}))
    assert group.holding_epoch(topic, 0) == 6
    group.replay_member_gone("late")
    assert group.holding_epoch(topic, 0) is None
