"""The most that Kafka's own clients can do on this machine: what they produce is written into one file and answered
from a template, and what they fetch is sent from another file by `os.sendfile`.

``python -m benchmarks.limits.clients DIRECTORY TOPIC`` writes its port to its first line. Batches are not looked at,
and requests other than Produce and Fetch, of which there are a dozen, get canned answers (`canned.py`).
"""

from __future__ import annotations

import dataclasses
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import procfs
from benchmarks.limits.canned import OFFERED, Canned
from benchmarks.limits.receiving import FrameReceiver, serve
from benchmarks.limits.sink import Sink
from benchmarks.load.command_line import arguments, parse
from benchmarks.tools import ToolResult
from odradek.wire.api_table import ApiKey
from odradek.wire.apis import request_class, request_header_version, response_class, response_header_version
from odradek.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    PartitionData,
)
from odradek.wire.messages.headers import RequestHeader, ResponseHeader
from odradek.wire.messages.produce import PartitionProduceResponse, ProduceResponse, TopicProduceResponse
from tests.support.apache import ROOT
from tests.support.batches import batch
from tests.support.wire import framed

END_TIMEOUT_S = 10.0
EMPTY_FETCH_WAIT_S = 0.02
"""Who has read everything and asks for more is not answered at once, and so does not ask all the time."""
_HOST = "127.0.0.1"
_MODULE = "benchmarks.limits.clients"
_FRONT = struct.Struct(">ihhih")
"""Of a frame: its length, API key, version, correlation id, and the length of the client's name."""
_INT16, _INT32, _INT64 = struct.Struct(">h"), struct.Struct(">i"), struct.Struct(">q")
_CORRELATION_ID_AT = 4
_ACKS_BEHIND_NAME = 2
"""Between them there are no tagged fields and no transactional id, or, in old versions, only the latter."""


@dataclass(frozen=True)
class Stored:
    """Where a limit's files are, its topic, and what is there to be fetched: batches that are all alike."""

    directory: str
    topic: str
    batches: int = 0
    records_per_batch: int = 1
    record_bytes: int = 100

    @property
    def records(self) -> int:
        return self.batches * self.records_per_batch

    @property
    def path(self) -> Path:
        return Path(self.directory) / "stored"


@dataclass(frozen=True)
class Address:
    """Where to send to."""

    host: str
    port: int

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"


def bare_broker(stored: Stored, work: Callable[[Address], ToolResult]) -> ToolResult:
    """What a client comes to with a process that only moves its bytes. Raises what ``work`` does, OSError."""
    _store(stored)
    command = [sys.executable, "-m", _MODULE, *arguments(stored)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        address = Address(_HOST, int(process.stdout.readline()))
        before_s = procfs.cpu_s(process.pid)
        result = work(address)
        return dataclasses.replace(result, server_cpu_s=procfs.cpu_s(process.pid) - before_s)
    finally:
        process.kill()
        process.communicate(timeout=END_TIMEOUT_S)


def _store(stored: Stored) -> None:
    """Batches with the offsets that a broker would have given them."""
    one = bytearray(
        batch([b"x" * stored.record_bytes] * stored.records_per_batch, timestamp_ms=int(time.time() * 1000))
    )
    with stored.path.open("wb") as file:
        for number in range(stored.batches):
            _INT64.pack_into(one, 0, number * stored.records_per_batch)
            file.write(one)


@dataclass(frozen=True)
class Range:
    """Where in the stored file, in bytes."""

    position: int
    size: int


class Responder:
    """Answers the requests of all connections."""

    def __init__(self, stored: Stored, port: int) -> None:
        self._topic = stored.topic
        self._records = stored.records
        self._records_per_batch = stored.records_per_batch
        self._canned = Canned(_HOST, port, stored.topic, stored.records)
        self._templates: dict[int, bytearray] = {}
        self.stored = os.open(stored.path, os.O_RDONLY)
        self._batch_bytes = os.fstat(self.stored).st_size // stored.batches if stored.batches else 0

    def produced(self, version: int, correlation_id: int) -> bytes:
        """That a batch was accepted, whatever it was."""
        template = self._templates.get(version)
        if template is None:
            accepted = PartitionProduceResponse(index=0, error_code=0, base_offset=0)
            answer = ProduceResponse(responses=[TopicProduceResponse(name=self._topic, partition_responses=[accepted])])
            header = ResponseHeader(correlation_id=0).encode(response_header_version(ApiKey.PRODUCE, version))
            template = self._templates[version] = bytearray(framed(header + answer.encode(version)))
        _INT32.pack_into(template, _CORRELATION_ID_AT, correlation_id)
        return bytes(template)

    def answer(self, frame: bytes) -> tuple[bytes, Range | None, bytes]:
        """The answer to a request other than Produce, ``frame`` being without its length: in three pieces."""
        key, version, correlation_id = struct.unpack_from(">hhi", frame)
        _, at = RequestHeader.decode_prefix(frame, request_header_version(key, version))
        request = request_class(key).decode(frame[at:], version)
        header = ResponseHeader(correlation_id=correlation_id).encode(response_header_version(key, version))
        if isinstance(request, FetchRequest):
            return self._fetched(request, header, version)
        return framed(header + self._canned.answer(request, version).encode(version)), None, b""

    def _fetched(self, request: FetchRequest, header: bytes, version: int) -> tuple[bytes, Range | None, bytes]:
        wanted = request.topics[0].partitions[0] if request.topics else None
        records = Range(0, 0) if wanted is None else self._range(wanted)
        topics = []
        if wanted is not None:
            data = PartitionData(
                partition_index=wanted.partition,
                high_watermark=self._records,
                last_stable_offset=self._records,
                log_start_offset=0,
                records=records,
            )
            topics.append(FetchableTopicResponse(topic=request.topics[0].topic, partitions=[data]))
        if not records.size:
            time.sleep(EMPTY_FETCH_WAIT_S)
        chunks = FetchResponse(responses=topics).encode_chunks(version, header)
        front = b"".join(each for each in chunks[:1] if isinstance(each, bytes))
        rest = b"".join(each for each in chunks[1:] if isinstance(each, bytes))
        return _INT32.pack(len(front) + records.size + len(rest)) + front, records, rest

    def _range(self, wanted: FetchPartition) -> Range:
        """From the batch that holds the offset on, and at least that one."""
        if wanted.fetch_offset >= self._records:
            return Range(0, 0)
        position = wanted.fetch_offset // self._records_per_batch * self._batch_bytes
        end = self._records // self._records_per_batch * self._batch_bytes
        return Range(position, min(max(wanted.partition_max_bytes, self._batch_bytes), end - position))


class Receiver(FrameReceiver):
    """Answers batches once all of them has come, and other requests when they are whole."""

    def __init__(self, sock: socket.socket, sink: Sink, responder: Responder, view: memoryview) -> None:
        super().__init__(sock, sink, view)
        self._responder = responder

    def begin(self, at: int, end: int, answers: list[bytes]) -> int | None:
        """See `FrameReceiver`. Raises ProtocolError, OSError."""
        if end - at < _FRONT.size:
            return None
        length, key, version, correlation_id, name_bytes = _FRONT.unpack_from(self.view, at)
        behind: int = at + _INT32.size + length
        if key == ApiKey.PRODUCE:
            acks_at = at + _FRONT.size + max(0, name_bytes) + _ACKS_BEHIND_NAME
            if end < acks_at + _INT16.size:
                return None
            (acks,) = _INT16.unpack_from(self.view, acks_at)
            if acks:
                self.owed = self._responder.produced(version, correlation_id)
        elif end < behind:
            return None
        else:
            self._answer(bytes(self.view[at + _INT32.size : behind]), answers)
        return behind

    def _answer(self, frame: bytes, answers: list[bytes]) -> None:
        front, records, rest = self._responder.answer(frame)
        answers.append(front)
        if records is None or not records.size:
            answers.append(rest)
            return
        self.socket.sendall(b"".join(answers), socket.MSG_MORE)
        answers[:] = [rest]
        position, end = records.position, records.position + records.size
        while position < end:
            position += os.sendfile(self.socket.fileno(), self._responder.stored, position, end - position)


def main(stored: Stored) -> None:
    """Until this process is ended."""
    sink = Sink(Path(stored.directory) / "received")
    with socket.create_server((_HOST, 0)) as listener:
        port = int(listener.getsockname()[1])
        responder = Responder(stored, port)
        _compile_codecs()
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        serve(listener, lambda sock, view: Receiver(sock, sink, responder, view))


def _compile_codecs() -> None:
    """Which happens when they are first used, and is none of what is measured."""
    for key, (low, high) in OFFERED.items():
        for version in range(low, high + 1):
            for message in (request_class(key), response_class(key)):
                message.decode(message().encode(version), version)


if __name__ == "__main__":
    main(parse(Stored, _MODULE, "Answer Kafka's clients.", sys.argv[1:]))
