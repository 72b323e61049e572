"""AssignReplicasToDirs (API key 73): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, INT64, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class AssignReplicasToDirsRequestPartitionData(Struct):
    partition_index: int = field(INT32, "0+")


class AssignReplicasToDirsRequestTopicData(Struct):
    topic_id: Uuid = field(UUID, "0+")
    partitions: list[AssignReplicasToDirsRequestPartitionData] = field(
        array(AssignReplicasToDirsRequestPartitionData), "0+"
    )


class AssignReplicasToDirsRequestDirectoryData(Struct):
    id: Uuid = field(UUID, "0+")
    topics: list[AssignReplicasToDirsRequestTopicData] = field(array(AssignReplicasToDirsRequestTopicData), "0+")


class AssignReplicasToDirsRequest(
    Message, kind="request", api_key=73, versions="0", flexible="0+", listeners=("controller",)
):
    broker_id: int = field(INT32, "0+")
    broker_epoch: int = field(INT64, "0+", default=-1)
    directories: list[AssignReplicasToDirsRequestDirectoryData] = field(
        array(AssignReplicasToDirsRequestDirectoryData), "0+"
    )


class AssignReplicasToDirsResponsePartitionData(Struct):
    partition_index: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")


class AssignReplicasToDirsResponseTopicData(Struct):
    topic_id: Uuid = field(UUID, "0+")
    partitions: list[AssignReplicasToDirsResponsePartitionData] = field(
        array(AssignReplicasToDirsResponsePartitionData), "0+"
    )


class AssignReplicasToDirsResponseDirectoryData(Struct):
    id: Uuid = field(UUID, "0+")
    topics: list[AssignReplicasToDirsResponseTopicData] = field(array(AssignReplicasToDirsResponseTopicData), "0+")


class AssignReplicasToDirsResponse(Message, kind="response", api_key=73, versions="0", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    directories: list[AssignReplicasToDirsResponseDirectoryData] = field(
        array(AssignReplicasToDirsResponseDirectoryData), "0+"
    )
