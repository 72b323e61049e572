"""Our own consumer of what is there: Fetch requests over a plain socket, so that no client library is the bottleneck.

``python -m benchmarks.load.fetch HOST PORT TOPIC`` writes one JSON line. Answers are received into one buffer, which is
used again and again.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from array import array
from dataclasses import dataclass

from benchmarks.load.command_line import parse, report
from benchmarks.load.fetch_wire import VERSIONS, FetchFailed, FetchSession, Limits, RequestWriter
from benchmarks.stats import quantile
from tests.support.requests import metadata
from tests.support.wire import Connection

SILENCE_TIMEOUT_S = 30.0
BUFFER_BYTES = 2 << 20
_LENGTH = struct.Struct(">i")


@dataclass(frozen=True)
class Fetch:
    """What to read: `records` records of a topic's partitions, from their beginnings, `passes` times."""

    host: str
    port: int
    topic: str
    records: int = 1
    partitions: int = 1
    passes: int = 1
    version: int = VERSIONS[-1]
    sessions: int = 1
    """Whether the fetches are those of a session (KIP-227): 1 or 0."""
    max_wait_ms: int = 500
    min_bytes: int = 1
    max_bytes: int = 50 << 20
    partition_max_bytes: int = 1 << 20


@dataclass(frozen=True)
class FetchResult:
    """What was read, all passes together, and how long each fetch took from its send to its whole answer."""

    records: int
    requests: int
    received_bytes: int
    records_per_s: float
    p50_ms: float
    p99_ms: float


def consume(fetch: Fetch) -> FetchResult:
    """Read until all records are there. Raises FetchFailed, OSError."""
    limits = Limits(fetch.max_wait_ms, fetch.min_bytes, fetch.max_bytes, fetch.partition_max_bytes)
    topic_id = find_topic_id(fetch.host, fetch.port, fetch.topic)
    writer = RequestWriter(fetch.version, fetch.topic, topic_id, limits)
    session = FetchSession(
        writer, fetch.version, dict.fromkeys(range(fetch.partitions), 0), limits, incremental=bool(fetch.sessions)
    )
    receiver = Receiver(fetch.host, fetch.port)
    latencies_s = array("d")
    try:
        begun_s = time.perf_counter()
        records = 0
        for _ in range(fetch.passes):
            records += _one_pass(session, receiver, fetch.records, latencies_s)
            session.rewind()
        elapsed_s = time.perf_counter() - begun_s
    finally:
        receiver.close()
    latencies = sorted(latencies_s)
    return FetchResult(
        records=records,
        requests=len(latencies),
        received_bytes=receiver.received_bytes,
        records_per_s=records / elapsed_s,
        p50_ms=quantile(latencies, 0.5) * 1000,
        p99_ms=quantile(latencies, 0.99) * 1000,
    )


def _one_pass(session: FetchSession, receiver: Receiver, wanted: int, latencies_s: array[float]) -> int:
    """Read from the beginning until `wanted` records are there; how many there are. Raises FetchFailed, OSError."""
    first = sum(session.offsets.values())
    progress_s = time.perf_counter()
    while (records := sum(session.offsets.values()) - first) < wanted:
        sent_s = time.perf_counter()
        size = receiver.exchange(session.request())
        now_s = time.perf_counter()
        if any(partition.record_bytes for partition in session.accept(receiver.buffer, 0, size)):
            progress_s = now_s
        elif now_s - progress_s > SILENCE_TIMEOUT_S:
            raise FetchFailed(f"{records} records of {wanted}, and no more for {SILENCE_TIMEOUT_S:g} s")
        latencies_s.append(now_s - sent_s)
    return records


class Receiver:
    """A connection that sends one request at a time, and waits for the answer in the system."""

    def __init__(self, host: str, port: int, buffer_bytes: int = BUFFER_BYTES) -> None:
        self.buffer = bytearray(buffer_bytes)
        """Holds the last answer, without its length."""
        self.received_bytes = 0
        self._view = memoryview(self.buffer)
        self._socket = socket.create_connection((host, port), timeout=SILENCE_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # With a time-out of Python's own the socket would not block, and MSG_WAITALL would not wait for all.
        self._socket.settimeout(None)
        timeout = struct.pack("@ll", int(SILENCE_TIMEOUT_S), 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)

    def exchange(self, request: bytes) -> int:
        """Send a request; the size of its answer in `buffer`. Raises FetchFailed, OSError."""
        self._socket.sendall(request)
        self._fill(_LENGTH.size)
        (size,) = _LENGTH.unpack_from(self.buffer)
        if size < 0:
            raise FetchFailed(f"an answer of {size} bytes")
        if size > len(self.buffer):
            self.buffer = bytearray(size)
            self._view = memoryview(self.buffer)
        self._fill(size)
        self.received_bytes += _LENGTH.size + size
        return int(size)

    def close(self) -> None:
        self._socket.close()

    def _fill(self, size: int) -> None:
        received = 0
        while received < size:
            try:
                count = self._socket.recv_into(self._view[received:size], 0, socket.MSG_WAITALL)
            except BlockingIOError as error:
                raise FetchFailed(f"no answer for {SILENCE_TIMEOUT_S:g} s") from error
            if not count:
                raise FetchFailed("the broker closed the connection")
            received += count


def find_topic_id(host: str, port: int, topic: str) -> bytes:
    """The 16 bytes that name a topic from version 13 on."""
    with Connection(host, port) as connection:
        return metadata(connection, topic).topic_id


def main(argv: list[str]) -> int:
    fetch = parse(Fetch, "benchmarks.load.fetch", "Send Fetch requests.", argv)
    return report(lambda: consume(fetch), FetchFailed, OSError)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
