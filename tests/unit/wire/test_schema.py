"""How declared messages behave: constructors, versions, nulls, tagged fields, records, budgets."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from odradek.wire import Budget, ProtocolError, RecordsSource
from odradek.wire.messages.api_versions import ApiVersionsRequest
from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest
from odradek.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)
from odradek.wire.messages.headers import RequestHeader
from odradek.wire.messages.heartbeat import HeartbeatRequest
from odradek.wire.messages.join_group import JoinGroupRequest
from odradek.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from odradek.wire.persistent.group.consumer_group_member_metadata import ConsumerGroupMemberMetadataValue
from odradek.wire.schema import (
    INT32,
    JOINED_AT_ONCE,
    STRING,
    UNCOMPILED_CONSTRUCTIONS,
    Chunk,
    Message,
    Struct,
    array,
    field,
    nested,
)


class Span:
    """Records that are not in memory."""

    def __init__(self, size: int) -> None:
        self.size = size


def produce(*records: bytes | bytearray | memoryview | RecordsSource | None) -> ProduceRequest:
    partitions = [PartitionProduceData(index=i, records=content) for i, content in enumerate(records)]
    return ProduceRequest(acks=-1, timeout_ms=9, topic_data=[TopicProduceData(name="t", partition_data=partitions)])


def test_fields_have_kafkas_defaults() -> None:
    request = FetchRequest()
    assert (request.cluster_id, request.replica_id, request.max_wait_ms, request.max_bytes) == (None, -1, 0, 0x7FFFFFFF)
    assert request.replica_state.replica_epoch == -1
    assert request.topics == []
    assert request.rack_id == ""
    assert FetchPartition().high_watermark == (1 << 63) - 1
    assert PartitionProduceData().records is None
    assert CreateTopicsRequest().timeout_ms == 60_000


def test_defaults_are_not_shared() -> None:
    first, second = FetchRequest(), FetchRequest()
    first.topics.append(FetchTopic(topic="t"))
    first.replica_state.replica_id = 3
    assert second.topics == []
    assert second.replica_state.replica_id == -1


def test_constructors_take_the_declared_names_only() -> None:
    unchecked: Callable[..., FetchTopic] = FetchTopic
    with pytest.raises(TypeError):
        unchecked(topics="t")
    with pytest.raises(TypeError):
        unchecked("t")
    with pytest.raises(AttributeError):
        FetchTopic().topics = []  # type: ignore[attr-defined]


def test_the_first_values_of_a_class_are_made_as_all_later_ones() -> None:
    class Part(Struct):
        number: int = field(INT32, "0+", default=7)

    class Whole(Message, kind="data", versions="0-1"):
        name: str = field(STRING, "0+")
        key: str | None = field(STRING, "0+", nullable="0+", default=None)
        part: Part = field(nested(Part), "0+")
        parts: list[Part] = field(array(Part), "0+")

    unchecked: Callable[..., Whole] = Whole
    for _ in range(2 * UNCOMPILED_CONSTRUCTIONS):
        empty = Whole()
        assert (empty.name, empty.key, empty.part.number, empty.parts, empty.unknown_tags) == ("", None, 7, [], ())
        empty.parts.append(empty.part)
        part = Part(number=3)
        full = Whole(name="n", key="k", part=part, parts=[part], unknown_tags=((5, b"x"),))
        assert (full.name, full.key, full.part, full.parts, full.unknown_tags) == ("n", "k", part, [part], ((5, b"x"),))
        with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
            unchecked(other=1)
        with pytest.raises(TypeError):
            unchecked("n")
    assert "__init__" in vars(Whole)
    assert "__init__" in vars(Part)


def test_equality_is_by_value_and_class() -> None:
    assert HeartbeatRequest(group_id="g") == HeartbeatRequest(group_id="g")
    assert HeartbeatRequest(group_id="g") != HeartbeatRequest(group_id="h")
    assert HeartbeatRequest() != HeartbeatRequest(unknown_tags=((1, b""),))
    assert HeartbeatRequest() != JoinGroupRequest()


def test_repr_names_the_fields_and_does_not_dump_records() -> None:
    assert "group_id='g'" in repr(HeartbeatRequest(group_id="g"))
    decoded = ProduceRequest.decode(produce(b"secret").encode(9), 9)
    assert "records=<6 bytes>" in repr(decoded)


def test_class_attributes_say_what_the_message_is() -> None:
    assert (ProduceRequest.NAME, ProduceRequest.API_KEY, ProduceRequest.KIND) == ("ProduceRequest", 0, "request")
    assert (ProduceRequest.MIN_VERSION, ProduceRequest.MAX_VERSION) == (3, 13)
    assert range(9, 14) == ProduceRequest.FLEXIBLE
    assert ProduceRequest.LISTENERS == ("broker",)
    assert ProduceRequest.LATEST_UNSTABLE is False
    assert len(RequestHeader.FLEXIBLE) == 1


@pytest.mark.parametrize("version", [-1, 2, 14, 1000])
def test_a_version_that_does_not_exist_is_an_error(version: int) -> None:
    with pytest.raises(ProtocolError, match="no version"):
        produce().encode(version)
    with pytest.raises(ProtocolError, match="no version"):
        ProduceRequest.decode(b"", version)


def test_a_value_that_the_version_cannot_carry_is_an_error() -> None:
    request = JoinGroupRequest(group_instance_id="static")
    assert JoinGroupRequest.decode(request.encode(5), 5).group_instance_id == "static"
    with pytest.raises(ProtocolError, match="group_instance_id"):
        request.encode(4)


def test_an_ignorable_value_is_dropped_where_the_version_cannot_carry_it() -> None:
    request = FetchRequest(rack_id="rack")
    assert FetchRequest.decode(request.encode(11), 11).rack_id == "rack"
    assert FetchRequest.decode(request.encode(10), 10).rack_id == ""


def test_null_is_an_error_where_the_version_does_not_allow_it() -> None:
    assert HeartbeatRequest(group_instance_id=None).encode(4)
    with pytest.raises(ProtocolError, match="null"):
        ConsumerGroupMemberMetadataValue.decode(b"\x01\x01\x00", 0)


@pytest.mark.parametrize(
    "request_", [FetchRequest(max_wait_ms=1 << 31), FetchRequest(rack_id="x" * 32_768), FetchRequest(rack_id="\ud800")]
)
def test_a_value_out_of_its_types_range_is_a_protocol_error(request_: FetchRequest) -> None:
    for version in (11, 12):
        with pytest.raises(ProtocolError):
            request_.encode(version)


def test_text_that_is_not_utf_8_is_repaired_as_kafka_does() -> None:
    content = HeartbeatRequest(group_id="a?b").encode(0).replace(b"?", b"\xff")
    assert HeartbeatRequest.decode(content, 0).group_id == "a\ufffdb"


def test_unknown_tagged_fields_are_kept_in_order_of_tag() -> None:
    request = FetchRequest(cluster_id="c", unknown_tags=((300, b"late"), (7, b"early")))
    content = request.encode(12)
    decoded = FetchRequest.decode(content, 12)
    assert decoded.unknown_tags == ((7, b"early"), (300, b"late"))
    assert decoded.cluster_id == "c"
    assert decoded.encode(12) == content


def test_unknown_tagged_fields_cannot_be_lost_or_collide() -> None:
    with pytest.raises(ProtocolError, match="unknown tagged fields"):
        FetchRequest(unknown_tags=((7, b""),)).encode(11)
    with pytest.raises(ProtocolError, match="used twice"):
        FetchRequest(cluster_id="c", unknown_tags=((0, b""),)).encode(12)


def test_a_tag_of_another_version_is_malformed() -> None:
    partition = FetchPartition(high_watermark=5)
    assert FetchPartition.decode(partition.encode(18), 18) == partition
    plain = FetchPartition().encode(17)
    with_tag_1 = plain[:-1] + b"\x01\x01\x08" + bytes(8)
    with pytest.raises(ProtocolError, match="not one of version 17"):
        FetchPartition.decode(with_tag_1, 17)


def test_a_tagged_field_must_fill_its_announced_size() -> None:
    content = ApiVersionsRequest().encode(3)
    assert FetchRequest(cluster_id="c").encode(12).endswith(b"\x01\x00\x02\x02c")
    tampered = FetchRequest(cluster_id="c").encode(12)[:-3] + b"\x03\x02c."
    with pytest.raises(ProtocolError, match="does not fill"):
        FetchRequest.decode(tampered, 12)
    assert content.endswith(b"\x00")


def test_decoded_records_are_a_view_of_the_input() -> None:
    content = bytearray(produce(b"RECORDS").encode(9))
    decoded = ProduceRequest.decode(content, 9)
    records = decoded.topic_data[0].partition_data[0].records
    assert isinstance(records, memoryview)
    content[content.index(b"RECORDS")] = ord("r")
    assert bytes(records) == b"rECORDS"


@pytest.mark.parametrize("version", [8, 9, 13])
def test_records_may_come_from_any_buffer_or_be_null(version: int) -> None:
    request = produce(b"ab", bytearray(b"ab"), memoryview(b"ab"), b"", None)
    decoded = ProduceRequest.decode(request.encode(version), version).topic_data[0].partition_data
    assert [None if p.records is None else bytes(p.records) for p in decoded] == [b"ab", b"ab", b"ab", b"", None]  # type: ignore[arg-type]


def test_chunks_hand_records_on_in_place() -> None:
    span = Span(5)
    inline = memoryview(b"12345")
    chunks = produce(span, b"", inline).encode_chunks(9)
    assert chunks[1] is span
    assert chunks[3] is inline
    joined = b"".join(b"12345" if chunk is span else bytes(chunk) for chunk in chunks)  # type: ignore[arg-type]
    assert joined == produce(b"12345", b"", b"12345").encode(9)


@pytest.mark.parametrize("count", [0, 3, JOINED_AT_ONCE])
def test_a_value_is_written_the_same_in_steps_of_one_struct(count: int) -> None:
    span = Span(5)
    request = produce(*[span, b"", memoryview(b"12345"), *([None] * count), span])
    chunks: list[Chunk] = []
    steps = sum(1 for _ in request.encode_in_steps(9, b"head", chunks))
    assert steps == 4 + count + 2  # partitions, the topic, the end
    whole = request.encode_chunks(9, b"head")
    assert [chunk for chunk in chunks if isinstance(chunk, Span)] == [span, span]
    assert _joined(chunks) == _joined(whole)
    assert (len(chunks) > len(whole)) == (count == JOINED_AT_ONCE)  # what is very long is joined piece by piece


def test_a_value_that_does_not_fit_is_an_error_in_steps_as_well() -> None:
    with pytest.raises(ProtocolError, match="does not fit"):
        list(FetchRequest(max_wait_ms=1 << 40).encode_in_steps(12, b"", []))
    with pytest.raises(ProtocolError, match="no version"):
        list(HeartbeatRequest(group_id="g", member_id="m").encode_in_steps(99, b"", []))


def _joined(chunks: list[Chunk]) -> bytes:
    return b"".join(b"span!" if isinstance(chunk, Span) else bytes(chunk) for chunk in chunks)  # type: ignore[arg-type]


def test_records_that_are_not_in_memory_cannot_become_bytes() -> None:
    response = FetchResponse(responses=[FetchableTopicResponse(topic="t", partitions=[PartitionData(records=Span(1))])])
    with pytest.raises(TypeError, match="encode_chunks"):
        response.encode(12)
    assert [type(chunk) for chunk in response.encode_chunks(12)] == [bytes, Span, bytes]


def test_a_budget_bounds_what_one_decode_creates_and_spans_several() -> None:
    request = FetchRequest(topics=[FetchTopic(topic="t", partitions=[FetchPartition() for _ in range(4)])])
    content = request.encode(12)
    budget = Budget(objects=12)
    FetchRequest.decode(content, 12, budget=budget)
    assert budget.objects == 7
    FetchRequest.decode(content, 12, budget=budget)
    with pytest.raises(ProtocolError, match="budget"):
        FetchRequest.decode(content, 12, budget=budget)


def test_without_a_budget_there_is_a_default_one() -> None:
    class Numbers(Message, kind="data", versions="0"):
        numbers: list[int] = field(array(INT32), "0+")

    with pytest.raises(ProtocolError, match="budget"):
        Numbers.decode((1_000_001).to_bytes(4, "big") + bytes(4_000_004), 0)
    assert len(Numbers.decode((1_000_000).to_bytes(4, "big") + bytes(4_000_000), 0).numbers) == 1_000_000


def test_tagged_fields_count_against_the_budget() -> None:
    tags = b"".join(bytes((tag, 0)) for tag in range(10, 110))
    content = HeartbeatRequest().encode(4)[:-1] + b"\x64" + tags
    assert len(HeartbeatRequest.decode(content, 4, budget=Budget(objects=100)).unknown_tags) == 100
    with pytest.raises(ProtocolError, match="budget"):
        HeartbeatRequest.decode(content, 4, budget=Budget(objects=99))


def test_a_count_is_refused_before_anything_is_made_of_it() -> None:
    count = (1 << 20).to_bytes(4, "big")
    with pytest.raises(ProtocolError, match=r"1048576 elements, but \d+ bytes are left"):
        CreateTopicsRequest.decode(count + os.urandom(1000), 2)


def test_a_count_is_measured_against_the_bytes_that_are_left() -> None:
    class Padded(Message, kind="data", versions="0-1", flexible="1+"):
        text: str = field(STRING, "0+")
        numbers: list[int] = field(array(INT32), "0+")

    head = Padded(text="x" * 100).encode(0)[:-4]
    with pytest.raises(ProtocolError, match="3 elements, but 11 bytes are left"):
        Padded.decode(head + b"\x00\x00\x00\x03" + bytes(11), 0)
    assert Padded.decode(head + b"\x00\x00\x00\x03" + bytes(12), 0).numbers == [0, 0, 0]
    with pytest.raises(ProtocolError, match="6 tagged fields, but 11 bytes are left"):
        Padded.decode(Padded(text="x" * 100).encode(1)[:-1] + b"\x06" + bytes(11), 1)


def test_nested_structs_have_the_versions_of_their_message() -> None:
    topic = CreatableTopic(name="t", num_partitions=3)
    assert CreatableTopic.decode(topic.encode(5), 5) == topic
    assert len(topic.encode(5)) < len(topic.encode(4))


def test_a_message_of_ones_own_is_declared_like_kafkas() -> None:
    class Note(Message, kind="data", versions="0-1", flexible="1+"):
        text: str | None = field(STRING, "0+", nullable="1+")

    assert Note(text="a").encode(0) == b"\x00\x01a"
    assert Note(text=None).encode(1) == b"\x00\x00"
    with pytest.raises(ProtocolError):
        Note(text=None).encode(0)
