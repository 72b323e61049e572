"""Hostile input: it costs an error or one connection; a second connection stays quick; the process survives."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from odradek.wire import apis
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest
from odradek.wire.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from odradek.wire.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from odradek.wire.messages.produce import ProduceRequest, ProduceResponse
from odradek.wire.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from odradek.wire.records.compression import Codec, compress
from odradek.wire.schema import Message
from tests.support.batches import Lies, batch, varint
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import code, connect, create_topic, fetch, fetch_request, produce, produce_request
from tests.support.targets import Target
from tests.support.wire import Closed, Connection, framed, request_header

NewTopic = Callable[..., str]
QUICK_S = 2.0
SOON_S = 0.75
"""Small requests while large ones are handled: long enough for a busy machine, far less than the large ones take."""
ELEMENTS = 60_000
DECIDED_ELEMENTS = 16_000
MEMORY_CEILING_BYTES = 192 << 20
"""How much an attack may add to this project's broker at any moment."""
BOMB_CEILING_BYTES = 288 << 20
"""The same where a batch holds more than it may: twice the 128 MiB of `decompress`, and what else is in motion."""


@contextmanager
def nobody_else_notices(target: Target, ceiling_bytes: int = MEMORY_CEILING_BYTES) -> Iterator[None]:
    """Before and after, another connection is answered quickly; in between, our process stays below a ceiling."""
    with connect(target) as other:
        other.call(MetadataRequest(topics=[]), MetadataResponse)
        before = 0
        if isinstance(target, BrokerProcess):
            target.reset_peak()
            before = target.resident_bytes()
        yield
        begun = time.monotonic()
        assert other.call(MetadataRequest(topics=[]), MetadataResponse).brokers
        assert time.monotonic() - begun < QUICK_S
        if target.name == "odradek" and isinstance(target, BrokerProcess):
            assert target.peak_bytes_since_reset() - before < ceiling_bytes


def answered_or_closed(connection: Connection, within_s: float = 20.0) -> bool:
    """Whether the peer answers with a frame or closes; False if it keeps silent."""
    connection.socket.settimeout(within_s)
    try:
        connection.receive_frame()
    except (Closed, ConnectionError):
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("size", [0, 1, 4, 7], ids=lambda size: f"{size}-bytes")
def test_frames_too_short_for_a_header(target: Target, size: int) -> None:
    """The connection is closed."""
    with nobody_else_notices(target), connect(target) as hostile:
        hostile.send_bytes(framed(bytes([0xFF] * size)))
        assert hostile.is_closed_by_peer()


def test_half_a_header_waits_and_harms_nobody(target: Target) -> None:
    """Many connections that never finish their first frame."""
    with nobody_else_notices(target):
        hostile = [connect(target) for _ in range(50)]
        for connection in hostile:
            connection.send_bytes(struct.pack(">ih", 100, 18))
        for connection in hostile:
            connection.close()


def test_requests_with_tens_of_thousands_of_elements(target: Target, new_topic: NewTopic) -> None:
    """Whoever has little to ask is answered soon, however much others ask for at the same time."""
    names = [f"no-such-{number}" for number in range(ELEMENTS)]
    partitions = [FetchPartition(partition=number) for number in range(ELEMENTS)]
    offsets = [ListOffsetsPartition(partition_index=number, timestamp=-1) for number in range(ELEMENTS)]
    commits = [TxnOffsetCommitRequestPartition(committed_offset=number) for number in range(DECIDED_ELEMENTS)]
    committed = [TxnOffsetCommitRequestTopic(name=new_topic(), partitions=commits)]
    requests: list[tuple[Message, int]] = [
        (TxnOffsetCommitRequest(transactional_id="t", group_id="g", producer_id=1, topics=committed), 5),
        (FetchRequest(session_epoch=-1, topics=[FetchTopic(topic="no-such", partitions=partitions)]), 12),
        (ListOffsetsRequest(topics=[ListOffsetsTopic(name="no-such", partitions=offsets)]), 7),
        (FindCoordinatorRequest(key_type=0, coordinator_keys=names), 4),
        (
            MetadataRequest(
                topics=[MetadataRequestTopic(name=name) for name in names], allow_auto_topic_creation=False
            ),
            11,
        ),
    ]
    with connect(target) as other, ExitStack() as stack:
        answered: list[float] = []
        hostile = [stack.enter_context(connect(target, 60)) for _ in requests]
        with ThreadPoolExecutor(len(hostile)) as pool:
            waiting = []
            for connection, (request, version) in zip(hostile, requests, strict=True):
                connection.send(request, version)
                waiting.append(pool.submit(connection.receive_frame))
            while not all(answer.done() for answer in waiting):
                begun = time.monotonic()
                other.call(ApiVersionsRequest(), ApiVersionsResponse, 0)
                answered.append(time.monotonic() - begun)
        for answer in waiting:
            assert len(answer.result()) > ELEMENTS
        assert max(answered) < SOON_S


def test_announced_frames_are_not_reserved(target: Target) -> None:
    """A hundred connections announce 100 MiB each, send little, and wait; one for Apache Kafka, which does reserve."""
    with nobody_else_notices(target):
        hostile = [connect(target) for _ in range(1 if target.name == "apache" else 100)]
        for connection in hostile:
            connection.send_bytes(struct.pack(">i", 100 * 1024 * 1024) + b"\x00\x03\x00\x0c")
        for connection in hostile:
            connection.close()


@pytest.mark.parametrize(
    ("api_key", "version", "body"),
    [
        pytest.param(3, 8, struct.pack(">i", 2**31 - 1), id="metadata-topics"),
        pytest.param(3, 12, b"\xff\xff\xff\xff\x07", id="metadata-topics-compact"),
        pytest.param(0, 8, struct.pack(">hhii", -1, -1, 1000, 2**31 - 1), id="produce-topics"),
        pytest.param(1, 11, struct.pack(">iiiibiii", -1, 0, 0, 1, 0, 0, -1, 2**31 - 1), id="fetch-topics"),
        pytest.param(19, 4, struct.pack(">i", 1_000_000_000), id="create-topics"),
        pytest.param(11, 5, struct.pack(">h", 1) + b"g" + struct.pack(">ii", 9000, 9000) + b"\x00\x00\xff\xff\x00\x00"
                     + struct.pack(">i", 2**31 - 1), id="join-group-protocols"),
        pytest.param(32, 3, struct.pack(">i", 2**31 - 1), id="describe-configs"),
        pytest.param(18, 3, b"\xff\xff\xff\xff\x0f", id="api-versions-string"),
    ],
)  # fmt: skip
def test_counts_far_beyond_the_bytes_that_are_left(target: Target, api_key: int, version: int, body: bytes) -> None:
    """CVE-2022-34917: nothing is allocated from a length that the bytes do not bear out."""
    flexible = version in apis.request_class(api_key).FLEXIBLE
    with nobody_else_notices(target), connect(target) as hostile:
        hostile.send_bytes(framed(request_header(api_key, version, 1, flexible=flexible) + body))
        assert answered_or_closed(hostile)


def test_a_million_tagged_fields(target: Target) -> None:
    """CVE-2026-111115: two bytes on the wire each, an object in memory each."""
    count = 1_000_000
    fields = b"".join(
        bytes([index & 0x7F | 0x80, index >> 7 & 0x7F | 0x80, index >> 14, 0]) for index in range(200, 200 + count)
    )
    tags = b"\xc0\x84\x3d" + fields
    with nobody_else_notices(target), connect(target) as hostile:
        hostile.send_bytes(framed(request_header(18, 3, 1, flexible=False) + tags + b"\x01\x01\x00"))
        assert answered_or_closed(hostile)


def test_empty_requests_to_every_listed_api(target: Target) -> None:
    """CVE-2026-83525: a body of nothing but defaults, in the highest version of each API, is answered or closed."""
    with connect(target) as listing:
        request = ApiVersionsRequest(client_software_name="raw", client_software_version="1")
        listed = listing.call(request, ApiVersionsResponse, 4).api_keys
    with nobody_else_notices(target):
        for api in listed:
            with connect(target) as hostile:
                empty = apis.request_class(api.api_key)()
                if isinstance(empty, ProduceRequest):
                    empty.acks = -1
                hostile.send(empty, api.max_version)
                if api.api_key not in SILENT_IN_APACHE_KAFKA or target.name == "odradek":
                    assert answered_or_closed(hostile), type(empty).__name__


SILENT_IN_APACHE_KAFKA = {24}
"""AddPartitionsToTxn without transactions is never answered there."""


def packed(codec: Codec, mebibytes: int) -> bytes:
    """One record of zeros, compressed to less than a megabyte."""
    size = mebibytes << 20
    body = b"\x00\x00\x00" + varint(-1) + varint(size) + bytes(size) + varint(0)
    return compress(codec, varint(len(body)) + body)


def snappy_chunk(announced_bytes: int, data: bytes) -> bytes:
    """snappy-java's stream with one chunk."""
    return b"\x82SNAPPY\x00" + struct.pack(">iii", 1, 1, announced_bytes) + data


SNAPPY_OF_4_GIB = b"\xff\xff\xff\xff\x0f\x00a"
"""A block that says that it holds 4 GiB, and holds one byte."""


@pytest.mark.parametrize(
    ("codec", "mebibytes"),
    [(Codec.GZIP, 64), (Codec.SNAPPY, 18), (Codec.LZ4, 64), (Codec.ZSTD, 64)],
    ids=["gzip", "snappy", "lz4", "zstd"],
)
def test_decompression_bombs_are_looked_into(target: Target, new_topic: NewTopic, codec: Codec, mebibytes: int) -> None:
    """A compacted topic's broker looks for keys, within bounds, however little was sent."""
    topic, sent = new_topic(configs={"cleanup.policy": "compact"}), packed(codec, mebibytes)
    with nobody_else_notices(target), connect(target) as hostile:
        answer = produce(hostile, topic, batch(payload=sent, lies=Lies(attributes=codec)))
    assert code(answer.error_code) == "INVALID_RECORD"
    assert [error.batch_index for error in answer.record_errors] == [0]


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.LZ4, Codec.ZSTD], ids=lambda codec: codec.name.lower())
def test_decompression_bombs_of_more_than_128_mib(target: Target, new_topic: NewTopic, codec: Codec) -> None:
    """Apache Kafka streams through the record; Odradek stops at what one batch may hold."""
    topic, sent = new_topic(configs={"cleanup.policy": "compact"}), packed(codec, 160)
    with nobody_else_notices(target, BOMB_CEILING_BYTES), connect(target) as hostile:
        answer = produce(hostile, topic, batch(payload=sent, lies=Lies(attributes=codec)))
    assert code(answer.error_code) == ("MESSAGE_TOO_LARGE" if target.name == "odradek" else "INVALID_RECORD")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(snappy_chunk(2**31 - 1, b"\x01\x00a"), id="chunk-of-2-GiB"),
        pytest.param(snappy_chunk(-1, b"\x01\x00a"), id="chunk-of-less-than-nothing"),
        pytest.param(snappy_chunk(len(SNAPPY_OF_4_GIB), SNAPPY_OF_4_GIB), id="block-of-4-GiB"),
        pytest.param(SNAPPY_OF_4_GIB, id="bare-block-of-4-GiB"),
    ],
)
def test_snappy_that_announces_more_than_there_is(target: Target, new_topic: NewTopic, sent: bytes) -> None:
    """CVE-2023-34455: nothing is allocated from a length that the bytes do not bear out."""
    topic = new_topic(configs={"cleanup.policy": "compact"})
    with nobody_else_notices(target), connect(target) as hostile:
        answer = produce(hostile, topic, batch(payload=sent, lies=Lies(attributes=Codec.SNAPPY)))
    assert code(answer.error_code) == ("CORRUPT_MESSAGE" if target.name == "odradek" else "UNKNOWN_SERVER_ERROR")


def test_a_thousand_unanswered_requests_on_one_connection(target: Target, new_topic: NewTopic) -> None:
    """Requests are parked up to a limit, then reading stops; all are answered in the end."""
    topic = new_topic()
    with nobody_else_notices(target), connect(target, 60) as greedy:
        first = [greedy.send(fetch_request(topic, 0, max_wait_ms=1), 12) for _ in range(1000)]
        for _ in first:
            greedy.receive_frame()


def test_connections_that_come_and_go(target: Target) -> None:
    """Three hundred connections, each closed in the middle of a frame."""
    with nobody_else_notices(target):
        for number in range(300):
            with connect(target) as hasty:
                hasty.send_bytes(struct.pack(">i", 1000) + bytes(number))


def test_requests_before_a_reset(target: Target, new_topic: NewTopic) -> None:
    """Answers for a peer that is gone harm nobody."""
    topic = new_topic()
    with nobody_else_notices(target):
        for _ in range(20):
            with connect(target) as hasty:
                hasty.socket.setsockopt(1, 13, struct.pack("ii", 1, 0))
                for _ in range(10):
                    hasty.send(produce_request(topic, batch([b"x" * 1000])), 12)


def test_noise_instead_of_a_protocol(target: Target) -> None:
    """An HTTP client, a TLS client hello, zeros."""
    for noise in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", bytes(64)):
        with nobody_else_notices(target), connect(target) as hostile:
            hostile.send_bytes(noise)
            assert hostile.is_closed_by_peer() or noise[0] == 0x16


@pytest.mark.owns_broker
def test_idle_connections_are_closed(own_broker: Callable[..., BrokerProcess]) -> None:
    """connections.max.idle.ms."""
    broker = own_broker({"connections.max.idle.ms": "1000"})
    with connect(broker) as idle:
        idle.call(MetadataRequest(topics=[]), MetadataResponse)
        assert idle.is_closed_by_peer(15.0)


@pytest.mark.owns_broker
def test_connections_and_frames_have_limits(own_broker: Callable[..., BrokerProcess]) -> None:
    """max.connections.per.ip and socket.request.max.bytes."""
    broker = own_broker({"max.connections.per.ip": "5", "socket.request.max.bytes": "100000"})
    with connect(broker) as connection:
        create_topic(connection, "limits")
        assert code(produce(connection, "limits", batch([bytes(90_000)])).error_code) == "NONE"
    others = [connect(broker) for _ in range(4)]
    for other in others:
        other.call(MetadataRequest(topics=[]), MetadataResponse)
    with connect(broker) as large:
        large.send_bytes(struct.pack(">i", 100_001))
        assert large.is_closed_by_peer()
    admitted: list[Connection] = []

    def admits_a_fifth() -> bool:
        fifth = connect(broker)
        try:
            fifth.call(MetadataRequest(topics=[]), MetadataResponse)
        except (Closed, ConnectionError):
            fifth.close()
            return False
        admitted.append(fifth)
        return True

    wait_for(admits_a_fifth, "the closed connection no longer counts")
    with connect(broker) as sixth:
        assert sixth.is_closed_by_peer()
    for other in (*others, *admitted):
        other.call(MetadataRequest(topics=[]), MetadataResponse)
        other.close()


@pytest.mark.owns_broker
@pytest.mark.odradek_only(reason="Apache Kafka's heap is bounded, its resident memory is not the promise")
def test_announced_frames_stay_within_the_nodes_budget(own_broker: Callable[..., BrokerProcess]) -> None:
    """queued.max.request.bytes: hundreds of frames of 50 MiB, each half a megabyte on its way, do not add up."""
    limits = {"socket.request.max.bytes": str(50 << 20), "queued.max.request.bytes": str(64 << 20)}
    broker = own_broker(limits)
    before = broker.resident_bytes()
    hostile = [connect(broker) for _ in range(400)]
    for connection in hostile:
        connection.send_bytes(struct.pack(">i", 50 << 20))
        connection.socket.settimeout(0.05)
    payload = bytes(512 * 1024)
    for connection in hostile:
        try:
            connection.send_bytes(payload)
        except TimeoutError:
            continue
    with connect(broker) as other:
        begun = time.monotonic()
        other.call(ApiVersionsRequest(), ApiVersionsResponse, 0)
        assert time.monotonic() - begun < QUICK_S
    assert broker.resident_bytes() - before < MEMORY_CEILING_BYTES
    for connection in hostile:
        connection.close()


def test_a_slow_reader_does_not_make_the_broker_hold_its_answers(target: Target, new_topic: NewTopic) -> None:
    """Five hundred fetches of a megabyte each from a client that does not read."""
    topic = new_topic()
    with connect(target) as writer:
        assert code(produce(writer, topic, batch([bytes(900_000)])).error_code) == "NONE"
        with nobody_else_notices(target), connect(target) as slow:
            for _ in range(500):
                slow.send(fetch_request(topic, 0), 12)
            assert code(fetch(writer, fetch_request(topic, 0)).error_code) == "NONE"
            number = writer.send(produce_request(topic, batch()), 12)
            writer.receive(ProduceResponse, 12, number)
