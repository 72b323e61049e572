"""Random lives of brokers and admins under one controller, by a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from odradek.metadata.delta import MetadataDelta
from odradek.metadata.image import NO_LEADER, MetadataImage, PartitionImage, TopicImage
from odradek.metadata.snapshot import to_records
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.alter_partition import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionRequestTopicData,
    AlterPartitionResponse,
    BrokerState,
)
from odradek.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignableTopic,
)
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from odradek.wire.messages.broker_registration import BrokerRegistrationResponse
from odradek.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse, TopicPartitions
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from odradek.wire.messages.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse
from tests.sim.controller.model import BrokenPromiseError, DataModel
from tests.unit.controller.harness import NODE_ID, Disk, Node

BROKERS = (1, 2, 3, 4, 5)
TOPICS = ("a", "b", "c")
TOPIC_RESOURCE = 2
REFUSED_BY_RIGHT = frozenset(
    {
        ErrorCode.NONE,
        ErrorCode.INELIGIBLE_REPLICA,
        ErrorCode.NEW_LEADER_ELECTED,
        ErrorCode.STALE_BROKER_EPOCH,
    }
)
"""What a leader may be answered that proposes what it should."""


class Run:
    """One controller, five brokers that come and go, three topics at most."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        properties = {"leader.imbalance.check.interval.seconds": "30", "unclean.leader.election.interval.ms": "20000"}
        self.node = Node(Disk(), seed=seed % 1000, properties=properties).start()
        self.data = DataModel()
        self._epochs: dict[int, int] = {}
        self._leaving: dict[int, None] = {}
        self._lost: dict[int, int] = {}
        self._clean: dict[int, int] = {}
        self._image = MetadataImage.empty()
        self._steps: list[tuple[int, Callable[[], None]]] = [
            (12, self._heartbeats),
            (3, self._silence),
            (4, self._stop),
            (6, self._start),
            (1, self._unregister),
            (10, self._produce),
            (10, self._shrink),
            (14, self._expand),
            (2, self._recovered),
            (5, self._reassign),
            (2, self._cancel),
            (3, self._elect),
            (1, self._lose_directory),
            (2, self._create),
            (1, self._delete),
            (1, self._configure),
            (1, self._fail_over),
        ]

    def go(self, steps: int) -> None:
        """Take so many random steps; raises BrokenPromiseError or AssertionError."""
        for broker_id in BROKERS:
            self._register(broker_id)
        for _ in range(2):
            self._create()
        self._check()
        weights = [weight for weight, _step in self._steps]
        for _ in range(steps):
            ((_weight, step),) = self._random.choices(self._steps, weights)
            step()
            self._check()
        self._check_replay()

    # Brokers

    def _register(self, broker_id: int) -> None:
        directories = [bytes([broker_id, each]) * 8 for each in (0, 1)]
        request = self.node.registration(
            broker_id, directories=directories, previous_epoch=self._clean.pop(broker_id, -1)
        )
        answer = self.node.send(request, BrokerRegistrationResponse)
        if answer.error_code == ErrorCode.DUPLICATE_BROKER_REGISTRATION:
            return
        self.data.crash(broker_id, self._lost.pop(broker_id, 0))  # that is found out as it starts again
        self._check()
        assert answer.error_code == 0
        self._epochs[broker_id] = answer.broker_epoch
        self._beat(broker_id)

    def _beat(self, broker_id: int, lost: Sequence[bytes] = ()) -> None:
        """Send a heartbeat; a broker that wants to leave goes when it is told to."""
        request = BrokerHeartbeatRequest(
            broker_id=broker_id,
            broker_epoch=self._epochs[broker_id],
            current_metadata_offset=self.node.raft.high_watermark - self._random.choice((1, 1, 1, 3)),
            want_shut_down=broker_id in self._leaving,
            offline_log_dirs=list(lost),
        )
        answer = self.node.send(request, BrokerHeartbeatResponse)
        assert answer.error_code == 0
        if answer.should_shut_down:
            self._clean[broker_id] = self._epochs[broker_id]
            self._gone(broker_id)

    def _gone(self, broker_id: int) -> None:
        del self._epochs[broker_id]
        self._leaving.pop(broker_id, None)

    def _heartbeats(self) -> None:
        for broker_id in list(self._epochs):
            self._beat(broker_id)
        self.node.world.advance(self._random.randrange(3_000))

    def _silence(self) -> None:
        self.node.world.advance(self._random.randrange(12_000))

    def _stop(self) -> None:
        if not self._epochs:
            return
        broker_id = self._random.choice(list(self._epochs))
        if self._random.random() < 0.5:
            self._lost[broker_id] = self._random.randrange(3)
            self._gone(broker_id)
        else:
            self._leaving[broker_id] = None
            self._beat(broker_id)

    def _start(self) -> None:
        dead = [broker_id for broker_id in BROKERS if broker_id not in self._epochs]
        if dead:
            self._register(self._random.choice(dead))

    def _unregister(self) -> None:
        dead = [broker_id for broker_id in BROKERS if broker_id not in self._epochs]
        if dead:
            request = UnregisterBrokerRequest(broker_id=self._random.choice(dead))
            self.node.send(request, UnregisterBrokerResponse)

    def _lose_directory(self) -> None:
        if self._epochs:
            broker_id = self._random.choice(list(self._epochs))
            self._beat(broker_id, lost=[bytes([broker_id, self._random.randrange(2)]) * 8])

    # Leaders

    def _led(self) -> tuple[TopicImage, int, PartitionImage] | None:
        """A partition whose leader is alive."""
        found = [
            (topic, index, partition)
            for topic in self.node.image.topics.by_name.values()
            for index, partition in topic.partitions.items()
            if partition.leader in self._epochs
        ]
        return self._random.choice(found) if found else None

    def _produce(self) -> None:
        for _ in range(3):
            led = self._led()
            if led is not None:
                topic, index, partition = led
                properties = self.node.image.configs.properties(TOPIC_RESOURCE, topic.name)
                self.data.produce((topic.id, index), partition, int(properties["min.insync.replicas"]))

    def _shrink(self) -> None:
        led = self._led()
        if led is not None:
            partition = led[2]
            leaving = self._random.choice(partition.isr)
            if leaving != partition.leader:
                self._propose(*led, [each for each in partition.isr if each != leaving], partition.recovery_state)

    def _expand(self) -> None:
        led = self._led()
        if led is None:
            return
        topic, index, partition = led
        brokers = self.node.image.cluster.brokers
        outside = [
            each
            for each in partition.replicas
            if each not in partition.isr and each in self._epochs and brokers[each].is_online(partition.directory(each))
        ]
        if outside and not partition.recovery_state:
            joining = self._random.choice(outside)
            self.data.fetch((topic.id, index), partition, joining)
            self._propose(*led, [*partition.isr, joining], partition.recovery_state)

    def _recovered(self) -> None:
        led = self._led()
        if led is not None:
            self._propose(*led, list(led[2].isr), 0)

    def _propose(
        self, topic: TopicImage, index: int, partition: PartitionImage, isr: list[int], recovery_state: int
    ) -> None:
        wanted = AlterPartitionRequestPartitionData(
            partition_index=index,
            leader_epoch=partition.leader_epoch,
            partition_epoch=partition.partition_epoch,
            leader_recovery_state=recovery_state,
            new_isr_with_epochs=[BrokerState(broker_id=each, broker_epoch=self._epochs.get(each, 0)) for each in isr],
        )
        request = AlterPartitionRequest(
            broker_id=partition.leader,
            broker_epoch=self._epochs[partition.leader],
            topics=[AlterPartitionRequestTopicData(topic_id=topic.id, partitions=[wanted])],
        )
        answer = self.node.send(request, AlterPartitionResponse)
        code = answer.error_code or answer.topics[0].partitions[0].error_code
        if code not in REFUSED_BY_RIGHT:
            raise BrokenPromiseError(f"{ErrorCode(code).name} for ISR {isr} of {partition}")

    # Admins

    def _some_partition(self) -> tuple[TopicImage, int] | None:
        topics = list(self.node.image.topics.by_name.values())
        if not topics:
            return None
        topic = self._random.choice(topics)
        return topic, self._random.randrange(len(topic.partitions))

    def _reassign(self) -> None:
        self._move(self._random.sample(BROKERS, self._random.choice((1, 2, 3, 3))))

    def _cancel(self) -> None:
        self._move(None)

    def _move(self, replicas: list[int] | None) -> None:
        found = self._some_partition()
        if found is not None:
            wanted = ReassignablePartition(partition_index=found[1], replicas=replicas)
            request = AlterPartitionReassignmentsRequest(
                topics=[ReassignableTopic(name=found[0].name, partitions=[wanted])], timeout_ms=1000
            )
            assert self.node.send(request, AlterPartitionReassignmentsResponse).error_code == 0

    def _elect(self) -> None:
        found = self._some_partition()
        if found is not None:
            topics = [TopicPartitions(topic=found[0].name, partitions=[found[1]])]
            kind = self._random.choice((0, 0, 0, 1))
            request = ElectLeadersRequest(election_type=kind, topic_partitions=topics, timeout_ms=1000)
            assert self.node.send(request, ElectLeadersResponse).error_code == 0

    def _create(self) -> None:
        topic = CreatableTopic(
            name=self._random.choice(TOPICS),
            num_partitions=self._random.choice((1, 2, 3)),
            replication_factor=self._random.choice((1, 2, 3)),
            configs=[CreatableTopicConfig(name="min.insync.replicas", value=self._random.choice("123"))],
        )
        self.node.send(CreateTopicsRequest(topics=[topic], timeout_ms=1000), CreateTopicsResponse)

    def _delete(self) -> None:
        topics = [DeleteTopicState(name=self._random.choice(TOPICS))]
        self.node.send(DeleteTopicsRequest(topics=topics, timeout_ms=1000), DeleteTopicsResponse)

    def _configure(self) -> None:
        name, value = self._random.choice(
            [
                ("min.insync.replicas", self._random.choice("123")),
                ("unclean.leader.election.enable", self._random.choice(("true", "false"))),
            ]
        )
        change = AlterConfigsResource(
            resource_type=TOPIC_RESOURCE,
            resource_name=self._random.choice(TOPICS),
            configs=[AlterableConfig(name=name, config_operation=0, value=value)],
        )
        self.node.send(IncrementalAlterConfigsRequest(resources=[change]), IncrementalAlterConfigsResponse)

    def _fail_over(self) -> None:
        controller, epoch = self.node.controller, self.node.raft.epoch
        controller.leader_changed(None, epoch)
        self.node.world.advance(self._random.randrange(3_000))
        controller.leader_changed(NODE_ID, epoch)
        assert controller.is_active

    # Promises

    def _check(self) -> None:
        before, self._image = self._image, self.node.image
        if not self.node.controller.state.image.same_content(self._image):
            raise BrokenPromiseError("what is committed is not what was decided")
        for topic_id, topic in self._image.topics.by_id.items():
            old = before.topics.by_id.get(topic_id)
            for index, partition in topic.partitions.items():
                self._check_brokers(partition)
                was = None if old is None else old.partitions.get(index)
                if was != partition:
                    self.data.changed((topic_id, index), was, partition)

    def _check_brokers(self, partition: PartitionImage) -> None:
        brokers = self._image.cluster.brokers
        for replica in partition.isr:
            if replica not in brokers or not brokers[replica].is_active:
                raise BrokenPromiseError(f"{replica} is gone and in sync: {partition}")
        if partition.leader != NO_LEADER and not brokers[partition.leader].is_online(
            partition.directory(partition.leader)
        ):
            raise BrokenPromiseError(f"the leader's directory is offline: {partition}")

    def _check_replay(self) -> None:
        """The log, and a snapshot, give the same image."""
        if not Node(self.node.disk).start().image.same_content(self._image):
            raise BrokenPromiseError("a replay of the log gives another image")
        delta = MetadataDelta(MetadataImage.empty())
        delta.replay_all(record.message for record in to_records(self._image))
        if not delta.apply(0, 0).same_content(self._image):
            raise BrokenPromiseError("a snapshot gives another image")
