"""Our own load generator: Produce requests over plain sockets, so that no client library is the bottleneck.

``python -m benchmarks.load.produce HOST PORT TOPIC`` writes one JSON line. The batch is made once and sent again
and again; only the correlation id changes, and of an answer only that id and the error code are read.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import selectors
import socket
import struct
import sys
import time
from array import array
from collections import deque
from dataclasses import dataclass

from benchmarks.stats import quantile
from tests.support.batches import batch
from tests.support.requests import NAMED_PRODUCE_VERSION, produce_request
from tests.support.wire import encode_request, framed

ANSWER_TIMEOUT_S = 30.0
CORRELATION_ID_AT = 8
"""Behind the frame's length, the API key and the version."""
RECEIVE_BYTES = 1 << 16
_LENGTH_AND_ID = struct.Struct(">ii")
_INT16 = struct.Struct(">h")


class LoadFailed(Exception):
    """The broker refused a batch, closed the connection or fell silent."""


@dataclass(frozen=True)
class Load:
    """What to send: ends after ``seconds`` or ``max_batches``, whichever comes first."""

    host: str
    port: int
    topic: str
    records_per_batch: int = 1
    record_bytes: int = 100
    in_flight: int = 5
    connections: int = 1
    acks: int = 1
    seconds: float = 5.0
    max_batches: int = 1 << 31


@dataclass(frozen=True)
class LoadResult:
    """What was acknowledged, and how long each request took from its send to its answer."""

    records: int
    requests: int
    records_per_s: float
    p50_ms: float
    p99_ms: float


def generate(load: Load) -> LoadResult:
    """Send until the load is done and everything is answered. Raises LoadFailed, OSError."""
    timestamp_ms = int(time.time() * 1000)
    records = batch([b"x" * load.record_bytes] * load.records_per_batch, timestamp_ms=timestamp_ms)
    request = framed(
        encode_request(produce_request(load.topic, records, acks=load.acks), NAMED_PRODUCE_VERSION, correlation_id=0)
    )
    budget = Budget(load.max_batches)
    pipes = [Pipe(load, request, budget) for _ in range(load.connections)]
    try:
        begun = time.perf_counter()
        _drive(pipes, load.in_flight, begun + load.seconds)
        elapsed_s = time.perf_counter() - begun
    finally:
        for pipe in pipes:
            pipe.socket.close()
    latencies_s = sorted(latency for pipe in pipes for latency in pipe.latencies_s)
    return LoadResult(
        records=len(latencies_s) * load.records_per_batch,
        requests=len(latencies_s),
        records_per_s=len(latencies_s) * load.records_per_batch / elapsed_s,
        p50_ms=quantile(latencies_s, 0.5) * 1000,
        p99_ms=quantile(latencies_s, 0.99) * 1000,
    )


@dataclass
class Budget:
    """Batches that may still be sent, over all connections."""

    batches: int

    def take(self, wanted: int) -> int:
        taken = min(wanted, self.batches)
        self.batches -= taken
        return taken


class Pipe:
    """One connection with its requests in flight."""

    def __init__(self, load: Load, request: bytes, budget: Budget) -> None:
        self.socket = socket.create_connection((load.host, load.port), timeout=ANSWER_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.latencies_s = array("d")
        self._front, self._rest = request[:CORRELATION_ID_AT], request[CORRELATION_ID_AT + 4 :]
        self._error_code_at = error_code_position(load.topic)
        self._budget = budget
        self._next_id = 1
        self._sent_at_s: deque[float] = deque()
        self._unsent = memoryview(b"")
        self._received = bytearray()
        self._buffer = bytearray(RECEIVE_BYTES)

    @property
    def in_flight(self) -> int:
        return len(self._sent_at_s)

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def send(self, count: int) -> None:
        """Put up to ``count`` more requests in flight, as the budget allows."""
        parts: list[bytes] = []
        now_s = time.perf_counter()
        for _ in range(self._budget.take(count)):
            parts += (self._front, self._next_id.to_bytes(4, "big"), self._rest)
            self._next_id += 1
            self._sent_at_s.append(now_s)
        self._unsent = memoryview(b"".join((self._unsent, *parts)))
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            pass

    def receive(self) -> int:
        """Read what there is; returns the number of answers. Raises LoadFailed."""
        size = self.socket.recv_into(self._buffer)
        if not size:
            raise LoadFailed("the broker closed the connection")
        self._received += self._buffer[:size]
        now_s = time.perf_counter()
        answers = position = 0
        while len(self._received) - position >= _LENGTH_AND_ID.size:
            length, correlation_id = _LENGTH_AND_ID.unpack_from(self._received, position)
            if len(self._received) - position < length + 4:
                break
            self._check(position, length, correlation_id)
            self.latencies_s.append(now_s - self._sent_at_s.popleft())
            position += length + 4
            answers += 1
        del self._received[:position]
        return answers

    def _check(self, position: int, length: int, correlation_id: int) -> None:
        if not self._sent_at_s or correlation_id != self._next_id - len(self._sent_at_s):
            raise LoadFailed(f"an answer to {correlation_id} out of order")
        if length + 4 < self._error_code_at + 2:
            raise LoadFailed(f"an answer of {length} bytes")
        (error_code,) = _INT16.unpack_from(self._received, position + self._error_code_at)
        if error_code:
            raise LoadFailed(f"the broker answered with error code {error_code}")


def error_code_position(topic: str) -> int:
    """Where a frame with a Produce answer (version 9 to 12) for one partition of ``topic`` has its error code.

    Raises ValueError where the name's length would not fit into the one byte that is assumed.
    """
    name_bytes = len(topic.encode())
    if name_bytes > 126:
        raise ValueError("the topic's name is too long")
    frame_length, correlation_id, header_tags, topic_count, name_length, partition_count, index = 4, 4, 1, 1, 1, 1, 4
    return (
        frame_length + correlation_id + header_tags + topic_count + name_length + name_bytes + partition_count + index
    )


def _drive(pipes: list[Pipe], depth: int, deadline_s: float) -> None:
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            pipe.send(depth)
            selector.register(pipe.socket, _interest(pipe), pipe)
        while any(pipe.in_flight for pipe in pipes):
            ready = selector.select(ANSWER_TIMEOUT_S)
            if not ready:
                raise LoadFailed(f"no answer for {ANSWER_TIMEOUT_S:g} s")
            more = time.perf_counter() < deadline_s
            for key, events in ready:
                _serve(key.data, events, more=more)
                wanted = _interest(key.data)
                if key.events != wanted:
                    selector.modify(key.fileobj, wanted, key.data)


def _serve(pipe: Pipe, events: int, *, more: bool) -> None:
    if events & selectors.EVENT_WRITE:
        pipe.flush()
    if events & selectors.EVENT_READ:
        answers = pipe.receive()
        if more:
            pipe.send(answers)


def _interest(pipe: Pipe) -> int:
    return selectors.EVENT_READ | (selectors.EVENT_WRITE if pipe.has_unsent else 0)


def arguments(load: Load) -> list[str]:
    """The command line, behind the program's name, that says the same as ``load``."""
    options = [load.host, str(load.port), load.topic]
    for field in dataclasses.fields(Load)[3:]:
        options += [f"--{field.name.replace('_', '-')}", str(getattr(load, field.name))]
    return options


def parse_arguments(argv: list[str]) -> Load:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.produce", description="Send Produce requests.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("topic")
    for field in dataclasses.fields(Load)[3:]:
        kind = type(field.default)
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    return Load(**vars(parser.parse_args(argv)))


def main(argv: list[str]) -> int:
    try:
        result = generate(parse_arguments(argv))
    except (LoadFailed, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(dataclasses.asdict(result)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
