"""Our own load generator: Produce requests over plain sockets, so that no client library is the bottleneck.

``python -m benchmarks.load.produce HOST PORT TOPIC`` writes one JSON line. A batch is made once and sent again and
again: only the correlation id changes, and with sequences these and the checksum. Of each answer the length, that id
and the error code are looked at.
"""

from __future__ import annotations

import dataclasses
import gc
import random
import select
import socket
import string
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.load.answers import ExpectedAnswers, LoadFailed
from benchmarks.load.command_line import parse, report
from benchmarks.load.pipe import ANSWER_TIMEOUT_S, Budget, Latencies, Pipe
from benchmarks.load.ring import Ring, SequencedRing
from benchmarks.load.sequences import Producer
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.records.compression import Codec, compress
from odradek.wire.records.header import NO_PRODUCER_EPOCH, NO_PRODUCER_ID, RECORDS_AT
from tests.support.batches import Lies, batch
from tests.support.requests import NAMED_PRODUCE_VERSION, produce_request
from tests.support.wire import Connection, encode_request, framed

SLOTS = 128
"""How many requests a ring has, unless more than half as many shall be in flight."""
TRANSACTION_TIMEOUT_MS = 60_000
_SEED = 1
_ACKS_NONE, _ACKS_LEADER = 0, 1
_NO_PRODUCER = Producer(NO_PRODUCER_ID, NO_PRODUCER_EPOCH)
_LETTERS = bytes(ord(string.ascii_uppercase[value % 26]) for value in range(256))


@dataclass(frozen=True)
class Load:
    """What to send: ends after ``seconds`` or ``max_batches``, whichever comes first.

    With ``acks`` 0 there are no answers: ``in_flight`` requests are sent at once, as fast as the sockets take them, and
    behind them one with acks 1, whose answer says that the broker has come so far.
    """

    host: str
    port: int
    topic: str
    records_per_batch: int = 1
    record_bytes: int = 100
    in_flight: int = 5
    connections: int = 1
    acks: int = 1
    idempotent: int = 0
    """1: each connection has a producer id of its own, and its batches have sequences."""
    compression: str = Codec.NONE.config_name
    seconds: float = 5.0
    max_batches: int = 1 << 31


@dataclass(frozen=True)
class LoadResult:
    """What was acknowledged, and how long each request took from its send to its answer, where there are answers."""

    records: int
    requests: int
    records_per_s: float
    p50_ms: float | None
    p99_ms: float | None


def generate(load: Load) -> LoadResult:
    """Send until the load is done and everything is answered. Raises LoadFailed, OSError."""
    if load.idempotent and load.acks == _ACKS_NONE:
        raise ValueError("a producer without answers has no sequences")
    pipes = _pipes(load)
    gc.disable()
    try:
        begun_s = time.perf_counter()
        deadline_s = begun_s + load.seconds
        if load.acks == _ACKS_NONE:
            _stream(pipes, load, deadline_s)
        elif load.connections == 1:
            _drive_one(pipes[0], load.in_flight, deadline_s)
        else:
            _drive(pipes, load.in_flight, deadline_s)
        elapsed_s = time.perf_counter() - begun_s
    finally:
        gc.enable()
        for pipe in pipes:
            pipe.socket.close()
    return _result(load, pipes, elapsed_s)


def _result(load: Load, pipes: Sequence[Pipe], elapsed_s: float) -> LoadResult:
    requests = sum(pipe.sent_requests for pipe in pipes)
    p50_s = p99_s = None
    if load.acks != _ACKS_NONE:
        latencies = Latencies()
        for pipe in pipes:
            latencies.extend(pipe.latencies)
        p50_s, p99_s = latencies.quantiles_s((0.5, 0.99))
    else:
        requests += load.connections
    records = requests * load.records_per_batch
    return LoadResult(
        records=records,
        requests=requests,
        records_per_s=records / elapsed_s,
        p50_ms=None if p50_s is None else p50_s * 1000,
        p99_ms=None if p99_s is None else p99_s * 1000,
    )


def _pipes(load: Load) -> list[Pipe]:
    """Connected, with nothing sent."""
    slots = max(SLOTS, 2 * load.in_flight)
    budget = Budget(load.max_batches)
    expected = ExpectedAnswers(load.topic, slots, load.in_flight)
    waits = load.connections == 1 or load.acks == _ACKS_NONE
    shared = None if load.idempotent else Ring(*request_and_batch(load), slots)
    pipes: list[Pipe] = []
    try:
        for _ in range(load.connections):
            ring = shared or _sequenced_ring(load, slots)
            sock = socket.create_connection((load.host, load.port), timeout=ANSWER_TIMEOUT_S)
            pipes.append(Pipe(sock, ring, expected, load.in_flight, budget, waits=waits))
    except BaseException:
        for pipe in pipes:
            pipe.socket.close()
        raise
    return pipes


def _sequenced_ring(load: Load, slots: int) -> Ring:
    producer = _init_producer_id(load)
    return SequencedRing(*request_and_batch(load, producer), slots, load.records_per_batch)


def request_and_batch(load: Load, producer: Producer = _NO_PRODUCER) -> tuple[bytes, bytes]:
    """A whole frame, and the batch in it, whose records have letters for values that are not all the same."""
    chosen = random.Random(_SEED)
    values = [chosen.randbytes(load.record_bytes).translate(_LETTERS) for _ in range(load.records_per_batch)]
    sequence = -1 if producer == _NO_PRODUCER else 0
    timestamp_ms = int(time.time() * 1000)
    records = batch(values, timestamp_ms=timestamp_ms, producer=(*producer, sequence))
    codec = Codec[load.compression.upper()]
    if codec is not Codec.NONE:
        records = batch(
            values,
            timestamp_ms=timestamp_ms,
            producer=(*producer, sequence),
            payload=compress(codec, records[RECORDS_AT:]),
            lies=Lies(attributes=codec),
        )
    request = produce_request(load.topic, records, acks=load.acks)
    return framed(encode_request(request, NAMED_PRODUCE_VERSION, correlation_id=0)), records


def _init_producer_id(load: Load) -> Producer:
    with Connection(load.host, load.port) as connection:
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=TRANSACTION_TIMEOUT_MS)
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            answer = connection.call(request, InitProducerIdResponse)
            if not answer.error_code:
                return Producer(answer.producer_id, answer.producer_epoch)
            if answer.error_code != ErrorCode.COORDINATOR_LOAD_IN_PROGRESS or time.monotonic() > deadline_s:
                raise LoadFailed(f"no producer id: error code {answer.error_code}")
            time.sleep(0.05)


def _drive_one(pipe: Pipe, depth: int, deadline_s: float) -> None:
    pipe.send(depth, time.perf_counter())
    while pipe.in_flight:
        pipe.turn(deadline_s)


def _drive(pipes: Sequence[Pipe], depth: int, deadline_s: float) -> None:
    active: dict[int, Pipe] = {}
    sending: set[int] = set()
    with select.epoll() as poll:
        for pipe in pipes:
            pipe.send(depth, time.perf_counter())
            if pipe.in_flight:
                active[pipe.socket.fileno()] = pipe
                poll.register(pipe.socket, select.EPOLLIN)
        for fd, pipe in active.items():
            _poll_as_needed(poll, fd, pipe, sending)
        while active:
            ready = poll.poll(ANSWER_TIMEOUT_S)
            if not ready:
                raise LoadFailed(f"no answer for {ANSWER_TIMEOUT_S:g} s")
            for fd, events in ready:
                pipe = active[fd]
                if events & select.EPOLLOUT:
                    pipe.flush()
                if events & ~select.EPOLLOUT:
                    pipe.turn(deadline_s)
                if pipe.has_unsent or sending:
                    _poll_as_needed(poll, fd, pipe, sending)
                if not pipe.in_flight:
                    poll.unregister(fd)
                    del active[fd]


def _poll_as_needed(poll: select.epoll, fd: int, pipe: Pipe, sending: set[int]) -> None:
    """Ask whether the socket takes more if there is more; ``sending`` are those that are asked about."""
    if pipe.has_unsent and fd not in sending:
        sending.add(fd)
        poll.modify(fd, select.EPOLLIN | select.EPOLLOUT)
    elif not pipe.has_unsent and fd in sending:
        sending.remove(fd)
        poll.modify(fd, select.EPOLLIN)


def _stream(pipes: Sequence[Pipe], load: Load, deadline_s: float) -> None:
    """Send without answers, then on each connection one request whose answer comes behind all that was sent."""
    now_s = time.perf_counter()
    while now_s < deadline_s and not pipes[0].budget.is_spent:
        for pipe in pipes:
            pipe.send(load.in_flight, now_s)
        now_s = time.perf_counter()
    answered = dataclasses.replace(load, acks=_ACKS_LEADER)
    ring, expected = Ring(*request_and_batch(answered), 1), ExpectedAnswers(load.topic, 1, 1)
    last = [Pipe(pipe.socket, ring, expected, 1, Budget(1), waits=True) for pipe in pipes]
    for pipe in last:
        pipe.send(1, now_s)
    for pipe in last:
        pipe.turn(deadline_s=0.0)


def main(argv: list[str]) -> int:
    load = parse(Load, "benchmarks.load.produce", "Send Produce requests.", argv)
    return report(lambda: generate(load), LoadFailed, OSError)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
