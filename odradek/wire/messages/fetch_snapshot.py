"""FetchSnapshot (API key 59): request and response."""

from __future__ import annotations

from odradek.wire.schema import (
    INT16,
    INT32,
    INT64,
    RECORDS,
    STRING,
    UINT16,
    UUID,
    Message,
    Records,
    Struct,
    array,
    field,
    nested,
)
from odradek.wire.uuids import Uuid


class FetchSnapshotRequestSnapshotId(Struct):
    end_offset: int = field(INT64, "0+")
    epoch: int = field(INT32, "0+")


class FetchSnapshotRequestPartitionSnapshot(Struct):
    partition: int = field(INT32, "0+")
    current_leader_epoch: int = field(INT32, "0+")
    snapshot_id: FetchSnapshotRequestSnapshotId = field(nested(FetchSnapshotRequestSnapshotId), "0+")
    position: int = field(INT64, "0+")
    replica_directory_id: Uuid = field(UUID, "1+", tag=0, ignorable=True)


class FetchSnapshotRequestTopicSnapshot(Struct):
    name: str = field(STRING, "0+")
    partitions: list[FetchSnapshotRequestPartitionSnapshot] = field(array(FetchSnapshotRequestPartitionSnapshot), "0+")


class FetchSnapshotRequest(
    Message, kind="request", api_key=59, versions="0-1", flexible="0+", listeners=("controller",)
):
    cluster_id: str | None = field(STRING, "0+", nullable="0+", default=None, tag=0)
    replica_id: int = field(INT32, "0+", default=-1)
    max_bytes: int = field(INT32, "0+", default=2147483647)
    topics: list[FetchSnapshotRequestTopicSnapshot] = field(array(FetchSnapshotRequestTopicSnapshot), "0+")


class FetchSnapshotResponseSnapshotId(Struct):
    end_offset: int = field(INT64, "0+")
    epoch: int = field(INT32, "0+")


class LeaderIdAndEpoch(Struct):
    leader_id: int = field(INT32, "0+")
    leader_epoch: int = field(INT32, "0+")


class FetchSnapshotResponsePartitionSnapshot(Struct):
    index: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    snapshot_id: FetchSnapshotResponseSnapshotId = field(nested(FetchSnapshotResponseSnapshotId), "0+")
    current_leader: LeaderIdAndEpoch = field(nested(LeaderIdAndEpoch), "0+", tag=0)
    size: int = field(INT64, "0+")
    position: int = field(INT64, "0+")
    unaligned_records: Records = field(RECORDS, "0+")


class FetchSnapshotResponseTopicSnapshot(Struct):
    name: str = field(STRING, "0+")
    partitions: list[FetchSnapshotResponsePartitionSnapshot] = field(
        array(FetchSnapshotResponsePartitionSnapshot), "0+"
    )


class NodeEndpoint(Struct):
    node_id: int = field(INT32, "1+", map_key=True)
    host: str = field(STRING, "1+")
    port: int = field(UINT16, "1+")


class FetchSnapshotResponse(Message, kind="response", api_key=59, versions="0-1", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+", ignorable=True)
    error_code: int = field(INT16, "0+")
    topics: list[FetchSnapshotResponseTopicSnapshot] = field(array(FetchSnapshotResponseTopicSnapshot), "0+")
    node_endpoints: list[NodeEndpoint] = field(array(NodeEndpoint), "1+", tag=0)
