from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from benchmarks.load.produce import Load, LoadFailed, arguments, error_code_position, generate, parse_arguments
from odradek.wire.messages.produce import (
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from tests.support.batches import batches
from tests.support.requests import NAMED_PRODUCE_VERSION

HEADER_BYTES = 2 + 2 + 4 + 2 + len("raw") + 1


class Broker:
    """Answers Produce requests on loopback; keeps the records, and refuses from ``refused_from`` on."""

    def __init__(self, refused_from: int, error_code: int) -> None:
        self.requests: list[ProduceRequest] = []
        self._refused_from = refused_from
        self._error_code = error_code
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(ConnectionError), connection, connection.makefile("rb") as stream:  # a load that failed hangs up
            while len(length := stream.read(4)) == 4:
                (size,) = struct.unpack(">i", length)
                frame = stream.read(size)
                if len(frame) < size:
                    return
                request = ProduceRequest.decode(frame[HEADER_BYTES:], NAMED_PRODUCE_VERSION)
                self.requests.append(request)
                connection.sendall(self.answer(request, frame[4:8]))

    def answer(self, request: ProduceRequest, correlation_id: bytes) -> bytes:
        refused = len(self.requests) > self._refused_from
        partition = PartitionProduceResponse(
            index=0, error_code=self._error_code if refused else 0, base_offset=1 << 40
        )
        topic = TopicProduceResponse(name=request.topic_data[0].name, partition_responses=[partition])
        payload = correlation_id + b"\x00" + ProduceResponse(responses=[topic]).encode(NAMED_PRODUCE_VERSION)
        return struct.pack(">i", len(payload)) + payload


@contextmanager
def broker(refused_from: int = 1 << 31, error_code: int = 0) -> Iterator[Broker]:
    opened = Broker(refused_from, error_code)
    try:
        yield opened
    finally:
        opened.close()


def test_all_batches_are_sent_answered_and_counted() -> None:
    with broker() as server:
        load = Load("127.0.0.1", server.port, "bench", records_per_batch=3, max_batches=20, seconds=30.0)
        result = generate(load)
    assert (result.requests, result.records) == (20, 60)
    assert 0 < result.p50_ms <= result.p99_ms
    (sent,) = batches(server.requests[-1].topic_data[0].partition_data[0].records)
    assert sent.crc_is_right
    assert sent.values == [b"x" * 100] * 3
    assert [request.acks for request in server.requests] == [1] * 20


def test_several_connections_share_the_batches() -> None:
    with broker() as server:
        result = generate(Load("127.0.0.1", server.port, "bench", connections=4, max_batches=50, seconds=30.0))
    assert result.requests == len(server.requests) == 50


def test_batches_larger_than_the_sockets_buffers_arrive_whole() -> None:
    with broker() as server:
        load = Load("127.0.0.1", server.port, "bench", record_bytes=3 << 20, max_batches=8, seconds=30.0)
        assert generate(load).requests == 8
    for request in server.requests:
        (sent,) = batches(request.topic_data[0].partition_data[0].records)
        assert sent.crc_is_right


def test_the_time_ends_a_load_without_a_limit() -> None:
    with broker() as server:
        result = generate(Load("127.0.0.1", server.port, "bench", seconds=0.05))
    assert result.requests == len(server.requests) >= 5


def test_one_refused_batch_fails_the_load() -> None:
    with broker(refused_from=7, error_code=3) as server, pytest.raises(LoadFailed, match="error code 3"):
        generate(Load("127.0.0.1", server.port, "bench", max_batches=20, seconds=30.0))


@pytest.mark.parametrize("version", range(9, NAMED_PRODUCE_VERSION + 1))
def test_the_error_code_is_where_the_declarations_put_it(version: int) -> None:
    topic = "a-name-of-some-length"
    partition = PartitionProduceResponse(index=0, error_code=0x1234, base_offset=7)
    response = ProduceResponse(responses=[TopicProduceResponse(name=topic, partition_responses=[partition])])
    frame = bytes(4 + 4 + 1) + response.encode(version)
    assert struct.unpack_from(">h", frame, error_code_position(topic)) == (0x1234,)


def test_a_name_whose_length_takes_two_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        error_code_position("n" * 127)


def test_the_command_line_says_the_same_load() -> None:
    load = Load("127.0.0.1", 9092, "bench", records_per_batch=600, in_flight=7, connections=64, acks=-1, seconds=1.5)
    assert parse_arguments(arguments(load)) == load
