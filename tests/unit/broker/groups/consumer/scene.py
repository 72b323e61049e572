"""Consumer groups on one shard: topics that come and go, members of both protocols, a log, and a clock."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.consumer.environment import ConsumerGroupConfig, Environment, TopicsChange
from odradek.broker.groups.consumer.group import ConsumerGroup
from odradek.broker.groups.consumer.heartbeat import Beat
from odradek.broker.groups.consumer.member import ConsumerMember
from odradek.broker.groups.options import GroupOptions
from odradek.broker.groups.service import GroupCoordinator
from odradek.broker.groups.shard import GroupShard
from odradek.metadata.image import (
    BrokerRegistration,
    ClusterImage,
    MetadataImage,
    PartitionImage,
    TopicImage,
    TopicsImage,
)
from odradek.metadata.persistent_map import PersistentMap
from odradek.ports import Promise
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.consumer_group_describe import DescribedGroup
from odradek.wire.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatRequestTopicPartitions,
    ConsumerGroupHeartbeatResponse,
)
from odradek.wire.uuids import Uuid
from tests.unit.broker.coordinator.fake_log import FakeLog
from tests.unit.broker.groups.scene import GROUP, SHARD, Groups

SESSION_MS = 10_000
HEARTBEAT_MS = 1000
REBALANCE_MS = 5000
NO_INTERVAL = ConsumerGroupConfig(SESSION_MS, HEARTBEAT_MS, assignment_interval_ms=0)


class Consumers(Groups):
    """The coordinator with topics to assign."""

    def __init__(
        self,
        topics: dict[str, int] | None = None,
        options: GroupOptions | None = None,
        log: FakeLog | None = None,
        seed: int = 0,
    ) -> None:
        self.image = MetadataImage.empty()._replace(offset=1)
        self.config = NO_INTERVAL
        self.hidden: tuple[str, ...] = ()
        """Topics that members may not see."""
        self.look_ms = 0.0
        """How long it takes to find out whether a member may see a topic."""
        self._new_topics = 0
        for name, partitions in (topics or {}).items():
            self._put(name, partitions)
        super().__init__(options, log, seed)

    def _coordinator(self) -> GroupCoordinator:
        return GroupCoordinator(
            writer=self.log,
            options=self.options,
            clock=self.world,
            scheduler=self.world,
            random=self.world,
            environment=Environment(lambda: self.image, lambda _: self.config),
        )

    @property
    def shard(self) -> GroupShard:
        """The state machine."""
        found: list[GroupShard] = []
        self.answer(self.coordinator.runtime.read(SHARD, found.append))
        return found[0]

    @property
    def group(self) -> ConsumerGroup:
        """The group of most tests."""
        group = self.shard.table.groups.get(GROUP)
        assert isinstance(group, ConsumerGroup)
        return group

    def put_topic(self, name: str, partitions: int) -> Uuid:
        """Create a topic, or give it more partitions."""
        is_new = self._put(name, partitions)
        self.coordinator.topics_changed(TopicsChange(frozenset((name,)), (), is_new))
        return self.image.topics.by_name[name].id

    def remove_topic(self, name: str) -> None:
        """Delete a topic."""
        topics = self.image.topics
        topic_id = topics.by_name[name].id
        by_name = PersistentMap({key: topic for key, topic in topics.by_name.items() if key != name})
        by_id = PersistentMap({key: topic for key, topic in topics.by_id.items() if key != topic_id})
        self.image = self.image._replace(offset=self.image.offset + 1, topics=TopicsImage(by_name, by_id))
        self.coordinator.topics_changed(TopicsChange(frozenset((name,)), (name,), has_new=False))

    def set_racks(self, *racks: str | None) -> None:
        """Brokers 0, 1, ... are in these racks."""
        brokers = {
            index: BrokerRegistration(index, 1, bytes(16), {}, {}, rack, False, False, (), None)
            for index, rack in enumerate(racks)
        }
        self.image = self.image._replace(cluster=ClusterImage(brokers=PersistentMap(brokers)))

    def id_of(self, topic: str) -> Uuid:
        return self.image.topics.by_name[topic].id

    def member(self, *topics: str, **options: object) -> Member:
        """A member that has yet to join."""
        return Member(self, topics, **options)  # type: ignore[arg-type]  # passed on as they are

    def may_describe(self, topic: str) -> bool:
        """Whether members may see a topic."""
        self.world.advance_clock(self.look_ms)
        return topic not in self.hidden

    def describe_consumers(self, group: str = GROUP) -> DescribedGroup:
        return self.worked_out(self.coordinator.describe_consumers([group], self.slices()))[0]

    def settle(self, *members: Member, rounds: int = 20) -> None:
        """Let members beat until they all have their targets."""
        for _ in range(rounds):
            for member in members:
                assert member.beat().error_code == ErrorCode.NONE
        assert self.describe_consumers(members[0].group).group_state == "Stable"

    def _put(self, name: str, partitions: int) -> bool:
        topics = self.image.topics
        known = topics.by_name.get(name)
        self._new_topics += known is None
        topic_id = known.id if known is not None else self._new_topics.to_bytes(16, "big")
        images = {index: PartitionImage((index % 3,), (index % 3,), 0, 0, 0) for index in range(partitions)}
        topic = TopicImage(name, topic_id, PersistentMap(images))
        by_name = PersistentMap({**dict(topics.by_name.items()), name: topic})
        by_id = PersistentMap({**dict(topics.by_id.items()), topic_id: topic})
        self.image = self.image._replace(offset=self.image.offset + 1, topics=TopicsImage(by_name, by_id))
        return known is None


class Member:
    """A member of the consumer protocol; what it owns is what it was told last, once it says so."""

    count = 0

    def __init__(
        self,
        scene: Consumers,
        topics: Sequence[str] = (),
        *,
        regex: str | None = None,
        instance: str | None = None,
        assignor: str | None = None,
        group: str = GROUP,
    ) -> None:
        Member.count += 1
        self.scene = scene
        self.topics: list[str] | None = list(topics)
        self.regex = regex
        self.instance = instance
        self.assignor = assignor
        self.group = group
        self.member_id = f"member-{Member.count}"
        self.epoch = 0
        self.owned: dict[Uuid, list[int]] = {}

    @property
    def count_owned(self) -> int:
        return sum(len(partitions) for partitions in self.owned.values())

    def send(self, **changes: object) -> Promise[ConsumerGroupHeartbeatResponse]:
        """A heartbeat with just these fields beside ids and epoch."""
        fields: dict[str, object] = {
            "group_id": self.group,
            "member_id": self.member_id,
            "member_epoch": self.epoch,
            "instance_id": self.instance,
            **changes,
        }
        request = ConsumerGroupHeartbeatRequest(**fields)  # type: ignore[arg-type]  # fields by name
        beat = Beat(request, "client", "/127.0.0.1", self.scene.may_describe)
        return self.scene.coordinator.consumer_heartbeat(beat, 1)

    def ask(self, **changes: object) -> ErrorCode:
        """The same; only the error of the answer."""
        return ErrorCode(self.scene.answer(self.send(**changes)).error_code)

    def join(self, **changes: object) -> ConsumerGroupHeartbeatResponse:
        self.epoch, self.owned = 0, {}
        fields: dict[str, object] = {
            "rebalance_timeout_ms": REBALANCE_MS,
            "subscribed_topic_names": self.topics,
            "subscribed_topic_regex": self.regex,
            "server_assignor": self.assignor,
            "topic_partitions": [],
            **changes,
        }
        return self.take(self.scene.answer(self.send(**fields)))

    def beat(self, **changes: object) -> ConsumerGroupHeartbeatResponse:
        """Say what is owned, and take what comes."""
        owned = [
            ConsumerGroupHeartbeatRequestTopicPartitions(topic_id=topic_id, partitions=list(partitions))
            for topic_id, partitions in self.owned.items()
        ]
        return self.take(self.scene.answer(self.send(topic_partitions=owned, **changes)))

    def leave(self, epoch: int = -1) -> ErrorCode:
        return self.ask(member_epoch=epoch)

    def take(self, answer: ConsumerGroupHeartbeatResponse) -> ConsumerGroupHeartbeatResponse:
        """Do as the broker says."""
        if answer.error_code == ErrorCode.NONE:
            self.epoch = answer.member_epoch
            if answer.assignment is not None:
                self.owned = {topic.topic_id: sorted(topic.partitions) for topic in answer.assignment.topic_partitions}
        return answer


def state(shard: GroupShard) -> object:
    """Everything that a shard knows of its groups, but for timers and answers that are owed."""
    return {group_id: _state(group) for group_id, group in sorted(shard.table.groups.items())}


def _state(group: ConsumerGroup | ClassicGroup) -> object:
    if isinstance(group, ClassicGroup):
        members = {name: (member.assignment, member.group_instance_id) for name, member in group.members.items()}
        return (group.generation, group.protocol_type, members)
    subscriptions = group.subscriptions
    return (
        group.head,
        {name: _normal(member) for name, member in sorted(group.members.items())},
        {name: {topic: target[topic] for topic in sorted(target)} for name, target in sorted(group.targets.items())},
        dict(sorted(group.regexes.items())),
        dict(sorted(group.static_members.items())),
        [
            dict(sorted(counts.items()))
            for counts in (subscriptions.topics, subscriptions.regexes, subscriptions.assignors)
        ],
        group.classic_count,
        {
            (topic, index): group.holding_epoch(topic, index)
            for _, member in group.members.items()
            for topic, held in (*member.assigned.items(), *member.pending_revocation.items())
            for index in held
        },
    )


def _normal(member: ConsumerMember) -> ConsumerMember:
    return member._replace(
        assigned={topic: dict(sorted(held.items())) for topic, held in sorted(member.assigned.items())},
        pending_revocation={
            topic: dict(sorted(held.items())) for topic, held in sorted(member.pending_revocation.items())
        },
    )
