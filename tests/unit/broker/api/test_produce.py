"""Produce, from the handler down to the log."""

from __future__ import annotations

import pytest

from odradek.broker.api.produce import ProduceApi
from odradek.server.handlers import CloseConnection, erase
from odradek.wire.apis import ApiKey, stable_versions
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from odradek.wire.persistent.metadata.register_broker_record import BrokerEndpoint, RegisterBrokerRecord
from odradek.wire.records.batch import iter_records
from odradek.wire.records.compression import Codec
from odradek.wire.records.header import parse_header
from tests.unit.broker.scene import Scene, batch_of, settled
from tests.unit.storage.support import stored_batches

VERSION = 12


def request(records: bytes | None, *, topic: str = "t", index: int = 0, acks: int = -1) -> ProduceRequest:
    data = None if records is None else memoryview(bytearray(records))
    return ProduceRequest(
        acks=acks,
        timeout_ms=1000,
        topic_data=[TopicProduceData(name=topic, partition_data=[PartitionProduceData(index=index, records=data)])],
    )


def send(
    scene: Scene, asked: ProduceRequest, *, version: int = VERSION, client_id: str = "test"
) -> ProduceResponse | None:
    handler = erase(ProduceApi(scene.replicas, scene.admission, scene.verifier).handler())
    response = settled(handler.handle(scene.context(handler, version, client_id), asked))
    assert response is None or isinstance(response, ProduceResponse)
    return response


def produced(scene: Scene, asked: ProduceRequest, **options: int) -> PartitionProduceResponse:
    response = send(scene, asked, **options)  # type: ignore[arg-type] # only versions are passed on
    assert response is not None
    return response.responses[0].partition_responses[0]


def stored(scene: Scene, topic: str = "t") -> list[bytes | None]:
    log = scene.replicas.partition(next(name for name in scene.replicas.partitions if name.topic == topic)).local_log()
    return [record.value for _header, view in stored_batches(log) for record in iter_records(view)]


def test_records_get_offsets_and_are_stored() -> None:
    scene = Scene()
    scene.create_topic("t")
    first = produced(scene, request(batch_of(b"a", b"b")))
    second = produced(scene, request(batch_of(b"c")))
    assert (first.error_code, first.base_offset, first.log_append_time_ms, first.log_start_offset) == (0, 0, -1, 0)
    assert second.base_offset == 2
    assert stored(scene) == [b"a", b"b", b"c"]


def test_a_topic_may_be_named_by_its_id() -> None:
    scene = Scene()
    topic_id = scene.create_topic("t")
    asked = request(batch_of(b"a"), topic="")
    asked.topic_data[0].topic_id = topic_id
    assert produced(scene, asked, version=13).error_code == ErrorCode.NONE
    asked = request(batch_of(b"a"), topic="")
    asked.topic_data[0].topic_id = bytes(15) + b"x"
    assert produced(scene, asked, version=13).error_code == ErrorCode.UNKNOWN_TOPIC_ID


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (request(batch_of(b"a"), topic="none"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (request(batch_of(b"a"), index=7), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (request(batch_of(b"a"), acks=2), ErrorCode.INVALID_REQUIRED_ACKS),
        (request(None), ErrorCode.INVALID_RECORD),
        (request(b""), ErrorCode.INVALID_RECORD),
        (request(batch_of(b"a") * 2), ErrorCode.INVALID_RECORD),
        (request(batch_of(b"a")[:-1] + b"\xff"), ErrorCode.CORRUPT_MESSAGE),
        (request(batch_of(b"x" * 1_100_000)), ErrorCode.MESSAGE_TOO_LARGE),
        (request(batch_of(b"a"), topic="__consumer_offsets"), ErrorCode.INVALID_TOPIC_EXCEPTION),
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_for_its_partition(asked: ProduceRequest, code: ErrorCode) -> None:
    scene = Scene()
    scene.create_topic("t")
    scene.create_topic("__consumer_offsets")
    answer = produced(scene, asked)
    assert (answer.error_code, answer.base_offset) == (code, -1)
    assert stored(scene) == []


def test_transactional_records_need_a_transactional_id() -> None:
    """Without one the whole request is refused, before anything of it is written."""
    scene = Scene()
    scene.create_topic("t")
    records = batch_of(b"a", producer_id=5, producer_epoch=0, base_sequence=0, is_transactional=True)
    with pytest.raises(KafkaError) as refused:
        send(scene, request(records))
    assert refused.value.code is ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    assert stored(scene) == []


def test_kafkas_own_tools_may_write_to_internal_topics() -> None:
    scene = Scene()
    scene.create_topic("__consumer_offsets")
    response = send(scene, request(batch_of(b"a"), topic="__consumer_offsets"), client_id="__admin_client")
    assert response is not None
    assert response.responses[0].partition_responses[0].error_code == ErrorCode.NONE


def test_one_bad_partition_does_not_harm_the_others() -> None:
    scene = Scene()
    scene.create_topic("t", partitions=2)
    asked = request(b"garbage")
    asked.topic_data[0].partition_data.append(
        PartitionProduceData(index=1, records=memoryview(bytearray(batch_of(b"a"))))
    )
    response = send(scene, asked)
    assert response is not None
    assert [answer.error_code for answer in response.responses[0].partition_responses] == [
        ErrorCode.INVALID_RECORD,
        ErrorCode.NONE,
    ]


def test_without_acks_success_is_silent_and_failure_closes() -> None:
    scene = Scene()
    scene.create_topic("t")
    assert send(scene, request(batch_of(b"a"), acks=0)) is None
    assert stored(scene) == [b"a"]
    with pytest.raises(CloseConnection):
        send(scene, request(batch_of(b"a"), topic="none", acks=0))


def test_a_repeated_batch_is_answered_with_its_first_offset() -> None:
    scene = Scene()
    scene.create_topic("t")
    batches = [
        batch_of(b"%d" % sequence, producer_id=5, producer_epoch=0, base_sequence=sequence) for sequence in (0, 1)
    ]
    assert [produced(scene, request(batch)).base_offset for batch in (*batches, batches[0])] == [0, 1, 0]
    assert stored(scene) == [b"0", b"1"]
    gap = batch_of(b"9", producer_id=5, producer_epoch=0, base_sequence=9)
    assert produced(scene, request(gap)).error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_log_append_time_is_told_and_stored() -> None:
    scene = Scene()
    scene.create_topic("t", config={"message.timestamp.type": "LogAppendTime"})
    scene.world.advance(5000)
    answer = produced(scene, request(batch_of(b"a", timestamp_ms=1)))
    assert answer.log_append_time_ms == scene.world.now_ms()


def test_a_compacted_topic_tells_which_records_lack_a_key() -> None:
    scene = Scene()
    scene.create_topic("t", config={"cleanup.policy": "compact"})
    answer = produced(scene, request(batch_of(b"a", b"b", key=None)))
    assert answer.error_code == ErrorCode.INVALID_RECORD
    assert [error.batch_index for error in answer.record_errors] == [0, 1]


def test_a_timestamp_beyond_the_limit_is_refused_record_by_record() -> None:
    scene = Scene()
    scene.create_topic("t")
    answer = produced(scene, request(batch_of(b"a", timestamp_ms=scene.world.now_ms() + 3_600_001)))
    assert answer.error_code == ErrorCode.INVALID_TIMESTAMP
    assert len(answer.record_errors) == 1
    assert produced(scene, request(batch_of(b"a", timestamp_ms=scene.world.now_ms() + 3_600_000))).error_code == 0


@pytest.mark.parametrize(("wanted", "codec"), [("gzip", Codec.GZIP), ("uncompressed", Codec.NONE), ("lz4", Codec.LZ4)])
def test_a_topic_may_want_another_codec(wanted: str, codec: Codec) -> None:
    scene = Scene()
    scene.create_topic("t", config={"compression.type": wanted})
    assert produced(scene, request(batch_of(b"a", b"b", codec=Codec.SNAPPY))).error_code == 0
    log = next(iter(scene.replicas.partitions.values())).local_log()
    assert [header.codec for header, _view in stored_batches(log)] == [codec]
    assert stored(scene) == [b"a", b"b"]


def test_zstd_needs_version_7() -> None:
    scene = Scene()
    scene.create_topic("t")
    batch = batch_of(b"a", codec=Codec.ZSTD)
    assert produced(scene, request(batch), version=6).error_code == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    assert produced(scene, request(batch), version=7).error_code == ErrorCode.NONE


def test_full_validation_sees_what_the_header_hides() -> None:
    batch = bytearray(batch_of(b"a"))
    broken = batch[:-1] + b"\x7f"  # a header count in the last record that its length does not allow
    from odradek.wire.records.crc import crc32c

    broken[17:21] = crc32c(memoryview(broken)[21:]).to_bytes(4, "big")
    assert parse_header(broken).record_count == 1
    for check_every_record, code in ((False, ErrorCode.NONE), (True, ErrorCode.INVALID_RECORD)):
        scene = Scene(check_every_record=check_every_record)
        scene.create_topic("t")
        assert produced(scene, request(bytes(broken))).error_code == code


def test_the_wrong_broker_is_told_who_leads() -> None:
    scene = Scene()
    scene.create_topic("t", leader=2)
    response = send(scene, request(batch_of(b"a")))
    assert response is not None
    answer = response.responses[0].partition_responses[0]
    assert answer.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (answer.current_leader.leader_id, answer.current_leader.leader_epoch) == (2, 0)


def test_acks_all_waits_for_the_in_sync_replicas_and_times_out() -> None:
    scene = Scene()
    topic_id = scene.create_topic("t")
    scene.apply(PartitionChangeRecord(partition_id=0, topic_id=topic_id, replicas=[1, 2], isr=[1, 2]))
    handler = erase(ProduceApi(scene.replicas, scene.admission, scene.verifier).handler())
    pending = handler.handle(scene.context(handler, VERSION), request(batch_of(b"a")))
    scene.world.advance(999)
    assert not getattr(pending, "done", True)
    scene.world.advance(1)
    response = settled(pending)
    assert isinstance(response, ProduceResponse)
    assert response.responses[0].partition_responses[0].error_code == ErrorCode.REQUEST_TIMED_OUT


def test_acks_all_needs_min_insync_replicas() -> None:
    scene = Scene()
    topic_id = scene.create_topic("t", config={"min.insync.replicas": "2"})
    assert produced(scene, request(batch_of(b"a"))).error_code == ErrorCode.NONE  # one replica cannot be two
    scene.apply(PartitionChangeRecord(partition_id=0, topic_id=topic_id, replicas=[1, 2], isr=[1]))
    assert produced(scene, request(batch_of(b"a"))).error_code == ErrorCode.NOT_ENOUGH_REPLICAS
    assert produced(scene, request(batch_of(b"a"), acks=1)).error_code == ErrorCode.NONE


def test_the_wrong_broker_says_so_in_every_version_and_tells_who_leads_from_version_10_on() -> None:
    scene = Scene()
    endpoint = BrokerEndpoint(name="PLAINTEXT", host="two.example", port=9292, security_protocol=0)
    scene.apply(RegisterBrokerRecord(broker_id=2, broker_epoch=1, end_points=[endpoint], rack="r", fenced=False))
    topic_id = scene.create_topic("t", leader=2)
    for version in stable_versions(ApiKey.PRODUCE):
        asked = request(batch_of(b"a"))
        asked.topic_data[0].topic_id = topic_id
        response = send(scene, asked, version=version)
        assert response is not None
        decoded = ProduceResponse.decode(response.encode(version), version)
        ((answer,),) = [topic.partition_responses for topic in decoded.responses]
        assert answer.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        told = (
            answer.current_leader.leader_id,
            [(node.node_id, node.host, node.port) for node in decoded.node_endpoints],
        )
        assert told == ((2, [(2, "two.example", 9292)]) if version >= 10 else (-1, []))
