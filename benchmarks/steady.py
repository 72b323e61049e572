"""A producer that keeps its pace whatever the broker does, and a consumer behind it.

``python -m benchmarks.steady HOST PORT TOPIC`` sends requests when they are due, until its standard input ends or its
time is over, and writes one JSON line. Latencies count from when a request was due, so that a broker that stops for a
while is charged for every request of that while.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import struct
import sys
import time
from array import array
from collections import deque
from dataclasses import dataclass

from benchmarks.load.command_line import report
from benchmarks.stats import quantile
from odradek.wire.messages.fetch import FetchResponse
from tests.support.batches import batch
from tests.support.requests import NAMED_FETCH_VERSION, NAMED_PRODUCE_VERSION, fetch_request, produce_request
from tests.support.wire import encode_request, framed

ANSWER_TIMEOUT_S = 30.0
CORRELATION_ID_AT = 8
"""Behind the frame's length, the API key and the version."""
RECEIVE_BYTES = 1 << 18
EARLY_S = 0.0001
"""How much earlier than a request is due a sleep is to end, since it ends late; then the clock is watched.

No longer than that: a producer that is always awake takes a processor, and who gets the other would be measured.
"""
_LENGTH = struct.Struct(">i")
_OFFSET_AND_LENGTH = struct.Struct(">qi")
_DELTA = struct.Struct(">i")
_DELTA_AT = 23
"""Where a batch says its last offset delta."""


class SteadyFailed(Exception):
    """The broker refused a batch, closed the connection or fell silent."""


@dataclass(frozen=True)
class Latencies:
    """A sample in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


@dataclass(frozen=True)
class SteadyResult:
    """From when a request was due to its answer, and to when a consumer had its records."""

    answered: Latencies
    received: Latencies | None


def summary(latencies_s: array[float]) -> Latencies:
    """Quantiles of a sample in seconds."""
    ordered = sorted(latencies_s)
    if not ordered:
        return Latencies(0, 0.0, 0.0, 0.0, 0.0)
    figures = [quantile(ordered, share) * 1000 for share in (0.5, 0.99, 0.999, 1.0)]
    return Latencies(len(ordered), *figures)


class Stream:
    """A connection that cuts what arrives into frames."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=ANSWER_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()

    def frames(self) -> list[bytes]:
        """What has arrived whole after one read. Raises SteadyFailed."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise SteadyFailed("the broker closed the connection")
        received = self._received
        received += data
        found = []
        position = 0
        while len(received) - position >= 4:
            (length,) = _LENGTH.unpack_from(received, position)
            if len(received) - position < length + 4:
                break
            found.append(bytes(received[position + 4 : position + 4 + length]))
            position += length + 4
        del received[:position]
        return found


class Producer:
    """Sends the same batch at its times."""

    def __init__(self, host: str, port: int, topic: str, records: int, record_bytes: int, acks: int) -> None:
        self.stream = Stream(host, port)
        records_bytes = batch([b"x" * record_bytes] * records, timestamp_ms=int(time.time() * 1000))
        request = framed(
            encode_request(produce_request(topic, records_bytes, acks=acks), NAMED_PRODUCE_VERSION, correlation_id=0)
        )
        self._front, self._rest = request[:CORRELATION_ID_AT], request[CORRELATION_ID_AT + 4 :]
        self._error_code_at = 4 + 1 + 1 + 1 + len(topic.encode()) + 1 + 4
        self._next_id = 0
        self.due_s: deque[float] = deque()
        self.latencies_s = array("d")

    def send(self, due_s: float) -> None:
        """Send one request that is due now, or was."""
        self.stream.socket.sendall(self._front + self._next_id.to_bytes(4, "big") + self._rest)
        self._next_id += 1
        self.due_s.append(due_s)

    def receive(self) -> None:
        """Take the answers that have arrived. Raises SteadyFailed."""
        frames = self.stream.frames()
        now_s = time.perf_counter()
        for frame in frames:
            code = int.from_bytes(frame[self._error_code_at : self._error_code_at + 2], "big", signed=True)
            if code:
                raise SteadyFailed(f"the broker answered with error code {code}")
            self.latencies_s.append(now_s - self.due_s.popleft())


class Consumer:
    """Fetches what comes to a topic that nobody else writes to, and asks again at once."""

    def __init__(self, host: str, port: int, topic: str, records: int) -> None:
        self.stream = Stream(host, port)
        self.due_s: deque[float] = deque()
        """Of each batch that was sent and has not come back."""
        self.latencies_s = array("d")
        self._topic = topic
        self._records = records
        self._offset = 0
        self.ask()

    def ask(self) -> None:
        """Fetch from where it is."""
        request = fetch_request(self._topic, self._offset, max_wait_ms=500)
        self.stream.socket.sendall(framed(encode_request(request, NAMED_FETCH_VERSION)))

    def receive(self) -> None:
        """Take the records that have arrived. Raises SteadyFailed."""
        frames = self.stream.frames()
        now_s = time.perf_counter()
        for frame in frames:
            data = FetchResponse.decode(frame[5:], NAMED_FETCH_VERSION).responses[0].partitions[0]
            if data.error_code:
                raise SteadyFailed(f"Fetch was answered with error code {data.error_code}")
            records = data.records
            assert records is None or isinstance(records, bytes | bytearray | memoryview)
            end = _next_offset(memoryview(records or b""), self._offset)
            for _ in range((end - self._offset) // self._records):
                self.latencies_s.append(now_s - self.due_s.popleft())
            self._offset = end
            self.ask()


def _next_offset(records: memoryview, offset: int) -> int:
    """The offset behind the last whole batch; `offset` if there is none."""
    position = 0
    while len(records) - position >= _DELTA_AT + 4:
        base, length = _OFFSET_AND_LENGTH.unpack_from(records, position)
        if len(records) - position < length + 12:
            break
        offset = base + _DELTA.unpack_from(records, position + _DELTA_AT)[0] + 1
        position += length + 12
    return offset


def run(
    producer: Producer, consumer: Consumer | None, *, per_s: float, seconds: float, stops_with: int | None
) -> SteadyResult:
    """Send `per_s` requests a second. `stops_with` is a descriptor whose end ends it earlier. Raises SteadyFailed."""
    sources = [producer.stream.socket.fileno()]
    if consumer is not None:
        sources.append(consumer.stream.socket.fileno())
    if stops_with is not None:
        sources.append(stops_with)
    begun_s = time.perf_counter()
    until_s = begun_s + seconds
    sent = 0
    while True:
        due_s = begun_s + sent / per_s
        now_s = time.perf_counter()
        sending = due_s < until_s
        if sending and now_s >= due_s:
            if consumer is not None:
                consumer.due_s.append(due_s)
            producer.send(due_s)
            sent += 1
            continue
        if not sending and not producer.due_s and (consumer is None or not consumer.due_s):
            break
        if now_s > until_s + ANSWER_TIMEOUT_S:
            raise SteadyFailed(f"no answer for {ANSWER_TIMEOUT_S:g} s")
        # Other ways to wait do so for whole milliseconds.
        ready, _, _ = select.select(sources, (), (), max(0.0, due_s - now_s - EARLY_S) if sending else 0.1)
        for descriptor in ready:
            if descriptor == producer.stream.socket.fileno():
                producer.receive()
            elif consumer is not None and descriptor == consumer.stream.socket.fileno():
                consumer.receive()
            elif descriptor == stops_with and not os.read(descriptor, 1):
                until_s = min(until_s, time.perf_counter())
                sources.remove(descriptor)
    return SteadyResult(summary(producer.latencies_s), None if consumer is None else summary(consumer.latencies_s))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steady", description="Produce at a steady pace.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("topic")
    parser.add_argument("--per-s", type=float, default=2000.0)
    parser.add_argument("--records", type=int, default=1)
    parser.add_argument("--record-bytes", type=int, default=100)
    parser.add_argument("--acks", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--consume", action="store_true")
    parser.add_argument("--stop-with-stdin", action="store_true")
    options = parser.parse_args(argv)

    def work() -> SteadyResult:
        address = (options.host, options.port)
        consumer = Consumer(*address, options.topic, options.records) if options.consume else None
        producer = Producer(*address, options.topic, options.records, options.record_bytes, options.acks)
        stops_with = 0 if options.stop_with_stdin else None
        return run(producer, consumer, per_s=options.per_s, seconds=options.seconds, stops_with=stops_with)

    return report(work, SteadyFailed, OSError)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
