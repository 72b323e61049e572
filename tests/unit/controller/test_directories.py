"""Log directories that fail, and which of them holds which replica (KIP-858)."""

from __future__ import annotations

from odradek.metadata.image import DIRECTORY_LOST, DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, PartitionImage
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.assign_replicas_to_dirs import (
    AssignReplicasToDirsRequest,
    AssignReplicasToDirsRequestDirectoryData,
    AssignReplicasToDirsRequestPartitionData,
    AssignReplicasToDirsRequestTopicData,
    AssignReplicasToDirsResponse,
)
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from odradek.wire.messages.broker_registration import BrokerRegistrationResponse
from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from tests.unit.controller.harness import DIRECTORY, NODE_ID, Disk, Node, started
from tests.unit.controller.test_features import finalize

OTHER_DIRECTORY = b"\x66" * 16
UNKNOWN_ID = b"\x77" * 16


def create(node: Node, name: str, *, replicas: int = 1) -> bytes:
    topic = CreatableTopic(name=name, num_partitions=2, replication_factor=replicas)
    return node.send(CreateTopicsRequest(topics=[topic], timeout_ms=1000), CreateTopicsResponse).topics[0].topic_id


def partition(node: Node, topic_id: bytes, index: int = 0) -> PartitionImage:
    return node.image.topics.by_id[topic_id].partitions[index]


def report_offline(node: Node, *directories: bytes) -> None:
    request = BrokerHeartbeatRequest(
        broker_id=NODE_ID,
        broker_epoch=node.broker_epoch,
        current_metadata_offset=node.raft.high_watermark,
        offline_log_dirs=list(directories),
    )
    assert node.send(request, BrokerHeartbeatResponse).error_code == ErrorCode.NONE


def assign(
    node: Node, directory: bytes, topic_id: bytes, *indexes: int, broker_epoch: int | None = None
) -> AssignReplicasToDirsResponse:
    partitions = [AssignReplicasToDirsRequestPartitionData(partition_index=index) for index in indexes]
    topic = AssignReplicasToDirsRequestTopicData(topic_id=topic_id, partitions=partitions)
    request = AssignReplicasToDirsRequest(
        broker_id=NODE_ID,
        broker_epoch=node.broker_epoch if broker_epoch is None else broker_epoch,
        directories=[AssignReplicasToDirsRequestDirectoryData(id=directory, topics=[topic])],
    )
    return node.send(request, AssignReplicasToDirsResponse)


def codes(response: AssignReplicasToDirsResponse) -> list[int]:
    (directory,) = response.directories
    return [each.error_code for topic in directory.topics for each in topic.partitions]


def test_an_offline_directory_takes_its_leaders_away_and_a_later_start_brings_them_back() -> None:
    node = Node(Disk()).start()
    node.register(directories=[DIRECTORY, OTHER_DIRECTORY])
    topic_id = create(node, "t")
    assert codes(assign(node, DIRECTORY, topic_id, 0)) == codes(assign(node, OTHER_DIRECTORY, topic_id, 1)) == [0]
    before = partition(node, topic_id)
    report_offline(node, UNKNOWN_ID)
    assert partition(node, topic_id) == before
    report_offline(node, DIRECTORY)
    gone = partition(node, topic_id)
    assert (gone.leader, gone.isr, gone.leader_epoch) == (-1, (), before.leader_epoch + 1)
    assert partition(node, topic_id, 1).leader == NODE_ID
    assert node.image.cluster.brokers[NODE_ID].directories == (OTHER_DIRECTORY,)
    end = node.raft.end_offset
    report_offline(node, DIRECTORY)
    assert node.raft.end_offset == end
    node.world.advance(60_000)
    node.register(previous_epoch=node.broker_epoch, directories=[OTHER_DIRECTORY])
    assert [partition(node, topic_id, index).leader for index in (0, 1)] == [-1, NODE_ID]
    node.world.advance(60_000)
    node.register(previous_epoch=node.broker_epoch, directories=[DIRECTORY, OTHER_DIRECTORY])
    assert [partition(node, topic_id, index).leader for index in (0, 1)] == [NODE_ID, NODE_ID]
    assert partition(node, topic_id).isr == (NODE_ID,)


def test_another_replica_in_sync_takes_over_from_a_directory_that_failed() -> None:
    node = started()
    node.register(2)
    topic_id = create(node, "t", replicas=2)
    led = next(index for index in (0, 1) if partition(node, topic_id, index).leader == NODE_ID)
    report_offline(node, DIRECTORY)
    assert [partition(node, topic_id, index).leader for index in (0, 1)] == [2, 2]
    assert partition(node, topic_id, led).isr == (2,)


def test_assignments_are_noted_one_by_one() -> None:
    node = started()
    topic_id = create(node, "t")
    end = node.raft.end_offset
    assert codes(assign(node, DIRECTORY, topic_id, 0, 1)) == [ErrorCode.NONE, ErrorCode.NONE]
    assert node.raft.end_offset == end
    assert codes(assign(node, DIRECTORY, UNKNOWN_ID, 0)) == [ErrorCode.UNKNOWN_TOPIC_ID]
    assert codes(assign(node, DIRECTORY, topic_id, 0, 9)) == [ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
    stale = assign(node, DIRECTORY, topic_id, 0, broker_epoch=node.broker_epoch + 1)
    assert stale.error_code == ErrorCode.STALE_BROKER_EPOCH
    node.register(2)
    foreign = create(node, "elsewhere")
    held = [NODE_ID in partition(node, foreign, index).replicas for index in (0, 1)]
    expected = [ErrorCode.NONE if mine else ErrorCode.NOT_LEADER_OR_FOLLOWER for mine in held]
    assert codes(assign(node, DIRECTORY, foreign, 0, 1)) == expected
    assert ErrorCode.NOT_LEADER_OR_FOLLOWER in expected


def test_a_replica_that_is_assigned_to_a_directory_that_is_away_is_offline() -> None:
    node = started()
    topic_id = create(node, "t")
    assert codes(assign(node, DIRECTORY_LOST, topic_id, 1)) == [ErrorCode.NONE]
    lost = partition(node, topic_id, 1)
    assert (lost.leader, lost.isr, lost.directories) == (-1, (), (DIRECTORY_LOST,))
    assert partition(node, topic_id, 0).leader == NODE_ID


def test_a_broker_does_not_come_back_to_lead_what_it_has_just_lost() -> None:
    node = Node(Disk()).start()
    node.register(directories=[DIRECTORY, OTHER_DIRECTORY])
    topic_id = create(node, "t")
    assert codes(assign(node, DIRECTORY, topic_id, 0)) == codes(assign(node, OTHER_DIRECTORY, topic_id, 1)) == [0]
    assert node.heartbeat(NODE_ID, node.broker_epoch, want_fence=True).is_fenced
    report_offline(node, DIRECTORY)
    assert node.image.cluster.brokers[NODE_ID].fenced
    report_offline(node, DIRECTORY)
    assert not node.image.cluster.brokers[NODE_ID].fenced
    assert [partition(node, topic_id, index).leader for index in (0, 1)] == [-1, NODE_ID]


def test_a_broker_with_several_directories_chooses_one_itself() -> None:
    node = Node(Disk()).start()
    node.register(directories=[DIRECTORY, OTHER_DIRECTORY])
    topic_id = create(node, "t")
    assert partition(node, topic_id).directories == (DIRECTORY_UNASSIGNED,)
    assert codes(assign(node, DIRECTORY, topic_id, 0)) == [ErrorCode.NONE]
    assert codes(assign(node, DIRECTORY_UNASSIGNED, topic_id, 0)) == [ErrorCode.NONE]
    assert (partition(node, topic_id).directories, partition(node, topic_id).leader) == (
        (DIRECTORY_UNASSIGNED,),
        NODE_ID,
    )


def test_an_older_metadata_version_knows_no_directories() -> None:
    node = Node(Disk()).start()
    finalize(node, "metadata.version", 16)
    request = node.registration()
    request.log_dirs = []
    registered = node.send(request, BrokerRegistrationResponse)
    assert registered.error_code == ErrorCode.NONE
    node.broker_epoch = registered.broker_epoch
    assert not node.heartbeat(NODE_ID, node.broker_epoch).is_fenced
    topic_id = create(node, "a")
    assert partition(node, topic_id).directories == (DIRECTORY_MIGRATING,)
    assert assign(node, DIRECTORY, topic_id, 0).error_code == ErrorCode.UNSUPPORTED_VERSION
