"""A controller that ceases to decide and begins again."""

from __future__ import annotations

from odradek.metadata.snapshot import VersionedRecord
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.allocate_producer_ids import AllocateProducerIdsRequest, AllocateProducerIdsResponse
from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.persistent.metadata.begin_transaction_record import BeginTransactionRecord
from odradek.wire.persistent.metadata.config_record import ConfigRecord
from odradek.wire.persistent.metadata.producer_ids_record import ProducerIdsRecord
from tests.unit.controller.harness import NODE_ID
from tests.unit.controller.several_brokers import Cluster

OTHER = 2
"""Another controller's id."""


def resign(cluster: Cluster) -> None:
    cluster.node.controller.leader_changed(OTHER, cluster.node.raft.epoch)


def lead_again(cluster: Cluster) -> None:
    cluster.node.controller.leader_changed(NODE_ID, cluster.node.raft.epoch)


def allocate(cluster: Cluster) -> AllocateProducerIdsRequest:
    return AllocateProducerIdsRequest(broker_id=1, broker_epoch=cluster.epochs[1])


def test_who_waits_is_told_and_nothing_is_decided_until_this_node_leads_again() -> None:
    cluster = Cluster(1)
    node = cluster.node
    node.disk.log.hold_flushes = True
    waiting = [node.client.send(allocate(cluster), AllocateProducerIdsResponse) for _ in range(3)]
    assert not any(each.done for each in waiting)
    resign(cluster)
    assert [each.result().error_code for each in waiting] == [ErrorCode.NOT_CONTROLLER] * 3
    assert not node.controller.is_active
    end = node.raft.end_offset
    assert node.send(allocate(cluster), AllocateProducerIdsResponse).error_code == ErrorCode.NOT_CONTROLLER
    node.world.advance(700_000)
    assert node.raft.end_offset == end
    node.disk.log.hold_flushes = False
    node.disk.log.finish_flushes()
    lead_again(cluster)
    assert node.controller.is_active
    # The three blocks were committed after all; nobody got them, and nobody gets them again.
    assert node.send(allocate(cluster), AllocateProducerIdsResponse).producer_id_start == 3000


def test_what_was_not_committed_is_forgotten() -> None:
    cluster = Cluster(1)
    node = cluster.node
    node.disk.log.hold_flushes = True
    create = CreateTopicsRequest(topics=[CreatableTopic(name="lost", num_partitions=1, replication_factor=1)])
    answer = node.client.send(create, CreateTopicsResponse)
    assert "lost" in node.controller.state.image.topics.by_name
    resign(cluster)
    assert answer.result().topics[0].error_code == ErrorCode.NOT_CONTROLLER
    assert node.controller.state.image is node.image
    assert "lost" not in node.image.topics.by_name


def test_the_same_leader_in_a_later_epoch_starts_afresh() -> None:
    cluster = Cluster(1)
    node = cluster.node
    node.disk.log.hold_flushes = True
    waiting = node.client.send(allocate(cluster), AllocateProducerIdsResponse)
    node.controller.leader_changed(NODE_ID, node.raft.epoch)
    assert not waiting.done
    node.controller.leader_changed(NODE_ID, node.raft.epoch + 1)
    assert waiting.result().error_code == ErrorCode.NOT_CONTROLLER
    assert not node.controller.is_active  # the quorum is not in that epoch yet


def test_a_controller_that_stands_by_knows_what_another_one_has_decided() -> None:
    cluster = Cluster(1)
    resign(cluster)
    node = cluster.node
    setting = ConfigRecord(resource_type=4, resource_name="", name="log.retention.ms", value="1234")
    node.raft.append(
        [VersionedRecord(setting, 0), VersionedRecord(ProducerIdsRecord(next_producer_id=5000), 0)], atomic=True
    )
    assert node.controller.config.int_("log.retention.ms") == 1234
    lead_again(cluster)
    assert node.send(allocate(cluster), AllocateProducerIdsResponse).producer_id_start == 5000


def test_brokers_get_a_session_time_out_to_find_the_new_controller() -> None:
    cluster = Cluster(3)
    cluster.node.world.advance(8_000)
    resign(cluster)
    cluster.node.world.advance(60_000)
    lead_again(cluster)
    cluster.node.world.advance(8_000)
    assert [cluster.broker(broker_id).fenced for broker_id in (1, 2, 3)] == [False, False, False]
    cluster.heartbeat(2)
    cluster.node.world.advance(3_000)
    assert [cluster.broker(broker_id).fenced for broker_id in (2, 3)] == [False, True]


def test_a_shutdown_that_began_under_another_controller_is_finished() -> None:
    cluster = Cluster(2)
    cluster.create([2, 1])
    assert not cluster.heartbeat(2, want_shut_down=True).should_shut_down
    resign(cluster)
    lead_again(cluster)
    assert cluster.broker(2).in_controlled_shutdown
    assert cluster.heartbeat(2, want_shut_down=True).should_shut_down


def test_a_transaction_that_the_last_controller_left_open_is_aborted() -> None:
    cluster = Cluster(1)
    resign(cluster)
    node = cluster.node
    before = node.image
    node.raft.append(
        [
            VersionedRecord(BeginTransactionRecord(name="half"), 0),
            VersionedRecord(ProducerIdsRecord(next_producer_id=9000), 0),
        ],
        atomic=True,
    )
    assert node.loader.in_transaction
    lead_again(cluster)
    assert not node.loader.in_transaction
    assert node.image.same_content(before)
    assert node.send(allocate(cluster), AllocateProducerIdsResponse).producer_id_start == 0
