"""Who is in sync, and up to where all of them have the log."""

from __future__ import annotations

from odradek.broker.replication.leadership import IsrProposal, IsrRules, Leadership
from odradek.metadata.image import BrokerRegistration, PartitionImage

LAG_MS = 1_000
OWN_EPOCH = 100


class Scene:
    """Broker 1 leads; 2 and 3 follow, each registered with ten times its id as epoch."""

    def __init__(self, isr: tuple[int, ...] = (1, 2, 3), replicas: tuple[int, ...] = (1, 2, 3), start: int = 0) -> None:
        self.now_ms = 10_000.0
        self.brokers = {broker: registration(broker) for broker in (1, 2, 3, 4)}
        self.leadership = Leadership(
            1, IsrRules(self.brokers.get, lambda: OWN_EPOCH, lambda: LAG_MS, lambda: self.now_ms)
        )
        self.follow(isr, replicas)
        self.leadership.begin_epoch(start, is_new_leader=True)

    def follow(self, isr: tuple[int, ...], replicas: tuple[int, ...] = (1, 2, 3), partition_epoch: int = 5) -> None:
        self.leadership.follow(PartitionImage(replicas, isr, 1, 2, partition_epoch))

    def fetch(self, broker: int, offset: int, leader_end: int) -> None:
        self.leadership.fetched(self.leadership.followers[broker], offset, 0, leader_end, broker * 10)

    def expand(self, broker: int, high_watermark: int) -> IsrProposal | None:
        return self.leadership.expansion(self.leadership.followers[broker], high_watermark, 2, 5)


def registration(broker: int, *, fenced: bool = False, leaving: bool = False) -> BrokerRegistration:
    return BrokerRegistration(broker, broker * 10, bytes(16), {}, {}, None, fenced, leaving, (), None)


def test_the_slowest_in_sync_replica_decides() -> None:
    scene = Scene()
    assert scene.leadership.replicated_offset(20) == -1
    scene.fetch(2, 15, 20)
    scene.fetch(3, 12, 20)
    assert scene.leadership.replicated_offset(20) == 12
    scene.fetch(3, 20, 20)
    assert scene.leadership.replicated_offset(20) == 15


def test_who_is_out_of_sync_does_not_hold_others_back() -> None:
    scene = Scene(isr=(1, 2))
    scene.fetch(2, 20, 20)
    assert scene.leadership.replicated_offset(20) == 20
    scene.fetch(3, 3, 20)
    assert scene.leadership.replicated_offset(20) == 20


def test_who_is_caught_up_and_about_to_join_is_waited_for() -> None:
    scene = Scene(isr=(1, 2))
    scene.fetch(3, 10, 10)
    scene.fetch(2, 20, 20)
    assert scene.leadership.replicated_offset(20) == 10
    scene.now_ms += LAG_MS + 1
    assert scene.leadership.replicated_offset(20) == 20


def test_who_may_not_join_is_not_waited_for() -> None:
    scene = Scene(isr=(1, 2))
    scene.fetch(3, 10, 10)
    scene.fetch(2, 20, 20)
    for unfit in (registration(3, fenced=True), registration(3, leaving=True)):
        scene.brokers[3] = unfit
        assert scene.leadership.replicated_offset(20) == 20


def test_a_follower_joins_once_it_has_all_that_is_committed() -> None:
    scene = Scene(isr=(1, 2))
    scene.fetch(3, 9, 20)
    assert scene.expand(3, high_watermark=10) is None
    scene.fetch(3, 10, 20)
    assert scene.expand(3, high_watermark=10) == IsrProposal((1, 2, 3), (OWN_EPOCH, -1, 30), 2, 5)


def test_a_follower_joins_a_new_leader_only_with_all_that_it_began_with() -> None:
    """Its high watermark may not have heard yet of what was committed before."""
    scene = Scene(isr=(1, 2), start=15)
    scene.fetch(3, 14, 20)
    assert scene.expand(3, high_watermark=10) is None
    scene.fetch(3, 15, 20)
    assert scene.expand(3, high_watermark=10) is not None


def test_who_is_fenced_leaving_gone_or_another_incarnation_does_not_join() -> None:
    for unfit in (
        registration(3, fenced=True),
        registration(3, leaving=True),
        None,
        registration(3)._replace(epoch=31),
    ):
        scene = Scene(isr=(1, 2))
        scene.fetch(3, 20, 20)
        if unfit is None:
            del scene.brokers[3]
        else:
            scene.brokers[3] = unfit
        assert scene.expand(3, high_watermark=10) is None


def test_a_joining_follower_counts_before_the_controller_has_answered_and_no_second_is_asked_for() -> None:
    scene = Scene(isr=(1,))
    scene.fetch(2, 10, 10)
    scene.fetch(3, 10, 10)
    assert scene.expand(2, high_watermark=10) is not None
    assert (scene.leadership.isr, scene.leadership.maximal_isr) == ((1,), (1, 2))
    assert scene.expand(3, high_watermark=10) is None
    scene.now_ms += 10 * LAG_MS
    assert scene.leadership.replicated_offset(20) == 10
    scene.leadership.refused()
    assert scene.leadership.maximal_isr == (1,)
    assert scene.leadership.replicated_offset(20) == 20


def test_who_lags_for_too_long_is_to_leave_and_counts_until_the_controller_has_agreed() -> None:
    scene = Scene()
    scene.fetch(2, 10, 10)
    scene.fetch(3, 10, 10)
    scene.now_ms += LAG_MS
    assert scene.leadership.shrinking(20, 2, 5) is None
    scene.fetch(2, 20, 20)
    scene.now_ms += 1
    proposal = scene.leadership.shrinking(20, 2, 5)
    assert proposal == IsrProposal((1, 2), (OWN_EPOCH, 20), 2, 5)
    assert scene.leadership.replicated_offset(20) == 10
    assert scene.leadership.shrinking(20, 2, 5) is None
    scene.leadership.accepted([1, 2])
    assert scene.leadership.replicated_offset(20) == 20


def test_news_of_before_a_request_leave_it_asked_for_and_later_news_end_it() -> None:
    scene = Scene(isr=(1, 2))
    scene.fetch(3, 10, 10)
    proposal = scene.expand(3, high_watermark=10)
    scene.follow((1, 2), partition_epoch=5)
    assert scene.leadership.pending is proposal
    assert scene.leadership.maximal_isr == (1, 2, 3)
    scene.follow((1,), partition_epoch=6)
    assert scene.leadership.pending is None
    assert list(scene.leadership.maximal_isr) == [1]


def test_replicas_come_and_go() -> None:
    scene = Scene()
    scene.fetch(2, 10, 10)
    scene.follow((1, 2), replicas=(1, 2, 4))
    assert list(scene.leadership.followers) == [2, 4]
    assert scene.leadership.followers[2].log_end_offset == 10
    assert scene.leadership.replicated_offset(10) == 10
