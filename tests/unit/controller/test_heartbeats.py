"""Fencing, unfencing and controlled shutdown, by what brokers say and by their silence."""

from __future__ import annotations

from odradek.metadata.image import NO_LEADER
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from tests.unit.controller.several_brokers import Cluster


def beat(cluster: Cluster, broker_id: int, offset: int, *, want_shut_down: bool = False) -> BrokerHeartbeatResponse:
    request = BrokerHeartbeatRequest(
        broker_id=broker_id,
        broker_epoch=cluster.epochs[broker_id],
        current_metadata_offset=offset,
        want_shut_down=want_shut_down,
    )
    return cluster.node.send(request, BrokerHeartbeatResponse)


def test_a_broker_that_shuts_down_hands_over_and_goes_when_the_others_know() -> None:
    cluster = Cluster(3)
    cluster.create([3, 1, 2], [1, 3, 2])
    offset = cluster.node.raft.high_watermark - 1
    for broker_id in (1, 2):
        beat(cluster, broker_id, offset)
    first = cluster.heartbeat(3, want_shut_down=True)
    assert (first.should_shut_down, first.is_fenced) == (False, False)
    assert (cluster.broker(3).in_controlled_shutdown, cluster.broker(3).fenced) == (True, False)
    assert [cluster.shown(index)[:2] for index in (0, 1)] == [(1, [1, 2]), (1, [1, 2])]
    end = cluster.node.raft.end_offset
    assert not cluster.heartbeat(3, want_shut_down=True).should_shut_down
    beat(cluster, 1, end - 1)
    assert not cluster.heartbeat(3, want_shut_down=True).should_shut_down
    beat(cluster, 2, end - 2)
    assert not cluster.heartbeat(3, want_shut_down=True).should_shut_down
    assert cluster.node.raft.end_offset == end
    beat(cluster, 2, end - 1)
    last = cluster.heartbeat(3, want_shut_down=True)
    assert (last.should_shut_down, last.is_fenced) == (True, True)
    assert cluster.broker(3).fenced


def test_brokers_that_are_fenced_or_go_themselves_hold_up_nobody() -> None:
    cluster = Cluster(4)
    cluster.create([4, 1], [3, 1])
    cluster.fence(2)
    behind = cluster.node.raft.high_watermark - 1
    for broker_id in (3, 4):
        assert not beat(cluster, broker_id, behind, want_shut_down=True).should_shut_down
    assert not beat(cluster, 4, behind, want_shut_down=True).should_shut_down
    cluster.heartbeat(1)
    for broker_id in (3, 4):
        assert beat(cluster, broker_id, behind, want_shut_down=True).should_shut_down


def test_a_broker_that_leads_nothing_goes_at_once_and_one_that_fences_itself_as_well() -> None:
    cluster = Cluster(4)
    cluster.create([1, 2, 3], [3, 1, 2])
    assert cluster.heartbeat(2, want_shut_down=True).should_shut_down
    assert cluster.heartbeat(3, want_fence=True, want_shut_down=True).should_shut_down
    assert [cluster.broker(broker_id).fenced for broker_id in (2, 3)] == [True, True]
    assert [cluster.shown(index)[:2] for index in (0, 1)] == [(1, [1]), (1, [1])]
    cluster.fence(4)
    end = cluster.node.raft.end_offset
    assert cluster.heartbeat(4, want_shut_down=True).should_shut_down
    assert cluster.node.raft.end_offset == end


def test_a_fenced_broker_stays_so_while_it_wants_to_and_until_it_has_caught_up() -> None:
    cluster = Cluster(2)
    cluster.fence(2)
    assert cluster.heartbeat(2, want_fence=True).is_fenced
    cluster.node.world.advance(20_000)
    epoch = cluster.register(2, unfence=False)
    behind = beat(cluster, 2, epoch - 1)
    assert (behind.is_fenced, behind.is_caught_up) == (True, False)
    registered = cluster.node.state_offset(2)
    assert not beat(cluster, 2, registered).is_fenced


def test_leaders_move_from_a_broker_that_falls_silent_and_its_place_is_kept() -> None:
    cluster = Cluster(3)
    cluster.create([1, 2, 3], min_insync_replicas="2")
    cluster.create([2], name="only-2")
    for _ in range(8):
        cluster.node.world.advance(1_500)
        for broker_id in (2, 3):
            cluster.heartbeat(broker_id)
    assert cluster.broker(1).fenced
    assert cluster.shown() == (2, [2, 3], [])
    for _ in range(8):
        cluster.node.world.advance(1_500)
        cluster.heartbeat(3)
    assert cluster.shown() == (3, [3], [2])
    assert cluster.shown(name="only-2") == (NO_LEADER, [], [2])
    cluster.unfence(2)
    assert cluster.shown() == (3, [3], [2])
    assert cluster.shown(name="only-2") == (2, [2], [])


def test_a_session_ends_with_its_time_out() -> None:
    cluster = Cluster(2)
    cluster.node.world.advance(1_000)
    cluster.heartbeat(1)
    cluster.heartbeat(2)
    cluster.node.world.advance(5_000)
    cluster.heartbeat(1)
    cluster.node.world.advance(4_000)
    assert not cluster.broker(2).fenced
    cluster.node.world.advance(2)
    assert cluster.broker(2).fenced
    assert not cluster.broker(1).fenced
    cluster.node.world.advance(4_997)
    assert not cluster.broker(1).fenced
    cluster.node.world.advance(2)
    assert cluster.broker(1).fenced


def test_when_the_last_replica_in_sync_goes_the_one_before_does_not_lead() -> None:
    cluster = Cluster(2)
    cluster.create([1, 2], min_insync_replicas="1")
    cluster.fence(1)
    assert cluster.shown() == (2, [2], [])
    cluster.fence(2)
    assert cluster.shown() == (NO_LEADER, [], [2])
    cluster.unfence(1)
    assert cluster.shown() == (NO_LEADER, [], [2])
    cluster.unfence(2)
    assert cluster.shown() == (2, [2], [])
    assert cluster.partition().last_known_elr == ()
