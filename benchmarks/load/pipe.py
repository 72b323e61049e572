"""One connection with its requests in flight, at the least cost per request."""

from __future__ import annotations

import socket
import struct
import time
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.load.answers import ExpectedAnswers, LoadFailed
from benchmarks.load.ring import Ring

ANSWER_TIMEOUT_S = 30.0
_TIMEVAL = struct.Struct("@ll")


@dataclass
class Budget:
    """Batches that may still be sent, over all connections."""

    batches: int

    @property
    def is_spent(self) -> bool:
        return not self.batches

    def take(self, wanted: int) -> int:
        taken = min(wanted, self.batches)
        self.batches -= taken
        return taken


class Latencies:
    """How long requests took from their send to their answer, all of those together that were sent and answered so."""

    def __init__(self) -> None:
        self._seconds = array("d")
        self._counts = array("L")

    def add(self, latency_s: float, count: int) -> None:
        self._seconds.append(latency_s)
        self._counts.append(count)

    def extend(self, other: Latencies) -> None:
        self._seconds.extend(other._seconds)
        self._counts.extend(other._counts)

    def quantiles_s(self, shares: Sequence[float]) -> list[float]:
        """The latency that each of the ascending shares (0 to 1) of the requests does not exceed."""
        pairs = sorted(zip(self._seconds, self._counts, strict=True))
        total = sum(self._counts)
        found: list[float] = []
        passed = 0
        for seconds, count in pairs:
            passed += count
            while len(found) < len(shares) and passed >= shares[len(found)] * total:
                found.append(seconds)
        return found


class Pipe:
    """Sends requests of a ring in its order, and takes their answers.

    What a caller waits with is its own: ``waits`` says whether calls block until they are done (at most
    `ANSWER_TIMEOUT_S`), or an event loop calls when the socket is ready.
    """

    def __init__(
        self, sock: socket.socket, ring: Ring, expected: ExpectedAnswers, in_flight: int, budget: Budget, *, waits: bool
    ) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The system's own time-outs need no call of poll before each receive, which Python's would.
        sock.settimeout(None)
        seconds = _TIMEVAL.pack(int(ANSWER_TIMEOUT_S), 0)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, seconds)
        self.socket = sock
        self.latencies = Latencies()
        self.sent_requests = 0
        self.answered_requests = 0
        self._ring = ring
        self._expected = expected
        self._depth = in_flight
        self.budget = budget
        self._flags = 0 if waits else socket.MSG_DONTWAIT
        self._next_slot = 0
        self._answered_slot = 0
        self._sent: deque[tuple[float, int]] = deque()
        self._unsent: list[memoryview] = []
        self._answer_bytes = expected.answer_bytes
        self._buffer = bytearray(in_flight * expected.answer_bytes)
        self._space = memoryview(self._buffer)
        self._partial = 0

    @property
    def in_flight(self) -> int:
        return self.sent_requests - self.answered_requests

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def send(self, count: int, now_s: float) -> None:
        """Put up to ``count`` more requests in flight, as the budget allows."""
        count = self.budget.take(count)
        if not count:
            return
        self._sent.append((now_s, count))
        self.sent_requests += count
        while count:
            slot = self._next_slot
            now = min(count, self._ring.slots - slot)
            self._write(self._ring.buffers(slot, now), now * self._ring.request_bytes)
            self._next_slot = (slot + now) % self._ring.slots
            count -= now

    def flush(self) -> None:
        """Send what the socket takes of what it did not take."""
        unsent, self._unsent = self._unsent, []
        self._write(unsent, sum(map(len, unsent)))

    def turn(self, deadline_s: float) -> None:
        """Take the answers that are there, and until the deadline send as many requests. Raises LoadFailed."""
        slot, count = self._answered_slot, self._receive()
        if count:
            now_s = time.perf_counter()
            sends = now_s < deadline_s
            if sends:
                self.send(count, now_s)
            # The rest is done while the broker works on what was just sent.
            self._expected.check(self._buffer, slot, count)
            self._note(count, now_s)
            if sends:
                self._ring.prepare(slot, count)
        self._keep_partial(count)

    def _receive(self) -> int:
        """The number of answers that are there now, not looked at yet."""
        try:
            size = self.socket.recv_into(self._space)
        except BlockingIOError:
            raise LoadFailed(f"no answer for {ANSWER_TIMEOUT_S:g} s") from None
        if not size:
            raise LoadFailed("the broker closed the connection")
        count, self._partial = divmod(size + self._partial, self._answer_bytes)
        if count > self.in_flight:
            raise LoadFailed(f"{count} answers to {self.in_flight} requests")
        self._answered_slot = (self._answered_slot + count) % self._ring.slots
        return count

    def _keep_partial(self, count: int) -> None:
        """Let the next receive go on behind the part of an answer that has come."""
        partial = self._partial
        if partial or len(self._space) < len(self._buffer):
            taken = count * self._answer_bytes
            self._buffer[:partial] = self._buffer[taken : taken + partial]
            self._space = memoryview(self._buffer)[partial:]

    def _note(self, count: int, now_s: float) -> None:
        self.answered_requests += count
        while count:
            sent_s, together = self._sent.popleft()
            if together > count:
                self._sent.appendleft((sent_s, together - count))
                together = count
            self.latencies.add(now_s - sent_s, together)
            count -= together

    def _write(self, buffers: list[memoryview], size: int) -> None:
        if self._unsent:
            self._unsent += buffers
            return
        while size:
            try:
                taken = self.socket.sendmsg(buffers, (), self._flags)
            except BlockingIOError:
                if not self._flags:
                    raise LoadFailed(f"the broker took nothing for {ANSWER_TIMEOUT_S:g} s") from None
                taken = 0
            size -= taken
            if size:
                buffers = _without(buffers, taken)
                if self._flags:
                    self._unsent = buffers
                    return


def _without(buffers: list[memoryview], taken: int) -> list[memoryview]:
    """The buffers behind their first ``taken`` bytes."""
    for place, buffer in enumerate(buffers):
        if taken < len(buffer):
            return [buffer[taken:], *buffers[place + 1 :]]
        taken -= len(buffer)
    return []
