"""The requests that many cases make, in one line each, over a raw connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from odradek.wire.errors import ErrorCode
from odradek.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from odradek.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from odradek.wire.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseTopic,
)
from odradek.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse
from odradek.wire.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from tests.support.process import wait_for
from tests.support.wire import Connection

NAMED_PRODUCE_VERSION = 12
"""The last version of Produce that names topics; from 13 on it gives their ids."""
NAMED_FETCH_VERSION = 12
TOPIC, BROKER = 2, 4
"""Kinds of resources that have configurations."""
_SET = 0


class Address(Protocol):
    host: str
    port: int


def connect(target: Address, timeout_s: float = 20.0) -> Connection:
    return Connection(target.host, target.port, timeout_s)


def code(number: int) -> str:
    """The name of an error code: failures are easier to read."""
    return ErrorCode(number).name


def create_topic(
    connection: Connection,
    name: str,
    partitions: int = 1,
    configs: Mapping[str, str] | None = None,
    *,
    timeout_s: float = 15.0,
) -> MetadataResponseTopic:
    """Create a topic and wait until its partitions have leaders."""
    topic = CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=1,
        configs=[CreatableTopicConfig(name=key, value=value) for key, value in (configs or {}).items()],
    )
    answer = connection.call(CreateTopicsRequest(topics=[topic], timeout_ms=20_000), CreateTopicsResponse)
    assert code(answer.topics[0].error_code) == "NONE", answer.topics[0].error_message
    return wait_for_topic(connection, name, partitions, timeout_s)


def alter_configs(connection: Connection, kind: int, name: str, configs: Mapping[str, str]) -> None:
    """Set properties of a topic or broker (`TOPIC`, `BROKER`); AssertionError if they are refused."""
    wanted = [AlterableConfig(name=key, config_operation=_SET, value=value) for key, value in configs.items()]
    resource = AlterConfigsResource(resource_type=kind, resource_name=name, configs=wanted)
    request = IncrementalAlterConfigsRequest(resources=[resource])
    (result,) = connection.call(request, IncrementalAlterConfigsResponse).responses
    assert code(result.error_code) == "NONE", result.error_message


def wait_for_topic(
    connection: Connection, name: str, partitions: int, timeout_s: float = 15.0
) -> MetadataResponseTopic:
    def ready() -> bool:
        topic = metadata(connection, name)
        led = [partition for partition in topic.partitions if partition.leader_id >= 0]
        return topic.error_code == 0 and len(led) == partitions and serves(connection, name, partitions)

    wait_for(ready, f"{name} has {partitions} partitions with leaders", timeout_s)
    return metadata(connection, name)


def serves(connection: Connection, topic: str, partitions: int) -> bool:
    """Whether the leader knows that it is one: Metadata may say so a moment earlier."""
    wanted = [ListOffsetsPartition(partition_index=index, timestamp=-1) for index in range(partitions)]
    request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsTopic(name=topic, partitions=wanted)])
    answer = connection.call(request, ListOffsetsResponse)
    return all(partition.error_code == 0 for partition in answer.topics[0].partitions)


def metadata(connection: Connection, name: str, *, create: bool = False) -> MetadataResponseTopic:
    request = MetadataRequest(topics=[MetadataRequestTopic(name=name)], allow_auto_topic_creation=create)
    return connection.call(request, MetadataResponse).topics[0]


def produce_request(topic: str, records: bytes | None, *, partition: int = 0, acks: int = -1) -> ProduceRequest:
    data = PartitionProduceData(index=partition, records=records)
    return ProduceRequest(
        acks=acks, timeout_ms=15_000, topic_data=[TopicProduceData(name=topic, partition_data=[data])]
    )


def produce(
    connection: Connection,
    topic: str,
    records: bytes | None,
    *,
    partition: int = 0,
    acks: int = -1,
    version: int = NAMED_PRODUCE_VERSION,
) -> PartitionProduceResponse:
    request = produce_request(topic, records, partition=partition, acks=acks)
    return connection.call(request, ProduceResponse, version).responses[0].partition_responses[0]


def fetch_request(
    topic: str,
    offset: int,
    *,
    partition: int = 0,
    max_wait_ms: int = 500,
    min_bytes: int = 1,
    max_bytes: int = 50 << 20,
    partition_max_bytes: int = 1 << 20,
    isolation_level: int = 0,
    leader_epoch: int = -1,
) -> FetchRequest:
    """A fetch of one partition outside of any session."""
    wanted = FetchPartition(
        partition=partition,
        fetch_offset=offset,
        partition_max_bytes=partition_max_bytes,
        current_leader_epoch=leader_epoch,
    )
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        isolation_level=isolation_level,
        session_id=0,
        session_epoch=-1,
        topics=[FetchTopic(topic=topic, partitions=[wanted])],
    )


def only_partition(response: FetchResponse) -> PartitionData:
    topics: list[FetchableTopicResponse] = response.responses
    assert len(topics) == 1
    assert len(topics[0].partitions) == 1
    return topics[0].partitions[0]


def fetch(connection: Connection, request: FetchRequest, version: int = NAMED_FETCH_VERSION) -> PartitionData:
    return only_partition(connection.call(request, FetchResponse, version))


def list_offset(
    connection: Connection,
    topic: str,
    timestamp: int,
    *,
    partition: int = 0,
    isolation_level: int = 0,
    version: int | None = None,
    leader_epoch: int = -1,
) -> ListOffsetsPartitionResponse:
    wanted = ListOffsetsPartition(partition_index=partition, timestamp=timestamp, current_leader_epoch=leader_epoch)
    request = ListOffsetsRequest(
        replica_id=-1,
        isolation_level=isolation_level,
        topics=[ListOffsetsTopic(name=topic, partitions=[wanted])],
        timeout_ms=5_000,
    )
    return connection.call(request, ListOffsetsResponse, version).topics[0].partitions[0]


def await_coordinator(connection: Connection, key: str) -> None:
    """Wait until the coordinator of a group answers: its topic may have to be made and its state loaded first."""

    def found() -> bool:
        request = FindCoordinatorRequest(key_type=0, coordinator_keys=[key])
        if connection.call(request, FindCoordinatorResponse).coordinators[0].error_code != 0:
            return False
        offsets = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=key, topics=[])])
        return connection.call(offsets, OffsetFetchResponse, 9).groups[0].error_code == 0

    wait_for(found, f"the coordinator of {key}", 30.0)
