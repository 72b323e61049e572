"""Which replica a consumer is sent to (KIP-392)."""

from __future__ import annotations

from odradek.broker.replication.replica_selector import ReplicaView, select_by_rack

LEADER = ReplicaView(1, "a", 100, 0)


def test_a_consumer_in_the_leaders_rack_stays() -> None:
    assert select_by_rack("a", LEADER, [ReplicaView(2, "a", 100, 0)]) == 1


def test_a_consumer_elsewhere_reads_in_its_rack_from_the_replica_that_has_most() -> None:
    others = [
        ReplicaView(2, "b", 90, 0),
        ReplicaView(3, "b", 95, 50),
        ReplicaView(4, "b", 95, 10),
        ReplicaView(5, "c", 100, 0),
    ]
    assert select_by_rack("b", LEADER, others) == 4


def test_equals_are_told_apart_by_the_higher_id() -> None:
    assert select_by_rack("b", LEADER, [ReplicaView(3, "b", 9, 0), ReplicaView(2, "b", 9, 0)]) == 3


def test_a_rack_without_a_replica_is_served_by_the_leader() -> None:
    assert select_by_rack("d", LEADER, [ReplicaView(2, "b", 100, 0), ReplicaView(3, None, 100, 0)]) == 1
