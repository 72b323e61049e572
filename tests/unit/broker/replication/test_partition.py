"""A leader's ISR between metadata and the controller's answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from odradek.broker.replication.alter_partition import Answer
from odradek.broker.replication.leadership import IsrProposal, IsrRules
from odradek.broker.replication.partition import LeaderPorts, Partition
from odradek.metadata.image import BrokerRegistration, PartitionImage
from odradek.ports import Promise
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.alter_partition import AlterPartitionResponsePartitionData
from tests.unit.storage.support import Disk, batch

LAG_MS = 1_000


class Scene:
    """Broker 1 leads with 2 and 3 as followers; what it asks of the controller, the test answers."""

    def __init__(self, isr: tuple[int, ...] = (1, 2)) -> None:
        self.now_ms = 10_000.0
        self.asked: list[tuple[IsrProposal, Answer]] = []
        self.retries: list[Callable[[], None]] = []
        rules = IsrRules(
            lambda broker: BrokerRegistration(broker, 7, bytes(16), {}, {}, None, False, False, (), None),
            lambda: 7,
            lambda: LAG_MS,
            lambda: self.now_ms,
        )
        self.partition = Partition(
            TopicPartition("t", 0), bytes(16), 1, LeaderPorts(rules, self._ask, self.retries.append)
        )
        self.partition.log = Disk().log
        self.partition.apply(image(isr, 5))
        for _ in range(10):
            self.partition.append(memoryview(batch(b"x")), None, all_replicas=False, now_ms=0)

    def _ask(self, _partition: Partition, proposal: IsrProposal) -> Answer:
        answer: Answer = Promise()
        self.asked.append((proposal, answer))
        return answer

    def fetch(self, broker: int, offset: int) -> None:
        follower = self.partition.follower(broker, -1)
        self.partition.follower_fetched(follower, offset, 0, self.end, 7)

    @property
    def end(self) -> int:
        return self.partition.local_log().log_end_offset

    @property
    def high_watermark(self) -> int:
        return self.partition.local_log().high_watermark

    @property
    def maximal_isr(self) -> list[int]:
        assert self.partition.leadership is not None
        return list(self.partition.leadership.maximal_isr)

    def refuse(self, code: ErrorCode) -> None:
        self.asked[-1][1].reject(KafkaError(code))

    def accept(self, isr: list[int], *, partition_epoch: int = 6, leader_epoch: int = 2) -> None:
        self.asked[-1][1].resolve(
            AlterPartitionResponsePartitionData(
                partition_index=0, leader_id=1, leader_epoch=leader_epoch, isr=isr, partition_epoch=partition_epoch
            )
        )


def image(isr: tuple[int, ...], partition_epoch: int, *, leader: int = 1, leader_epoch: int = 2) -> PartitionImage:
    return PartitionImage((1, 2, 3), isr, leader, leader_epoch, partition_epoch)


def expanding() -> Scene:
    """Broker 3 has caught up, and is to join."""
    scene = Scene()
    scene.fetch(2, 10)
    scene.fetch(3, 10)
    assert scene.asked[-1][0].isr == (1, 2, 3)
    return scene


def test_what_the_controller_has_noted_holds_though_the_metadata_is_behind() -> None:
    scene = expanding()
    scene.accept([1, 2, 3])
    assert (scene.partition.isr, scene.partition.partition_epoch) == ((1, 2, 3), 6)
    assert not scene.partition.apply(image((1, 2), 5))
    assert (scene.partition.isr, scene.maximal_isr) == ((1, 2, 3), [1, 2, 3])
    scene.partition.apply(image((1, 2, 3), 6))
    assert scene.partition.isr == (1, 2, 3)


@pytest.mark.parametrize("code", [ErrorCode.INELIGIBLE_REPLICA, ErrorCode.OPERATION_NOT_ATTEMPTED])
def test_after_a_refusal_all_is_as_before_and_the_next_fetch_asks_again(code: ErrorCode) -> None:
    scene = expanding()
    scene.refuse(code)
    assert (scene.partition.isr, scene.maximal_isr) == ((1, 2), [1, 2])
    scene.fetch(3, 10)
    assert len(scene.asked) == 2


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.INVALID_UPDATE_VERSION,
        ErrorCode.NEW_LEADER_ELECTED,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INVALID_REQUEST,
    ],
)
def test_where_the_controller_knows_more_the_metadata_is_waited_for(code: ErrorCode) -> None:
    scene = expanding()
    scene.refuse(code)
    scene.fetch(3, 10)
    assert (len(scene.asked), scene.retries, scene.maximal_isr) == (1, [], [1, 2, 3])
    scene.partition.apply(image((1, 2), 7))
    assert scene.maximal_isr == [1, 2]
    scene.fetch(3, 10)
    assert len(scene.asked) == 2


def test_any_other_error_is_no_answer() -> None:
    scene = expanding()
    scene.refuse(ErrorCode.UNKNOWN_SERVER_ERROR)
    assert scene.maximal_isr == [1, 2, 3]
    scene.retries.pop()()
    assert [proposal.isr for proposal, _ in scene.asked] == [(1, 2, 3), (1, 2, 3)]
    scene.accept([1, 2, 3])
    assert scene.partition.isr == (1, 2, 3)


def test_a_retry_that_is_overtaken_by_metadata_asks_for_nothing() -> None:
    scene = expanding()
    scene.refuse(ErrorCode.UNKNOWN_SERVER_ERROR)
    scene.partition.apply(image((1, 2), 7))
    scene.retries.pop()()
    assert len(scene.asked) == 1


def test_an_answer_of_another_leader_epoch_or_of_long_ago_is_not_used() -> None:
    for leader_epoch, partition_epoch in ((3, 6), (2, 4)):
        scene = expanding()
        scene.accept([1, 3], leader_epoch=leader_epoch, partition_epoch=partition_epoch)
        assert (scene.partition.isr, scene.partition.partition_epoch) == ((1, 2), 5)
    scene = expanding()
    scene.partition.apply(image((1, 2), 7))
    scene.accept([1, 2, 3], partition_epoch=6)
    assert scene.partition.isr == (1, 2)


def test_an_answer_that_comes_when_another_leads_is_not_used() -> None:
    scene = expanding()
    scene.partition.apply(image((1, 2), 8, leader=2, leader_epoch=3))
    scene.accept([1, 2, 3], partition_epoch=6)
    assert (scene.partition.leadership, scene.partition.partition_epoch) == (None, 8)


def test_the_high_watermark_waits_for_who_joins_and_moves_when_who_lags_is_out() -> None:
    scene = expanding()
    scene.partition.append(memoryview(batch(b"y")), None, all_replicas=False, now_ms=0)
    scene.fetch(2, 11)
    assert scene.high_watermark == 10
    scene.accept([1, 2, 3])
    assert scene.high_watermark == 10
    scene.now_ms += LAG_MS + 1
    scene.fetch(2, 11)
    scene.partition.shrink_isr()
    assert (scene.asked[-1][0].isr, scene.high_watermark) == ((1, 2), 10)
    scene.accept([1, 2], partition_epoch=7)
    assert (scene.partition.isr, scene.high_watermark) == ((1, 2), 11)


def test_metadata_that_takes_followers_away_commits_what_they_lacked() -> None:
    scene = Scene()
    assert scene.high_watermark == 0
    scene.partition.apply(image((1,), 6))
    scene.now_ms += LAG_MS + 1
    scene.partition.append(memoryview(batch(b"y")), None, all_replicas=False, now_ms=0)
    assert scene.high_watermark == 11


def test_without_other_brokers_a_partition_with_several_replicas_commits_nothing() -> None:
    partition = Partition(TopicPartition("t", 0), bytes(16), 1)
    partition.log = Disk().log
    partition.apply(image((1,), 5))
    partition.append(memoryview(batch(b"x")), None, all_replicas=False, now_ms=0)
    assert partition.local_log().high_watermark == 0


def test_a_follower_whose_log_begins_elsewhere_is_told_of_once() -> None:
    """Deletions wait for that, and nothing else may ever happen to the partition."""
    scene = Scene()
    scene.fetch(2, scene.end)
    told: list[int] = []
    scene.partition.add_watermark_listener(lambda partition: told.append(partition.low_watermark(lambda _id: True)))
    follower = scene.partition.follower(2, -1)
    for start in (0, 4, 4):
        scene.partition.local_log().delete_records_before(start)
        scene.partition.follower_fetched(follower, scene.end, start, scene.end, 7)
    scene.partition.follower_fetched(scene.partition.follower(3, -1), scene.end, 4, scene.end, 7)
    assert told == [-1, 4]
