"""Running a plan of reassignments over a cluster's own requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from odradek.cli.rebalance_plan import Assignment, Change, plan
from odradek.cli.session import check, explain
from odradek.net.client import Client
from odradek.wire import ErrorCode
from odradek.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignableTopic,
)
from odradek.wire.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse, TopicPartitions
from odradek.wire.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)

REQUEST_TIMEOUT_MS = 30_000
POLL_SECONDS = 0.5
PREFERRED = 0
"""The election type of ElectLeaders that makes the first replica the leader."""


async def plan_for(client: Client, drained: Collection[int] = ()) -> tuple[list[Assignment], list[Change]]:
    """All partitions, and those that are to change, so that brokers have alike many and those `drained` none.

    Raises ValueError while others are being reassigned, or if too few brokers remain.
    """
    under_way = await _under_way(client)
    if under_way:
        topic, partition = next(iter(under_way))
        raise ValueError(f"reassignments are under way, such as that of {topic}-{partition}: wait until they are done")
    metadata = await client.metadata(None)
    racks = {broker.node_id: broker.rack for broker in metadata.brokers}
    assignments = [
        Assignment(topic.name or "", partition.partition_index, tuple(partition.replica_nodes))
        for topic in metadata.topics
        for partition in topic.partitions
    ]
    return assignments, plan(assignments, racks, drained)


async def _under_way(client: Client) -> dict[tuple[str, int], None]:
    """The partitions that are being reassigned."""
    request = ListPartitionReassignmentsRequest(timeout_ms=REQUEST_TIMEOUT_MS, topics=None)
    response = await client.send(request, ListPartitionReassignmentsResponse)
    check(response.error_code, response.error_message)
    return {(topic.name, each.partition_index): None for topic in response.topics for each in topic.partitions}


class Rebalancing:
    """The changes on their way: those that copy nothing at once, the others a few at a time."""

    def __init__(self, client: Client, concurrency: int, advance: Callable[[int], None]) -> None:
        """At most `concurrency` partitions are copied at once; `advance` is told how many more are done."""
        self._client = client
        self._concurrency = concurrency
        self._advance = advance
        self._failures: list[str] = []

    async def run(self, changes: Sequence[Change]) -> list[str]:
        """Returns what could not be changed, in words."""
        ordered = [change for change in changes if not change.added]
        accepted = await self._begin(ordered)
        self._advance(len(ordered))
        accepted += await self._copy([change for change in changes if change.added])
        await self._elect([change for change in accepted if change.before.replicas[0] != change.replicas[0]])
        return self._failures

    async def _copy(self, changes: Sequence[Change]) -> list[Change]:
        """Return, once they are done, those that were accepted."""
        taken: list[Change] = []
        waiting = list(reversed(changes))
        copying: dict[tuple[str, int], None] = {}
        while waiting or copying:
            begun = [waiting.pop() for _ in range(min(len(waiting), self._concurrency - len(copying)))]
            accepted = await self._begin(begun)
            taken += accepted
            self._advance(len(begun) - len(accepted))
            copying.update((_key(change), None) for change in accepted)
            await asyncio.sleep(POLL_SECONDS)
            under_way = await _under_way(self._client)
            done = [key for key in copying if key not in under_way]
            for key in done:
                del copying[key]
            self._advance(len(done))
        return taken

    async def _begin(self, changes: Sequence[Change]) -> list[Change]:
        """Ask for reassignments; those that were accepted."""
        if not changes:
            return []
        topics: dict[str, list[ReassignablePartition]] = {}
        for change in changes:
            wanted = ReassignablePartition(partition_index=change.before.partition, replicas=list(change.replicas))
            topics.setdefault(change.before.topic, []).append(wanted)
        request = AlterPartitionReassignmentsRequest(
            timeout_ms=REQUEST_TIMEOUT_MS,
            topics=[ReassignableTopic(name=name, partitions=partitions) for name, partitions in topics.items()],
        )
        response = await self._client.send(request, AlterPartitionReassignmentsResponse)
        check(response.error_code, response.error_message)
        refused: dict[tuple[str, int], None] = {}
        for topic in response.responses:
            for each in topic.partitions:
                if each.error_code:
                    refused[topic.name, each.partition_index] = None
                    self._fail(topic.name, each.partition_index, explain(each.error_code, each.error_message))
        return [change for change in changes if _key(change) not in refused]

    async def _elect(self, changes: Sequence[Change]) -> None:
        """Let the first replicas lead."""
        if not changes:
            return
        topics: dict[str, list[int]] = {}
        for change in changes:
            topics.setdefault(change.before.topic, []).append(change.before.partition)
        request = ElectLeadersRequest(
            election_type=PREFERRED,
            topic_partitions=[TopicPartitions(topic=name, partitions=each) for name, each in topics.items()],
            timeout_ms=REQUEST_TIMEOUT_MS,
        )
        response = await self._client.send(request, ElectLeadersResponse)
        check(response.error_code)
        for topic in response.replica_election_results:
            for each in topic.partition_result:
                if each.error_code not in (ErrorCode.NONE, ErrorCode.ELECTION_NOT_NEEDED):
                    self._fail(topic.topic, each.partition_id, explain(each.error_code, each.error_message))

    def _fail(self, topic: str, partition: int, why: str) -> None:
        self._failures.append(f"{topic}-{partition}: {why}")


def _key(change: Change) -> tuple[str, int]:
    return change.before.topic, change.before.partition
