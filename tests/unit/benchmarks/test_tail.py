from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Callable

import pytest

from benchmarks.load.channel import Channel
from benchmarks.load.command_line import arguments, parse
from benchmarks.load.fetch_wire import FetchFailed
from benchmarks.load.tail import Producer, Tail, partition_of
from benchmarks.load.tail_wire import COMMIT_VERSION, CommitWriter, ProduceWriter, check_commit, check_produce
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from odradek.wire.messages.produce import PartitionProduceResponse, ProduceResponse, TopicProduceResponse
from tests.support.batches import batch
from tests.support.requests import NAMED_PRODUCE_VERSION, produce_request
from tests.support.wire import encode_request, framed

TOPIC = "a-name-of-some-length"


def test_produce_requests_are_those_of_the_declarations() -> None:
    records = batch([b"v" * 300] * 3)
    writer = ProduceWriter(TOPIC, records)
    for correlation_id, partition in ((1, 0), (1 << 30, 999)):
        request = produce_request(TOPIC, records, partition=partition)
        assert writer.write(correlation_id, partition) == framed(
            encode_request(request, NAMED_PRODUCE_VERSION, correlation_id)
        )


def test_commits_are_those_of_the_declarations() -> None:
    writer = CommitWriter("some-group", TOPIC)
    for correlation_id, partition, offset in ((1, 0, 0), (1 << 30, 999, 1 << 40)):
        wanted = OffsetCommitRequestPartition(partition_index=partition, committed_offset=offset, committed_metadata="")
        topic = OffsetCommitRequestTopic(name=TOPIC, partitions=[wanted])
        request = OffsetCommitRequest(group_id="some-group", topics=[topic])
        assert writer.write(correlation_id, partition, offset) == framed(
            encode_request(request, COMMIT_VERSION, correlation_id)
        )


def produced(correlation_id: int, error_code: int) -> bytes:
    partition = PartitionProduceResponse(index=3, error_code=error_code, base_offset=1 << 40)
    response = ProduceResponse(responses=[TopicProduceResponse(name=TOPIC, partition_responses=[partition])])
    return struct.pack(">ix", correlation_id) + response.encode(NAMED_PRODUCE_VERSION)


def committed(correlation_id: int, error_code: int) -> bytes:
    partition = OffsetCommitResponsePartition(partition_index=3, error_code=error_code)
    response = OffsetCommitResponse(topics=[OffsetCommitResponseTopic(name=TOPIC, partitions=[partition])])
    return struct.pack(">ix", correlation_id) + response.encode(COMMIT_VERSION)


@pytest.mark.parametrize(("check", "answer"), [(check_produce, produced), (check_commit, committed)])
def test_answers_are_checked(
    check: Callable[[bytes, int, int, int, str], None], answer: Callable[[int, int], bytes]
) -> None:
    good = answer(7, 0)
    check(b"before" + good, 6, 6 + len(good), 7, TOPIC)
    with pytest.raises(FetchFailed, match="error code 4660"):
        check(b"before" + answer(7, 0x1234), 6, 6 + len(good), 7, TOPIC)
    with pytest.raises(FetchFailed, match="an answer to 7 instead of 8"):
        check(good, 0, len(good), 8, TOPIC)
    with pytest.raises(FetchFailed, match="of 20 bytes"):
        check(good[:20], 0, 20, 7, TOPIC)


def test_batches_go_to_all_active_partitions_in_turn() -> None:
    tail = Tail("", 0, "", partitions=10, active=10, batches_per_s=1000)
    assert [partition_of(tail, number) for number in range(12)] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_each_second_other_partitions_are_active() -> None:
    tail = Tail("", 0, "", partitions=1000, active=20, batches_per_s=200)
    for second, first in ((0, 0), (1, 20), (49, 980), (50, 0)):
        used = Counter(partition_of(tail, second * 200 + number) for number in range(200))
        assert used == dict.fromkeys(range(first, first + 20), 10)


def test_frames_are_whole_however_their_bytes_arrive() -> None:
    bodies = [b"", b"a", b"e" * 60, b"f" * 61, b"b" * 500, b"c" * 3, b"d" * 70]
    stream = b"".join(struct.pack(">i", len(body)) + body for body in bodies)
    for step in (1, 3, 64, len(stream)):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            channel = Channel("127.0.0.1", listener.getsockname()[1], buffer_bytes=64)
            peer, _ = listener.accept()
        received: list[bytes] = []
        with peer:
            for position in range(0, len(stream), step):
                part = stream[position : position + step]
                peer.sendall(part)
                received += drained(channel, position + len(part), received)
        assert received == bodies
        channel.close()


def drained(channel: Channel, sent_bytes: int, before: list[bytes]) -> list[bytes]:
    """What comes until all that was sent has been read."""
    found: list[bytes] = []
    while channel.pending_bytes + sum(4 + len(body) for body in before + found) < sent_bytes:
        found += [bytes(channel.buffer[start:end]) for start, end in channel.receive()]
    return found


def test_a_connection_that_ends_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel = Channel("127.0.0.1", listener.getsockname()[1])
        peer, _ = listener.accept()
    assert list(channel.receive()) == []
    peer.close()
    channel.socket.settimeout(10.0)
    assert channel.socket.recv(1, socket.MSG_PEEK) == b""
    with pytest.raises(FetchFailed, match="closed the connection"):
        list(channel.receive())
    channel.close()


def test_the_command_line_says_the_same() -> None:
    tail = Tail("127.0.0.1", 9092, "bench", partitions=1000, active=20, consumers=50, commit_every=7, batches_per_s=5)
    assert parse(Tail, "tail", "", arguments(tail)) == tail


def test_a_late_batch_is_kept_with_the_time_when_it_was_due() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        producer = Producer(Tail("127.0.0.1", int(listener.getsockname()[1]), TOPIC, partitions=2, active=2))
        producer.send(1.0)
        producer.send(1.5)
        producer.send(2.0)
        producer.channel.close()
    assert producer.due_at_s == [[1.0, 2.0], [1.5]]
