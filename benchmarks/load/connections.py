"""Many connections to one broker, of which some produce now and then: what each takes of the broker's memory.

``python -m benchmarks.load.connections HOST PORT TOPIC PID`` writes one JSON line.
"""

from __future__ import annotations

import resource
import select
import socket
import struct
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import procfs
from benchmarks.load.answers import ExpectedAnswers, LoadFailed
from benchmarks.load.command_line import parse, report
from benchmarks.load.pipe import ANSWER_TIMEOUT_S
from benchmarks.load.produce import Load, request_and_batch
from benchmarks.load.ring import Ring
from benchmarks.stats import quantile
from odradek.wire.messages.api_versions import ApiVersionsRequest
from tests.support.wire import Closed, Connection, encode_request, framed

SPARE_FILES = 100
SLOTS = 64
"""Requests of one connection that may be in flight."""
SAMPLE_INTERVAL_S = 0.5
_API_VERSIONS = 3
_ERROR_CODE = struct.Struct(">h")
_ERROR_CODE_AT = 4
"""Of an ApiVersions answer, behind the correlation id."""


@dataclass(frozen=True)
class Held:
    """How many connections, of which one in ``active_one_in`` sends a record every ``interval_s``."""

    host: str
    port: int
    topic: str
    pid: int
    """The broker, whose memory is looked at."""
    connections: int = 1000
    active_one_in: int = 3
    interval_s: float = 1.0
    seconds: float = 10.0
    settle_s: float = 1.0
    """Before memory is looked at: what was closed or answered is given back soon, if at all."""


@dataclass(frozen=True)
class HeldResult:
    """Latencies count from when a request was due; resident sets are sampled at equal intervals."""

    records: int
    records_per_s: float
    p50_ms: float
    p99_ms: float
    before_bytes: int
    held_bytes: int
    """With all connections, after the load."""
    closed_bytes: int
    series_bytes: list[int]


def hold(held: Held) -> HeldResult:
    """Connect, produce, and close. Raises LoadFailed, Closed, OSError."""
    _allow_files(held.connections + SPARE_FILES)
    memory = Memory(held.pid)
    before_bytes = memory.now_bytes()
    connections: list[Connection] = []
    try:
        for _ in range(held.connections):
            connections.append(Connection(held.host, held.port))
            _introduce(connections[-1])
        active = [connection.socket for connection in connections[:: held.active_one_in]]
        load = Load(held.host, held.port, held.topic)
        latencies_s, elapsed_s = Schedule(load, active, held.interval_s, memory.sample).run(held.seconds)
        memory.settle(held.settle_s)
        held_bytes = memory.now_bytes()
        _expect_open(connections)
    finally:
        for connection in connections:
            connection.close()
    memory.settle(held.settle_s)
    latencies = sorted(latencies_s)
    return HeldResult(
        records=len(latencies),
        records_per_s=len(latencies) / elapsed_s,
        p50_ms=quantile(latencies, 0.5) * 1000,
        p99_ms=quantile(latencies, 0.99) * 1000,
        before_bytes=before_bytes,
        held_bytes=held_bytes,
        closed_bytes=memory.now_bytes(),
        series_bytes=memory.series_bytes,
    )


class Memory:
    """A process's resident set over time."""

    def __init__(self, pid: int, interval_s: float = SAMPLE_INTERVAL_S) -> None:
        self.series_bytes: list[int] = []
        self._pid = pid
        self._interval_s = interval_s
        self._due_s = time.perf_counter()

    def now_bytes(self) -> int:
        return procfs.resident_bytes(self._pid)

    def sample(self, now_s: float) -> None:
        """Add to the series, if it is time to."""
        if now_s >= self._due_s:
            self._due_s += self._interval_s
            self.series_bytes.append(self.now_bytes())

    def settle(self, seconds: float) -> None:
        """Wait for a moment, sampling."""
        end_s = time.perf_counter() + seconds
        while (now_s := time.perf_counter()) < end_s:
            self.sample(now_s)
            time.sleep(0.05)


class Schedule:
    """Requests that are due one after the other, on one connection after the other, whether or not answers are late."""

    def __init__(
        self, load: Load, sockets: Sequence[socket.socket], interval_s: float, sample: Callable[[float], None]
    ) -> None:
        """Each socket sends one request per interval; ``sample`` is called often."""
        self._ring = Ring(*request_and_batch(load), SLOTS)
        self._expected = ExpectedAnswers(load.topic, SLOTS, 1)
        self._members = [_Active(sock) for sock in sockets]
        self._by_fd = {member.socket.fileno(): member for member in self._members}
        self._gap_s = interval_s / len(sockets)
        self._sample = sample
        self._latencies_s = array("d")

    def run(self, seconds: float) -> tuple[array[float], float]:
        """All latencies, and the seconds that all of it took. Raises LoadFailed, OSError."""
        begun_s = time.perf_counter()
        count = max(1, int(seconds / self._gap_s))
        sent = 0
        with select.epoll() as poll:
            for fd in self._by_fd:
                poll.register(fd, select.EPOLLIN)
            while len(self._latencies_s) < count:
                now_s = time.perf_counter()
                self._sample(now_s)
                while sent < count and begun_s + sent * self._gap_s <= now_s:
                    self._send(self._members[sent % len(self._members)], begun_s + sent * self._gap_s)
                    sent += 1
                if sent == count and now_s > begun_s + seconds + ANSWER_TIMEOUT_S:
                    raise LoadFailed(f"{count - len(self._latencies_s)} requests were not answered")
                wait_s = begun_s + sent * self._gap_s - now_s if sent < count else SAMPLE_INTERVAL_S
                for fd, _ in poll.poll(max(0.0, min(wait_s, SAMPLE_INTERVAL_S))):
                    self._receive(self._by_fd[fd])
        return self._latencies_s, time.perf_counter() - begun_s

    def _send(self, member: _Active, due_s: float) -> None:
        if len(member.due_s) == SLOTS:
            raise LoadFailed(f"{SLOTS} requests of one connection are not answered")
        member.socket.sendmsg(self._ring.buffers(member.next_slot, 1))
        member.next_slot = (member.next_slot + 1) % SLOTS
        member.due_s.append(due_s)

    def _receive(self, member: _Active) -> None:
        data = member.socket.recv(SLOTS * self._expected.answer_bytes)
        if not data:
            raise LoadFailed("the broker closed a connection")
        now_s = time.perf_counter()
        member.received += data
        while len(member.received) >= self._expected.answer_bytes:
            if not member.due_s:
                raise LoadFailed("an answer to nothing")
            self._expected.check(member.received, (member.next_slot - len(member.due_s)) % SLOTS, 1)
            self._latencies_s.append(now_s - member.due_s.popleft())
            del member.received[: self._expected.answer_bytes]


class _Active:
    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(None)
        self.socket = sock
        self.next_slot = 0
        self.due_s: deque[float] = deque()
        self.received = bytearray()


def _introduce(connection: Connection) -> None:
    """Ask for the broker's versions, as every client does first."""
    request = ApiVersionsRequest(client_software_name="odradek-benchmarks", client_software_version="1")
    connection.send_bytes(framed(encode_request(request, _API_VERSIONS)))
    (error_code,) = _ERROR_CODE.unpack_from(connection.receive_frame(), _ERROR_CODE_AT)
    if error_code:
        raise LoadFailed(f"ApiVersions: error code {error_code}")


def _expect_open(connections: Sequence[Connection]) -> None:
    for connection in connections:
        connection.socket.setblocking(False)
        try:
            data = connection.socket.recv(1)
        except BlockingIOError:
            continue
        raise LoadFailed("more came than was asked for" if data else "the broker closed a connection that was held")


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def main(argv: list[str]) -> int:
    held = parse(Held, "benchmarks.load.connections", "Hold connections.", argv)
    return report(lambda: hold(held), LoadFailed, Closed, OSError)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
