"""Fetch, from the handler down to the log: limits, waiting, sessions."""

from __future__ import annotations

from odradek.broker.api.fetch import FetchApi, FetchLimits
from odradek.broker.fetch.session import SessionCache
from odradek.ports import Promise
from odradek.server.handlers import erase
from odradek.wire.apis import ApiKey, stable_versions
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData
from odradek.wire.persistent.metadata.register_broker_record import BrokerEndpoint, RegisterBrokerRecord
from odradek.wire.records.batch import iter_records
from odradek.wire.records.header import iter_batches
from tests.unit.broker.scene import Scene, settled

VERSION = 12
MAX_WAIT_MS = 500


class Broker:
    """A scene with its Fetch handler."""

    def __init__(self) -> None:
        self.scene = Scene()
        sessions = SessionCache(self.scene.world, self.scene.world, slots=10, eviction_ms=120_000)
        self.api = FetchApi(self.scene.replicas, sessions, FetchLimits(max_bytes=55 * 1024 * 1024))

    def start(self, request: FetchRequest, version: int = VERSION) -> Promise[FetchResponse] | FetchResponse:
        handler = erase(self.api.handler())
        return handler.handle(self.scene.context(handler, version), request)  # type: ignore[return-value] # its own

    def fetch(self, request: FetchRequest, version: int = VERSION) -> FetchResponse:
        response = settled(self.start(request, version))
        assert isinstance(response, FetchResponse)
        return response

    def parts(self, request: FetchRequest) -> list[PartitionData]:
        return [part for topic in self.fetch(request).responses for part in topic.partitions]


def request(
    *offsets: int,
    topic: str = "t",
    partition_max_bytes: int = 1_000_000,
    max_bytes: int = 50_000_000,
    min_bytes: int = 0,
    max_wait_ms: int = MAX_WAIT_MS,
    session_id: int = 0,
    session_epoch: int = -1,
) -> FetchRequest:
    """Fetch partition 0 from the first offset, 1 from the second, and so on."""
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        session_id=session_id,
        session_epoch=session_epoch,
        topics=[
            FetchTopic(
                topic=topic,
                partitions=[
                    FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=partition_max_bytes)
                    for index, offset in enumerate(offsets)
                ],
            )
        ]
        if offsets
        else [],
    )


def values(part: PartitionData) -> list[bytes | None]:
    records = part.records
    assert records is not None
    data = records if isinstance(records, bytes | bytearray | memoryview) else records.read(0, records.size)  # type: ignore[attr-defined] # a FileRange
    return [
        record.value
        for position, header in iter_batches(data)
        for record in iter_records(memoryview(data)[position : position + header.size_bytes])
    ]


def test_a_batch_is_returned_whole_also_from_its_middle() -> None:
    broker = Broker()
    broker.scene.create_topic("t")
    broker.scene.append("t", b"a", b"b", b"c")
    broker.scene.append("t", b"d")
    (part,) = broker.parts(request(1))
    assert values(part) == [b"a", b"b", b"c", b"d"]
    assert (part.high_watermark, part.last_stable_offset, part.log_start_offset) == (4, 4, 0)
    assert values(broker.parts(request(3))[0]) == [b"d"]
    assert values(broker.parts(request(4))[0]) == []


def test_the_first_batch_comes_even_if_it_is_larger_than_the_limits() -> None:
    broker = Broker()
    broker.scene.create_topic("t", partitions=2)
    for partition in (0, 1):
        broker.scene.append("t", b"x" * 1000, partition=partition)
        broker.scene.append("t", b"y", partition=partition)
    first, second = broker.parts(request(0, 0, partition_max_bytes=10))
    assert values(first) == [b"x" * 1000]
    assert values(second) == []
    first, second = broker.parts(request(0, 0, max_bytes=1))
    assert (len(values(first)), len(values(second))) == (1, 0)


def test_errors_stay_with_their_partition() -> None:
    broker = Broker()
    broker.scene.create_topic("t")
    broker.scene.append("t", b"a")
    known, unknown = broker.parts(request(0, 0))
    assert values(known) == [b"a"]
    assert (unknown.error_code, unknown.high_watermark) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1)
    (part,) = broker.parts(request(7))
    assert part.error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_a_fetch_waits_for_data_and_is_answered_at_once_when_it_comes() -> None:
    broker = Broker()
    broker.scene.create_topic("t")
    pending = broker.start(request(0, min_bytes=1))
    assert isinstance(pending, Promise)
    assert not pending.done
    broker.scene.append("t", b"a")
    broker.scene.world.run_soon()
    assert values(pending.result().responses[0].partitions[0]) == [b"a"]


def test_a_fetch_without_enough_data_is_answered_when_its_time_is_over() -> None:
    broker = Broker()
    broker.scene.create_topic("t")
    pending = broker.start(request(0, min_bytes=10_000))
    assert isinstance(pending, Promise)
    broker.scene.append("t", b"a")
    broker.scene.world.advance(MAX_WAIT_MS - 1)
    assert not pending.done
    broker.scene.world.advance(1)
    assert values(pending.result().responses[0].partitions[0]) == [b"a"]


def test_deleting_the_topic_ends_the_wait() -> None:
    broker = Broker()
    topic_id = broker.scene.create_topic("t")
    pending = broker.start(request(0, min_bytes=1))
    assert isinstance(pending, Promise)
    broker.scene.delete_topic(topic_id)
    broker.scene.world.run_soon()
    assert pending.result().responses[0].partitions[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_session_tells_only_what_changed() -> None:
    broker = Broker()
    broker.scene.create_topic("t", partitions=2)
    opened = broker.fetch(request(0, 0, session_epoch=0))
    assert [part.partition_index for part in opened.responses[0].partitions] == [0, 1]
    assert opened.session_id != 0
    broker.scene.append("t", b"a", partition=1)
    follow = request(session_id=opened.session_id, session_epoch=1)
    answer = broker.fetch(follow)
    assert [part.partition_index for part in answer.responses[0].partitions] == [1]


def test_a_stale_session_is_a_top_level_error() -> None:
    answer = Broker().fetch(request(session_id=77, session_epoch=3))
    assert answer.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_topics_are_named_by_id_from_version_13_on() -> None:
    broker = Broker()
    topic_id = broker.scene.create_topic("t")
    broker.scene.append("t", b"a")
    asked = request(0, topic="")
    asked.topics[0].topic_id = topic_id
    answer = broker.fetch(asked, version=13)
    assert answer.responses[0].topic_id == topic_id
    assert values(answer.responses[0].partitions[0]) == [b"a"]
    asked.topics[0].topic_id = bytes(15) + b"x"
    assert broker.fetch(asked, version=13).responses[0].partitions[0].error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_a_leader_epoch_from_the_past_or_future_is_refused() -> None:
    broker = Broker()
    broker.scene.create_topic("t")
    for epoch, code in ((0, ErrorCode.NONE), (1, ErrorCode.UNKNOWN_LEADER_EPOCH)):
        asked = request(0)
        asked.topics[0].partitions[0].current_leader_epoch = epoch
        assert broker.parts(asked)[0].error_code == code


def test_whoever_poses_as_a_follower_sees_nothing() -> None:
    broker = Broker()
    broker.scene.create_topic("t")
    broker.scene.append("t", b"a")
    for replica_id in (1, 2, 99):
        asked = request(0)
        asked.replica_id = replica_id
        (part,) = broker.parts(asked)
        assert part.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert values(part) == []


def test_a_fetch_that_nobody_waits_for_any_more_is_not_kept() -> None:
    broker = Broker()
    broker.scene.create_topic("t")
    answer = broker.start(request(0, min_bytes=1, max_wait_ms=2**31 - 1))
    assert isinstance(answer, Promise)
    assert (answer.done, len(broker.scene.replicas.waiting)) == (False, 1)
    answer.abandon()
    assert len(broker.scene.replicas.waiting) == 0


def test_the_wrong_broker_says_so_in_every_version_and_tells_who_leads_from_version_16_on() -> None:
    broker = Broker()
    endpoint = BrokerEndpoint(name="PLAINTEXT", host="two.example", port=9292, security_protocol=0)
    broker.scene.apply(RegisterBrokerRecord(broker_id=2, broker_epoch=1, end_points=[endpoint], fenced=False))
    topic_id = broker.scene.create_topic("t", leader=2, replicas=[2])
    for version in stable_versions(ApiKey.FETCH):
        asked = request(0)
        asked.topics[0].topic_id = topic_id
        decoded = FetchResponse.decode(broker.fetch(asked, version).encode(version), version)
        ((part,),) = [topic.partitions for topic in decoded.responses]
        assert part.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        told = (
            part.current_leader.leader_id,
            [(node.node_id, node.host, node.port) for node in decoded.node_endpoints],
        )
        assert told == ((2, [(2, "two.example", 9292)]) if version >= 16 else (-1, []))
