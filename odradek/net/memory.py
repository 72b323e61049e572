"""The node-wide budget of request memory.

What counts: the buffers of frames that are still arriving, once they are larger than what every connection may hold
anyway (`ALLOWANCE_BYTES`), and frames whose replies are pending. Buffers grow with the bytes that have arrived, so
announcing a large frame costs nothing.

No deadlock. If every byte of the budget is held by incomplete frames and each of them needs more, none can finish and
none gives back. So the first frame in the queue may always go beyond the budget, one at a time: until its memory
is given back, all others wait. It can finish, hence so can the next one. The node's peak is the budget plus one frame
of `socket.request.max.bytes`, plus the allowance of each connection.

Fair. Frames that need more wait in the order they asked, and nothing overtakes them; small requests (within the
allowance) need no budget, so a client with ordinary requests is not slowed by those who send huge ones.

Slow senders. A frame that holds memory and does not arrive would keep the queue waiting. While anything waits,
`check_progress` is called once a second and gives up each connection that has memory, does not wait for more, and
still brought less than `SLOW_SENDER_BYTES_PER_CHECK` in each of the last `SLOW_SENDER_CHECKS` seconds, be it that it
does not send or that it does not take its replies. Without a queue a slow sender bothers nobody and may take its time.
"""

from __future__ import annotations

from typing import Protocol

ALLOWANCE_BYTES = 64 * 1024
"""What each connection may hold without asking: an incomplete frame, or parked requests."""

PROGRESS_CHECK_MS = 1_000
SLOW_SENDER_BYTES_PER_CHECK = 16 * 1024
SLOW_SENDER_CHECKS = 3


class MemoryUser(Protocol):
    """A connection that waits for memory or holds it."""

    def memory_granted(self) -> None:
        """The size that the lease asked for is now its own. Must not ask for more at once."""
        ...

    def give_up_slow_frame(self) -> None:
        """The memory is needed elsewhere and the frame does not arrive: close."""
        ...


class Lease:
    """One large frame's share of the budget. Ask with `grow`, report bytes in `received`, `close` to give back."""

    __slots__ = ("_memory", "_seen", "_slow_checks", "owner", "received", "size_bytes")

    def __init__(self, memory: RequestMemory, owner: MemoryUser) -> None:
        self._memory = memory
        self.owner = owner
        self.size_bytes = 0
        self.received = 0
        self._seen = 0
        self._slow_checks = 0

    def grow(self, size_bytes: int) -> bool:
        """Have `size_bytes` in all; False: queued, `owner.memory_granted` is called later."""
        return self._memory.grow(self, size_bytes)

    def complete(self) -> None:
        """Every byte has arrived: the frame no longer has to make progress, but still holds its memory."""
        self._memory.completed(self)

    def close(self) -> None:
        """Give all back, or leave the queue; again: no effect."""
        self._memory.close(self)

    def granted(self, size_bytes: int) -> None:
        """For the budget: the lease has this size now and may be read again."""
        self.size_bytes = size_bytes
        self._seen = self.received
        self._slow_checks = 0

    def is_slow(self) -> bool:
        """For the budget, once per check: whether it has been too slow for too long."""
        if self.received - self._seen >= SLOW_SENDER_BYTES_PER_CHECK:
            self._slow_checks = 0
        else:
            self._slow_checks += 1
        self._seen = self.received
        return self._slow_checks >= SLOW_SENDER_CHECKS


class RequestMemory:
    """Counts bytes and orders who may have more; see the module's text."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self.evicted = 0
        self._waiting: dict[Lease, int] = {}
        self._arriving: dict[Lease, None] = {}
        self._beyond: Lease | None = None

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left."""
        return self.held_bytes >= self.limit_bytes

    @property
    def is_tight(self) -> bool:
        """Whether a frame that begins now would have to wait."""
        return bool(self._waiting) or self.held_bytes >= self.limit_bytes

    @property
    def waiting(self) -> int:
        """Frames that wait for memory."""
        return len(self._waiting)

    def has(self, size_bytes: int) -> bool:
        """Whether a lease of this size would be granted at once and within the budget."""
        return not self._waiting and self.held_bytes + size_bytes <= self.limit_bytes

    def set_limit(self, limit_bytes: int) -> None:
        """Change the budget; who holds more keeps it until it is given back."""
        self.limit_bytes = limit_bytes
        self._serve()

    def lease(self, owner: MemoryUser) -> Lease:
        """An empty lease for a frame that is arriving."""
        return Lease(self, owner)

    def charge(self, size_bytes: int) -> None:
        """Count a parked request that is in memory already."""
        self.held_bytes += size_bytes

    def discharge(self, size_bytes: int) -> None:
        """A parked request has been answered."""
        self.held_bytes -= size_bytes
        self._serve()

    def grow(self, lease: Lease, size_bytes: int) -> bool:
        """See `Lease.grow`."""
        self._waiting[lease] = size_bytes
        if lease is not self._beyond and next(iter(self._waiting)) is not lease:
            return False
        return self._grant(lease, size_bytes)

    def completed(self, lease: Lease) -> None:
        """See `Lease.complete`."""
        self._arriving.pop(lease, None)

    def close(self, lease: Lease) -> None:
        """See `Lease.close`."""
        self._arriving.pop(lease, None)
        self._waiting.pop(lease, None)
        if lease is self._beyond:
            self._beyond = None
        self.held_bytes -= lease.size_bytes
        lease.size_bytes = 0
        self._serve()

    def check_progress(self) -> None:
        """Call every `PROGRESS_CHECK_MS` while something waits: gives up those who hold memory and do not send."""
        if not self._waiting:
            return
        slow = [lease for lease in self._arriving if lease not in self._waiting and lease.is_slow()]
        for lease in slow:
            self.evicted += 1
            lease.owner.give_up_slow_frame()

    def _grant(self, lease: Lease, size_bytes: int) -> bool:
        more = size_bytes - lease.size_bytes
        if lease is not self._beyond and self.held_bytes + more > self.limit_bytes:
            if self._beyond is not None:
                return False
            self._beyond = lease
        del self._waiting[lease]
        self._arriving[lease] = None
        self.held_bytes += more
        lease.granted(size_bytes)
        return True

    def _serve(self) -> None:
        while self._waiting:
            lease, size_bytes = next(iter(self._waiting.items()))
            if not self._grant(lease, size_bytes):
                return
            lease.owner.memory_granted()
