from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from benchmarks.load.fetch_wire import (
    LAST_NAMED_VERSION,
    VERSIONS,
    FetchFailed,
    FetchSession,
    Limits,
    PartitionAnswer,
    RequestWriter,
    count_batches,
    next_offset,
    read_answer,
    read_uvarint,
    uvarint,
)
from odradek.wire.messages.fetch import (
    AbortedTransaction,
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionData,
)
from tests.support.batches import Lies, batch
from tests.support.wire import encode_request, framed

TOPIC, TOPIC_ID = "a-name-of-some-length", bytes(range(16))
LIMITS = Limits(max_wait_ms=321, min_bytes=7, max_bytes=1 << 22, partition_max_bytes=1 << 15)


def writer(version: int) -> RequestWriter:
    return RequestWriter(version, TOPIC, TOPIC_ID, LIMITS)


def session(version: int = 18, partitions: int = 3, *, incremental: bool = True) -> FetchSession:
    offsets = dict.fromkeys(range(partitions), 0)
    return FetchSession(writer(version), version, offsets, LIMITS, incremental=incremental)


def decoded(frame: bytes, version: int) -> FetchRequest:
    header_bytes = 4 + 2 + 2 + 4 + 2 + len("raw") + 1
    return FetchRequest.decode(frame[header_bytes:], version)


def asked(frame: bytes, version: int = 18) -> dict[int, int]:
    """The partitions that a request names, with their offsets."""
    return {each.partition: each.fetch_offset for topic in decoded(frame, version).topics for each in topic.partitions}


def answered(
    partitions: Sequence[PartitionData], *, correlation_id: int = 1, session_id: int = 77, error_code: int = 0
) -> bytes:
    """A response of the newest version, header included."""
    topics = [FetchableTopicResponse(topic_id=TOPIC_ID, partitions=list(partitions))] if partitions else []
    response = FetchResponse(session_id=session_id, error_code=error_code, responses=topics)
    return correlation_id.to_bytes(4, "big") + b"\0" + response.encode(18)


def read_until(offset: int, records: int = 1, partition: int = 0) -> PartitionData:
    """A partition's answer with one batch, which ends before `offset`."""
    data = batch([b"v"] * records, lies=Lies(base_offset=offset - records))
    return PartitionData(partition_index=partition, high_watermark=offset, records=data, aborted_transactions=None)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("offsets", [{}, {0: 5}, dict(enumerate(range(1 << 40, (1 << 40) + 200)))])
def test_requests_are_those_of_the_declarations(version: int, offsets: dict[int, int]) -> None:
    partitions = [
        FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=LIMITS.partition_max_bytes)
        for index, offset in offsets.items()
    ]
    named = version <= LAST_NAMED_VERSION
    topic = FetchTopic(topic=TOPIC if named else "", topic_id=bytes(16) if named else TOPIC_ID, partitions=partitions)
    request = FetchRequest(
        max_wait_ms=99,
        min_bytes=LIMITS.min_bytes,
        max_bytes=LIMITS.max_bytes,
        session_id=41,
        session_epoch=6,
        topics=[topic] if offsets else [],
    )
    written = writer(version).write(1234, 41, 6, offsets, max_wait_ms=99)
    assert written == framed(encode_request(request, version, 1234))


def test_other_versions_are_refused() -> None:
    for version in (VERSIONS[0] - 1, VERSIONS[-1] + 1):
        with pytest.raises(ValueError, match="version"):
            writer(version)


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_are_read_as_the_declarations_write_them(version: int) -> None:
    records = batch([b"v"] * 3, lies=Lies(base_offset=1 << 40))
    partitions = [
        PartitionData(partition_index=300, high_watermark=9, records=records * 20, aborted_transactions=None),
        PartitionData(
            partition_index=1,
            error_code=6,
            high_watermark=-1,
            records=None,
            aborted_transactions=[AbortedTransaction(producer_id=1, first_offset=2)] * 3,
            current_leader=LeaderIdAndEpoch(leader_id=4, leader_epoch=5),
        ),
        PartitionData(partition_index=2, high_watermark=7, records=b"", aborted_transactions=[]),
    ]
    named = version <= LAST_NAMED_VERSION
    topic = FetchableTopicResponse(
        topic=TOPIC if named else "", topic_id=bytes(16) if named else TOPIC_ID, partitions=partitions
    )
    response = FetchResponse(error_code=3, session_id=77, responses=[topic, topic])
    if version >= 16:
        response.node_endpoints = [NodeEndpoint(node_id=4, host="elsewhere", port=9)]
    data = b"before" + struct.pack(">ix", 4711) + response.encode(version)
    answer = read_answer(data + b"behind", 6, len(data), version)
    assert (answer.correlation_id, answer.error_code, answer.session_id) == (4711, 3, 77)
    of_topic = [
        PartitionAnswer(300, 0, 9, len(records) * 20, (1 << 40) + 3),
        PartitionAnswer(1, 6, -1, 0, -1),
        PartitionAnswer(2, 0, 7, 0, -1),
    ]
    assert answer.partitions == of_topic * 2


def test_an_answer_that_breaks_off_anywhere_is_refused() -> None:
    data = answered([read_until(3), read_until(9, partition=1)])
    for end in range(len(data)):
        with pytest.raises(FetchFailed):
            read_answer(data[:end], 0, end, 18)
    with pytest.raises(FetchFailed, match="that ends after"):
        read_answer(data + b"\0", 0, len(data) + 1, 18)


def test_the_next_offset_is_behind_the_last_whole_batch() -> None:
    first, second = batch([b"v"] * 3, lies=Lies(base_offset=10)), batch([b"w"] * 5, lies=Lies(base_offset=20))
    both = first + second
    assert next_offset(b"xx" + both + b"yy", 2, 2 + len(both)) == 25
    for end in range(len(first), len(both)):
        assert next_offset(both, 0, end) == 13
    for end in range(len(first)):
        assert next_offset(both, 0, end) == -1


def test_a_compacted_batch_ends_where_its_last_offset_delta_says() -> None:
    data = batch([b"v"], lies=Lies(base_offset=10, last_offset_delta=9))
    assert next_offset(data, 0, len(data)) == 20


@pytest.mark.parametrize("length", [-12, 0, 48])
def test_a_batch_shorter_than_its_header_is_refused(length: int) -> None:
    data = batch([b"v" * 100], lies=Lies(length=length))
    with pytest.raises(FetchFailed, match=f"length {length}"):
        next_offset(data, 0, len(data))
    with pytest.raises(FetchFailed, match=f"length {length}"):
        count_batches(data, 0, len(data))


def test_whole_batches_are_counted() -> None:
    data = batch([b"v"] * 3)
    assert count_batches(b"x" + data * 4, 1, 1 + len(data) * 4) == (4, len(data) * 4)
    assert count_batches(data * 4, 0, len(data) * 4 - 1) == (3, len(data) * 3)
    assert count_batches(data, 0, 60) == (0, 0)


def test_a_session_begins_with_all_partitions_and_goes_on_with_those_that_moved() -> None:
    fetches = session()
    first = fetches.request()
    assert asked(first) == {0: 0, 1: 0, 2: 0}
    request = decoded(first, 18)
    assert (request.session_id, request.session_epoch, request.max_wait_ms) == (0, 0, 0)

    data = answered([read_until(4, 4), PartitionData(partition_index=1, records=b""), read_until(7, 7, 2)])
    assert [answer.partition for answer in fetches.accept(data, 0, len(data))] == [0, 1, 2]
    second = fetches.request()
    assert asked(second) == {0: 4, 2: 7}
    request = decoded(second, 18)
    assert (request.session_id, request.session_epoch, request.max_wait_ms) == (77, 1, LIMITS.max_wait_ms)

    data = answered([], correlation_id=2)
    assert fetches.accept(data, 0, len(data)) == []
    third = fetches.request()
    assert decoded(third, 18).session_epoch == 2
    assert asked(third) == {}
    assert fetches.offsets == {0: 4, 1: 0, 2: 7}


def test_without_sessions_all_partitions_are_named_each_time() -> None:
    fetches = session(incremental=False)
    assert decoded(fetches.request(), 18).session_epoch == -1
    data = answered([read_until(4, 4)], session_id=0)
    fetches.accept(data, 0, len(data))
    request = fetches.request()
    assert asked(request) == {0: 4, 1: 0, 2: 0}
    assert (decoded(request, 18).session_epoch, decoded(request, 18).max_wait_ms) == (-1, LIMITS.max_wait_ms)


def test_a_session_that_begins_anew_ends_the_one_before() -> None:
    fetches = session()
    fetches.request()
    data = answered([read_until(4, 4)])
    fetches.accept(data, 0, len(data))
    fetches.rewind()
    request = fetches.request()
    assert asked(request) == {0: 0, 1: 0, 2: 0}
    assert (decoded(request, 18).session_id, decoded(request, 18).session_epoch) == (77, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (answered([], error_code=70), "error code 70"),
        (answered([], session_id=0), "no session"),
        (answered([], correlation_id=9), "an answer to 9"),
        (answered([PartitionData(partition_index=2, error_code=1, records=b"")]), "partition 2 .* error code 1"),
        (answered([PartitionData(partition_index=2, records=batch()[:-1])]), "without a whole batch"),
    ],
)
def test_what_the_broker_refuses_ends_the_session(data: bytes, reason: str) -> None:
    fetches = session()
    fetches.request()
    with pytest.raises(FetchFailed, match=reason):
        fetches.accept(data, 0, len(data))


def test_records_that_were_there_before_are_no_progress() -> None:
    fetches = session()
    fetches.request()
    data = answered([read_until(4, 4)])
    fetches.accept(data, 0, len(data))
    fetches.request()
    data = answered([read_until(4, 4)], correlation_id=2)
    with pytest.raises(FetchFailed, match="that is new"):
        fetches.accept(data, 0, len(data))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 1 << 20, (1 << 32) - 1])
def test_unsigned_varints_come_back(value: int) -> None:
    data = b"x" + uvarint(value)
    assert read_uvarint(data + b"\xff", 1) == (value, len(data))
