"""Running a plan: what is asked of a cluster, and when."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from odradek.cli import rebalancing
from odradek.cli.rebalancing import Rebalancing, plan_for
from odradek.net.client import Client
from odradek.wire import ErrorCode, Message
from odradek.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)
from odradek.wire.messages.elect_leaders import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    PartitionResult,
    ReplicaElectionResult,
)
from odradek.wire.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment,
    OngoingTopicReassignment,
)
from odradek.wire.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

POLLS_TO_COPY = 3


class Cluster:
    """Takes some polls to copy a partition; whatever else is wrong with it is set from outside."""

    def __init__(self, partitions: list[list[int]], brokers: int) -> None:
        self.replicas = dict(enumerate(partitions))
        self.leaders = {index: replicas[0] for index, replicas in self.replicas.items()}
        self.brokers = brokers
        self.copying: dict[int, int] = {}
        self.most_copying = 0
        self.refused: dict[int, ErrorCode] = {}

    async def metadata(self, _topics: None) -> MetadataResponse:
        partitions = [
            MetadataResponsePartition(partition_index=index, leader_id=self.leaders[index], replica_nodes=replicas)
            for index, replicas in self.replicas.items()
        ]
        return MetadataResponse(
            brokers=[MetadataResponseBroker(node_id=each + 1, host="h", port=1) for each in range(self.brokers)],
            topics=[MetadataResponseTopic(name="t", partitions=partitions)],
        )

    async def send(self, request: Message, _response: type[Message]) -> Message:
        if isinstance(request, ListPartitionReassignmentsRequest):
            return self._list()
        if isinstance(request, AlterPartitionReassignmentsRequest):
            return self._alter(request)
        assert isinstance(request, ElectLeadersRequest)
        return self._elect(request)

    def _list(self) -> ListPartitionReassignmentsResponse:
        self.copying = {index: left - 1 for index, left in self.copying.items() if left > 1}
        ongoing = [OngoingPartitionReassignment(partition_index=index) for index in self.copying]
        topics = [OngoingTopicReassignment(name="t", partitions=ongoing)] if ongoing else []
        return ListPartitionReassignmentsResponse(topics=topics)

    def _alter(self, request: AlterPartitionReassignmentsRequest) -> AlterPartitionReassignmentsResponse:
        results = []
        for each in request.topics[0].partitions:
            index, code = each.partition_index, self.refused.get(each.partition_index, ErrorCode.NONE)
            results.append(ReassignablePartitionResponse(partition_index=index, error_code=code))
            if code is ErrorCode.NONE:
                assert each.replicas is not None
                if set(each.replicas) != set(self.replicas[index]):
                    self.copying[index] = POLLS_TO_COPY
                self.replicas[index] = list(each.replicas)
                if self.leaders[index] not in each.replicas:
                    self.leaders[index] = each.replicas[0]
        self.most_copying = max(self.most_copying, len(self.copying))
        return AlterPartitionReassignmentsResponse(responses=[ReassignableTopicResponse(name="t", partitions=results)])

    def _elect(self, request: ElectLeadersRequest) -> ElectLeadersResponse:
        assert request.election_type == 0
        assert request.topic_partitions is not None
        assert not self.copying
        results = []
        for index in request.topic_partitions[0].partitions:
            code = self.refused.get(index, ErrorCode.NONE)
            if self.leaders[index] == self.replicas[index][0]:
                code = ErrorCode.ELECTION_NOT_NEEDED
            if code is ErrorCode.NONE:
                self.leaders[index] = self.replicas[index][0]
            results.append(PartitionResult(partition_id=index, error_code=code))
        return ElectLeadersResponse(
            replica_election_results=[ReplicaElectionResult(topic="t", partition_result=results)]
        )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebalancing, "POLL_SECONDS", 0.0)


def run(cluster: Cluster, concurrency: int = 2) -> tuple[list[str], int]:
    """What could not be done, and how many partitions were told to be."""
    done: list[int] = []

    async def whole() -> list[str]:
        client = cast(Client, cluster)
        _assignments, changes = await plan_for(client)
        failures = await Rebalancing(client, concurrency, done.append).run(changes)
        assert sum(done) == len(changes)
        return failures

    return asyncio.run(whole()), sum(done)


def test_a_few_are_copied_at_a_time_and_then_all_lead_alike_many() -> None:
    cluster = Cluster([[1, 2]] * 12, 3)
    assert run(cluster) == ([], 10)
    held = [sum(broker in replicas for replicas in cluster.replicas.values()) for broker in (1, 2, 3)]
    led = [list(cluster.leaders.values()).count(broker) for broker in (1, 2, 3)]
    assert (held, led) == ([8, 8, 8], [4, 4, 4])
    assert cluster.most_copying == 2
    assert run(cluster) == ([], 0)


def test_what_is_refused_is_told_and_the_rest_goes_on() -> None:
    cluster = Cluster([[1], [1], [1], [1]], 2)
    cluster.refused = {0: ErrorCode.INVALID_REPLICA_ASSIGNMENT}
    failures, done = run(cluster)
    assert done == 2
    assert [failure.partition(": ")[0] for failure in failures] == ["t-0"]
    assert cluster.leaders == {0: 1, 1: 2, 2: 1, 3: 1}


def test_nothing_is_planned_while_others_reassign() -> None:
    cluster = Cluster([[1], [1]], 2)
    cluster.copying = {1: 9}
    with pytest.raises(ValueError, match="reassignments are under way, such as that of t-1"):
        run(cluster)
