"""Offsets of partitions, asked of their leaders."""

from __future__ import annotations

from collections.abc import Iterable

from odradek.cli.session import check
from odradek.net.client import Client
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from odradek.wire.messages.metadata import MetadataResponseTopic

EARLIEST = -2
LATEST = -1
TIMEOUT_MS = 30_000


async def list_offsets(
    client: Client, topic: MetadataResponseTopic, timestamp: int, partitions: Iterable[int] | None = None
) -> dict[int, int]:
    """The offset of `timestamp` (milliseconds, `EARLIEST` or `LATEST`) by partition; raises KafkaError, ClientError."""
    wanted = None if partitions is None else set(partitions)
    by_leader: dict[int, list[int]] = {}
    for partition in topic.partitions:
        if wanted is None or partition.partition_index in wanted:
            check(partition.error_code)
            by_leader.setdefault(partition.leader_id, []).append(partition.partition_index)
    offsets: dict[int, int] = {}
    for leader_id, numbers in by_leader.items():
        asked = [ListOffsetsPartition(partition_index=number, timestamp=timestamp) for number in numbers]
        request = ListOffsetsRequest(
            replica_id=-1,
            topics=[ListOffsetsTopic(name=topic.name or "", partitions=asked)],
            timeout_ms=TIMEOUT_MS,
        )
        response = await client.send(request, ListOffsetsResponse, node_id=leader_id)
        for found in response.topics[0].partitions:
            check(found.error_code)
            offsets[found.partition_index] = found.offset
    return dict(sorted(offsets.items()))
