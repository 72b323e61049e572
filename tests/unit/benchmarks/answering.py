"""A broker in a thread that answers producers, also wrongly."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from benchmarks.load.answers import error_code_position
from odradek.wire.messages.api_versions import ApiVersionsRequest
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.messages.produce import (
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from tests.support.batches import Batch, batches
from tests.support.requests import NAMED_PRODUCE_VERSION
from tests.support.wire import framed

HEADER_BYTES = 2 + 2 + 4 + 2 + len("raw") + 1


class Broker:
    """Answers Produce requests on loopback and keeps them; the answers to those from ``spoilt_from`` on are changed."""

    def __init__(self, spoilt_from: int, spoil: Callable[[bytearray], object]) -> None:
        self.requests: list[ProduceRequest] = []
        self.connections: list[int] = []
        """Of each request, by number."""
        self._spoilt_from = spoilt_from
        self._spoil = spoil
        self.piece_bytes: int | None = None
        """How much of an answer is sent at once; None for all of it."""
        self.versions_error = 0
        """What requests for the versions are answered with."""
        self.closed_after_versions = 0
        """The number of the connection that is closed once it has asked for the versions; none has 0."""
        self._producers = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.close()

    def batches(self) -> list[Batch]:
        """Those of all requests, each of which has one."""
        return [_only(batches(request.topic_data[0].partition_data[0].records)) for request in self.requests]

    def _accept(self) -> None:
        accepted = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            accepted += 1
            threading.Thread(target=self._serve, args=(connection, accepted), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(ConnectionError), connection, connection.makefile("rb") as stream:  # a load that failed hangs up
            while len(length := stream.read(4)) == 4:
                (frame_bytes,) = struct.unpack(">i", length)
                frame = stream.read(frame_bytes)
                if len(frame) < frame_bytes:
                    return
                with self._lock:
                    answer = self._handle(frame, number)
                piece = self.piece_bytes or len(answer)
                for at in range(0, len(answer), max(piece, 1)):
                    connection.sendall(answer[at : at + piece])
                if number == self.closed_after_versions:
                    return

    def _handle(self, frame: bytes, connection: int) -> bytes:
        (api_key,) = struct.unpack_from(">h", frame)
        if api_key == ApiVersionsRequest.API_KEY:
            return framed(frame[4:8] + struct.pack(">h", self.versions_error))
        if api_key == InitProducerIdRequest.API_KEY:
            self._producers += 1
            version = struct.unpack_from(">h", frame, 2)[0]
            identity = InitProducerIdResponse(producer_id=1000 + self._producers, producer_epoch=3)
            return framed(frame[4:8] + b"\x00" + identity.encode(version))
        request = ProduceRequest.decode(frame[HEADER_BYTES:], NAMED_PRODUCE_VERSION)
        self.requests.append(request)
        self.connections.append(connection)
        if not request.acks:
            return b""
        partition = PartitionProduceResponse(index=0, error_code=0, base_offset=1 << 40)
        topic = TopicProduceResponse(name=request.topic_data[0].name, partition_responses=[partition])
        payload = frame[4:8] + b"\x00" + ProduceResponse(responses=[topic]).encode(NAMED_PRODUCE_VERSION)
        answer = bytearray(framed(payload))
        if len(self.requests) > self._spoilt_from:
            self._spoil(answer)
        return bytes(answer)


def _only(found: Iterator[Batch]) -> Batch:
    (one,) = found
    return one


@contextmanager
def broker(spoilt_from: int = 1 << 31, spoil: Callable[[bytearray], object] = bytearray.clear) -> Iterator[Broker]:
    opened = Broker(spoilt_from, spoil)
    try:
        yield opened
    finally:
        opened.close()


def error_code(number: int) -> Callable[[bytearray], object]:
    """Spoils an answer for the topic `bench`."""
    return lambda answer: struct.pack_into(">h", answer, error_code_position("bench"), number)
