"""One fetcher, whose leader the test plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import pytest

from odradek.broker.replication.cluster import ReplicationOptions
from odradek.broker.replication.fetcher import Fetcher, FetcherPorts
from odradek.broker.replication.fetchers import Fetchers, Source
from odradek.broker.replication.followed_logs import FollowedLogs
from odradek.broker.replication.partition import Partition
from odradek.broker.replication.throttle import FOLLOWER, ReplicationThrottle
from odradek.metadata.image import ConfigsImage, PartitionImage, ResourceKey
from odradek.metadata.persistent_map import PersistentMap
from odradek.ports import Promise
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.manager import LogManager
from odradek.storage.memory_files import MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.fetch import (
    EpochEndOffset,
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    PartitionData,
)
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from odradek.wire.records.header import rewrite_base_offset_and_epoch
from odradek.wire.schema import Message
from tests.unit.broker.scene import batch_of
from tests.unit.fakes import FakeWorld

Resp = TypeVar("Resp", bound=Message)
T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)
TOPIC_ID = bytes(range(16))
OPTIONS = ReplicationOptions()
BACKOFF_MS = OPTIONS.fetch_backoff_ms


class Leader:
    """Connections to it; requests wait until the test answers them."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.is_closed = False
        self._answers: list[Promise[Message]] = []

    def send(self, broker_id: int, request: Message, response: type[Resp]) -> Promise[Resp]:
        answer: Promise[Message] = Promise()
        self.requests.append(request)
        self._answers.append(answer)
        return cast("Promise[Resp]", answer)

    def close(self) -> None:
        self.is_closed = True

    def answer(self, response: Message) -> None:
        self._answers.pop(0).resolve(response)

    def fail(self, code: ErrorCode) -> None:
        self._answers.pop(0).reject(KafkaError(code))

    @property
    def fetch(self) -> FetchRequest:
        """The request that waits."""
        request = self.requests[-1]
        assert isinstance(request, FetchRequest)
        return request

    def asked(self) -> dict[int, FetchPartition]:
        """What the latest fetch names."""
        return {partition.partition: partition for topic in self.fetch.topics for partition in topic.partitions}


class Scene:
    """Broker 2 follows partitions 0 and 1 of a topic, which broker 1 leads."""

    def __init__(self, throttle: ReplicationThrottle | None = None) -> None:
        self.world = FakeWorld()
        self.logs = LogManager(MemoryFileSystem(), self.world, self.world, self.world, self.world, ["/data"])
        self.logs.load(lambda _topic: LogConfig())
        self.partitions: dict[TopicPartition, Partition] = {}
        for name in (T0, T1):
            partition = self.partitions[name] = Partition(name, TOPIC_ID, 2)
            partition.log = self.logs.create_log(name, TOPIC_ID, LogConfig())
            partition.apply(PartitionImage((1, 2), (1, 2), 1, 3, 3))
        self.leader = Leader()
        throttle = throttle or ReplicationThrottle(FOLLOWER, 2, ConfigsImage)
        self.ports = FetcherPorts(2, lambda: 77, lambda: OPTIONS, self.world, self.world, throttle)
        self.followed = FollowedLogs(self.partitions, self.logs)
        self.fetcher = Fetcher(1, self.leader, self.followed, self.ports)

    def log(self, name: TopicPartition = T0) -> Log:
        return self.partitions[name].local_log()

    def start(self, *names: TopicPartition, epoch: int = 3) -> None:
        for name in names or (T0,):
            self.fetcher.add(name, TOPIC_ID, epoch)
        self.world.run_soon()

    def answer(self, *data: PartitionData, session_id: int = 9, code: ErrorCode = ErrorCode.NONE) -> None:
        topics = [FetchableTopicResponse(topic_id=TOPIC_ID, partitions=list(data))] if data else []
        self.leader.answer(FetchResponse(error_code=code, session_id=session_id, responses=topics))
        self.world.run_soon()

    def fill(self, count: int, *, epoch: int, name: TopicPartition = T0) -> None:
        """Records that are in the follower's log from before."""
        for _ in range(count):
            self.log(name).append_as_leader(bytearray(batch_of(b"old")), leader_epoch=epoch, now_ms=0)


def data(
    index: int = 0,
    *,
    records: bytes = b"",
    high_watermark: int = 0,
    code: ErrorCode = ErrorCode.NONE,
    diverging: tuple[int, int] = (-1, -1),
    log_start_offset: int = 0,
) -> PartitionData:
    return PartitionData(
        partition_index=index, error_code=code, high_watermark=high_watermark, records=records,
        diverging_epoch=EpochEndOffset(epoch=diverging[0], end_offset=diverging[1]), log_start_offset=log_start_offset,
    )  # fmt: skip


def records(offset: int, *values: bytes, epoch: int = 3) -> bytes:
    """A batch as the leader has it."""
    batch = bytearray(batch_of(*values))
    rewrite_base_offset_and_epoch(batch, 0, offset, epoch)
    return bytes(batch)


def test_a_fetch_says_who_asks_for_what() -> None:
    scene = Scene()
    scene.fill(2, epoch=1)
    scene.start(T0, T1)
    request = scene.leader.fetch
    assert (request.replica_state.replica_id, request.replica_state.replica_epoch) == (2, 77)
    assert (request.max_wait_ms, request.min_bytes, request.max_bytes) == (500, 1, 10_485_760)
    first, second = scene.leader.asked()[0], scene.leader.asked()[1]
    assert (first.fetch_offset, first.current_leader_epoch, first.last_fetched_epoch) == (2, 3, 1)
    assert (second.fetch_offset, second.last_fetched_epoch, second.partition_max_bytes) == (0, -1, 1_048_576)


def test_what_comes_is_appended_and_the_next_fetch_goes_on_behind_it() -> None:
    scene = Scene()
    scene.start()
    scene.answer(data(records=records(0, b"a", b"b"), high_watermark=1))
    assert (scene.log().log_end_offset, scene.log().high_watermark) == (2, 1)
    asked = scene.leader.asked()[0]
    assert (asked.fetch_offset, asked.last_fetched_epoch, scene.leader.fetch.session_epoch) == (2, 3, 1)


def test_half_a_batch_is_fetched_again() -> None:
    scene = Scene()
    scene.start()
    whole = records(0, b"a") + records(1, b"b")
    scene.answer(data(records=whole[:-5]))
    assert scene.leader.asked()[0].fetch_offset == 1


def test_the_log_start_offset_follows_the_leaders() -> None:
    scene = Scene()
    scene.start()
    scene.answer(data(records=records(0, b"a", b"b"), high_watermark=2, log_start_offset=1))
    assert scene.log().log_start_offset == 1
    assert scene.leader.asked()[0].log_start_offset == 1


def test_a_log_that_has_parted_is_cut_and_the_session_begins_anew() -> None:
    scene = Scene()
    scene.fill(3, epoch=1)
    scene.fill(2, epoch=2)
    scene.start()
    scene.answer(data(diverging=(1, 2), high_watermark=2))
    assert scene.log().log_end_offset == 2
    asked = scene.leader.asked()[0]
    assert (asked.fetch_offset, asked.last_fetched_epoch, scene.leader.fetch.session_epoch) == (2, 1, 0)


def test_what_is_throttled_is_left_out_until_it_is_throttled_no_more() -> None:
    """However much of it was copied lately."""
    throttled: PersistentMap[ResourceKey, Mapping[str, str]] = PersistentMap()
    configs = [ConfigsImage(throttled.changed({(2, T0.topic): {FOLLOWER: "0:2"}}))]
    scene = Scene(ReplicationThrottle(FOLLOWER, 2, lambda: configs[0], lambda: 1))
    scene.start(T0, T1)
    scene.answer(data(records=records(0, b"a"), high_watermark=9), data(1, records=records(0, b"b"), high_watermark=9))
    assert [each for topic in scene.leader.fetch.forgotten_topics_data for each in topic.partitions] == [0]
    assert scene.leader.asked()[1].fetch_offset == 1
    scene.answer()
    assert 0 not in scene.leader.asked()
    configs[0] = ConfigsImage()
    scene.answer()
    assert scene.leader.asked()[0].fetch_offset == 1


def test_another_leader_epoch_replaces_the_one_before() -> None:
    scene = Scene()
    scene.start(epoch=3)
    scene.start(epoch=4)
    scene.answer(data())
    assert scene.leader.asked()[0].current_leader_epoch == 4


def test_what_was_answered_in_an_epoch_that_is_over_is_told_again() -> None:
    scene = Scene()
    scene.start(epoch=3)
    scene.answer(data())
    scene.start(epoch=4)
    scene.answer(data(high_watermark=0))
    assert (scene.leader.fetch.session_epoch, list(scene.leader.asked())) == (0, [0])


def test_records_for_an_offset_that_is_not_wanted_any_more_are_not_appended() -> None:
    scene = Scene()
    scene.start(epoch=3)
    scene.fetcher.remove([T0])
    scene.fill(1, epoch=3)
    scene.fetcher.add(T0, TOPIC_ID, 4)
    scene.answer(data(records=records(0, b"late")))
    assert scene.log().log_end_offset == 1


def test_a_log_without_leader_epochs_keeps_what_is_committed() -> None:
    scene = Scene()
    scene.fill(3, epoch=-1)
    scene.log().update_high_watermark(1)
    scene.start()
    assert scene.log().log_end_offset == 1
    assert scene.leader.asked()[0].fetch_offset == 1


def test_without_an_answer_all_wait_for_the_backoff_and_begin_a_session() -> None:
    scene = Scene()
    scene.start(T0, T1)
    scene.answer(data(0), data(1))
    scene.leader.fail(ErrorCode.NETWORK_EXCEPTION)
    scene.world.advance(BACKOFF_MS - 1)
    assert len(scene.leader.requests) == 2
    scene.world.advance(1)
    assert (len(scene.leader.requests), scene.leader.fetch.session_epoch) == (3, 0)
    assert sorted(scene.leader.asked()) == [0, 1]


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.KAFKA_STORAGE_ERROR,
    ],
)
def test_a_partition_that_is_refused_waits_and_the_others_go_on(code: ErrorCode) -> None:
    scene = Scene()
    scene.start(T0, T1)
    scene.answer(data(0, code=code), data(1))
    assert [topic.partitions for topic in scene.leader.fetch.forgotten_topics_data] == [[0]]
    scene.world.advance(BACKOFF_MS)
    scene.answer()
    assert list(scene.leader.asked()) == [0]


def test_a_partition_of_an_older_epoch_waits_for_the_metadata() -> None:
    scene = Scene()
    scene.start()
    scene.answer(data(code=ErrorCode.FENCED_LEADER_EPOCH))
    assert list(scene.fetcher.failed_partitions) == [T0]
    scene.answer(session_id=0)
    scene.world.advance(10 * BACKOFF_MS)
    assert len(scene.leader.requests) == 2
    scene.start(epoch=4)
    assert (list(scene.leader.asked()), list(scene.fetcher.failed_partitions)) == ([0], [])


def test_damaged_records_are_fetched_again_later() -> None:
    scene = Scene()
    scene.start()
    damaged = bytearray(records(0, b"a"))
    damaged[-1] ^= 1
    scene.answer(data(records=bytes(damaged)))
    assert scene.log().log_end_offset == 0
    scene.answer(session_id=0)
    scene.world.advance(BACKOFF_MS)
    assert scene.leader.asked()[0].fetch_offset == 0
    scene.answer(data(records=records(0, b"a")))
    assert scene.log().log_end_offset == 1


def test_records_that_do_not_continue_the_log_end_the_copying_of_their_partition_only() -> None:
    scene = Scene()
    scene.fill(2, epoch=3)
    scene.start(T0, T1)
    scene.answer(data(0, records=records(0, b"a")), data(1, records=records(0, b"b")))
    assert (scene.log(T0).log_end_offset, scene.log(T1).log_end_offset) == (2, 1)
    assert list(scene.fetcher.failed_partitions) == [T0]


def offset_answer(scene: Scene, offset: int, code: ErrorCode = ErrorCode.NONE) -> None:
    part = ListOffsetsPartitionResponse(partition_index=0, error_code=code, offset=offset)
    scene.leader.answer(ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="t", partitions=[part])]))
    scene.world.run_soon()


def asked_offset(scene: Scene) -> tuple[int, int, int]:
    """Replica, leader epoch and timestamp of the ListOffsets that waits."""
    request = scene.leader.requests[-1]
    assert isinstance(request, ListOffsetsRequest)
    (partition,) = request.topics[0].partitions
    return request.replica_id, partition.current_leader_epoch, partition.timestamp


def test_a_log_that_ends_behind_the_leaders_is_cut() -> None:
    scene = Scene()
    scene.fill(5, epoch=1)
    scene.start()
    scene.answer(data(code=ErrorCode.OFFSET_OUT_OF_RANGE))
    assert asked_offset(scene) == (2, 3, -1)
    offset_answer(scene, 2)
    assert scene.log().log_end_offset == 2
    assert scene.leader.asked()[0].fetch_offset == 2


def test_a_log_that_ends_before_the_leaders_begins_is_begun_anew() -> None:
    scene = Scene()
    scene.fill(5, epoch=1)
    scene.start()
    scene.answer(data(code=ErrorCode.OFFSET_OUT_OF_RANGE))
    offset_answer(scene, 90)
    assert asked_offset(scene) == (2, 3, -2)
    offset_answer(scene, 70)
    assert (scene.log().log_start_offset, scene.log().log_end_offset) == (70, 70)
    assert scene.leader.asked()[0].fetch_offset == 70


def test_a_log_within_the_leaders_is_left_alone() -> None:
    scene = Scene()
    scene.fill(5, epoch=1)
    scene.start()
    scene.answer(data(code=ErrorCode.OFFSET_OUT_OF_RANGE))
    offset_answer(scene, 90)
    offset_answer(scene, 3)
    assert (scene.log().log_start_offset, scene.log().log_end_offset) == (0, 5)


@pytest.mark.parametrize(
    ("code", "is_over"), [(ErrorCode.FENCED_LEADER_EPOCH, True), (ErrorCode.UNKNOWN_LEADER_EPOCH, False)]
)
def test_where_the_leaders_log_is_may_be_asked_again(code: ErrorCode, is_over: bool) -> None:
    scene = Scene()
    scene.fill(5, epoch=1)
    scene.start()
    scene.answer(data(code=ErrorCode.OFFSET_OUT_OF_RANGE))
    offset_answer(scene, -1, code)
    assert (list(scene.fetcher.failed_partitions) == [T0]) is is_over
    assert scene.log().log_end_offset == 5


def test_an_offset_that_comes_too_late_changes_nothing() -> None:
    scene = Scene()
    scene.fill(5, epoch=1)
    scene.start()
    scene.answer(data(code=ErrorCode.OFFSET_OUT_OF_RANGE))
    scene.fetcher.remove([T0])
    offset_answer(scene, 2)
    assert scene.log().log_end_offset == 5


@pytest.mark.parametrize(
    ("code", "session_id"), [(ErrorCode.FETCH_SESSION_ID_NOT_FOUND, 0), (ErrorCode.INVALID_FETCH_SESSION_EPOCH, 9)]
)
def test_a_session_that_is_lost_is_begun_again_at_once(code: ErrorCode, session_id: int) -> None:
    scene = Scene()
    scene.start()
    scene.answer(data())
    scene.answer(code=code, session_id=0)
    assert (scene.leader.fetch.session_id, scene.leader.fetch.session_epoch) == (session_id, 0)
    assert list(scene.leader.asked()) == [0]


def test_a_fetch_that_is_refused_as_a_whole_waits() -> None:
    scene = Scene()
    scene.start()
    scene.answer(code=ErrorCode.CLUSTER_AUTHORIZATION_FAILED, session_id=0)
    assert len(scene.leader.requests) == 1
    scene.world.advance(BACKOFF_MS)
    assert len(scene.leader.requests) == 2


def test_behind_its_end_nothing_is_sent_or_appended() -> None:
    scene = Scene()
    scene.start()
    scene.fetcher.close()
    assert scene.leader.is_closed
    scene.answer(data(records=records(0, b"a")))
    scene.world.advance(10 * BACKOFF_MS)
    assert (len(scene.leader.requests), scene.log().log_end_offset) == (1, 0)


def test_a_log_that_this_broker_leads_is_not_written_to() -> None:
    scene = Scene()
    scene.partitions[T0].apply(PartitionImage((1, 2), (1, 2), 2, 4, 4))
    uses: list[Callable[[], None]] = [
        lambda: scene.followed.append(T0, 0, records(0, b"a"), 0, 0),
        lambda: scene.followed.truncate(T0, 0),
        lambda: scene.followed.restart(T0, 5),
    ]
    for use in uses:
        with pytest.raises(KafkaError) as refusal:
            use()
        assert refusal.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_partition_is_copied_from_one_leader_only() -> None:
    scene = Scene()
    leaders: dict[str, Leader] = {}
    fetchers = Fetchers(scene.followed, lambda purpose: leaders.setdefault(purpose, Leader()), scene.ports)
    fetchers.add(T0, Source(TOPIC_ID, 1, 3))
    scene.world.run_soon()
    assert leaders == {}
    fetchers.start()
    fetchers.add(T0, Source(TOPIC_ID, 4, 4))
    scene.world.run_soon()
    assert {purpose: leader.is_closed for purpose, leader in leaders.items()} == {
        "replica-fetcher-1-0": True,
        "replica-fetcher-4-0": False,
    }
    fetchers.remove(T0)
    scene.world.run_soon()
    assert leaders["replica-fetcher-4-0"].is_closed
