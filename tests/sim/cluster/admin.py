"""An admin who elects leaders, moves replicas, and makes and deletes topics while all goes on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from odradek.metadata.image import MetadataImage
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignableTopic,
)
from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse, TopicPartitions
from tests.sim.cluster.client import Client
from tests.sim.cluster.named import ANSWERED

_PREFERRED = 0
_TIMEOUT_MS = 5000
_MAX_TOPICS = 4
_FEWEST_REPLICAS = 2


class Admin:
    """Does one thing after the other, and remembers what was answered."""

    def __init__(self, client: Client, brokers: Sequence[int], partitions: int, pause_ms: float) -> None:
        self.client = client
        self.is_stopping = False
        self._brokers = list(brokers)
        self._partitions = partitions
        self._pause_ms = pause_ms
        self._names = (f"x{number}" for number in itertools.count(1))
        self._there: dict[str, bool] = {}
        """Topics, and whether they are there; not in here if nobody knows."""

    async def run(self) -> None:
        """Until `is_stopping`."""
        client = self.client
        while not self.is_stopping:
            await client.sleep(self._pause_ms * 2 * client.random.random())
            action = client.random.choice([self._elect, self._reassign, self._reassign, self._create, self._delete])
            try:
                await action()
            except KafkaError:
                await client.sleep(100)

    def check(self, image: MetadataImage, who: str, on_violation: Callable[[str, str], None]) -> None:
        """What was answered must have come to be, and stay."""
        for name, is_there in self._there.items():
            if (name in image.topics.by_name) != is_there:
                said = "created" if is_there else "deleted"
                on_violation(ANSWERED, f"{who}: topic {name}, which was said to be {said}, is not")

    async def _elect(self) -> None:
        topics = [TopicPartitions(topic=self.client.topic, partitions=list(range(self._partitions)))]
        request = ElectLeadersRequest(election_type=_PREFERRED, topic_partitions=topics, timeout_ms=_TIMEOUT_MS)
        await self.client.ask(self.client.any_node(), request, ElectLeadersResponse)

    async def _reassign(self) -> None:
        """Move one partition, or take back what is under way."""
        random = self.client.random
        count = random.randint(min(_FEWEST_REPLICAS, len(self._brokers)), min(3, len(self._brokers)))
        replicas = random.sample(self._brokers, count) if random.random() < 0.8 else None
        wanted = ReassignablePartition(partition_index=random.randrange(self._partitions), replicas=replicas)
        request = AlterPartitionReassignmentsRequest(
            topics=[ReassignableTopic(name=self.client.topic, partitions=[wanted])], timeout_ms=_TIMEOUT_MS
        )
        await self.client.ask(self.client.any_node(), request, AlterPartitionReassignmentsResponse)

    async def _create(self) -> None:
        if sum(self._there.values()) >= _MAX_TOPICS:
            return
        name = next(self._names)
        topic = CreatableTopic(name=name, num_partitions=2, replication_factor=min(3, len(self._brokers)))
        request = CreateTopicsRequest(topics=[topic], timeout_ms=_TIMEOUT_MS)
        response = await self.client.ask(self.client.any_node(), request, CreateTopicsResponse)
        if response.topics[0].error_code == ErrorCode.NONE:
            self._there[name] = True

    async def _delete(self) -> None:
        there = [name for name, is_there in self._there.items() if is_there]
        if not there:
            return
        name = self.client.random.choice(there)
        del self._there[name]
        request = DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], timeout_ms=_TIMEOUT_MS)
        response = await self.client.ask(self.client.any_node(), request, DeleteTopicsResponse)
        if response.responses[0].error_code == ErrorCode.NONE:
            self._there[name] = False
