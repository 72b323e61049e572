"""A timer wheel for idle connections.

A message costs one assignment (`last_active = tick`). Each connection lies in the bucket of the tick at which it
would have to be closed; when that comes, it is either idle, or moved on to the tick that its last activity gives.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

TICKS_PER_TIMEOUT = 64
MIN_TICK_MS = 10
MAX_TICK_MS = 1_000


class Idler(Protocol):
    """Something that remembers the tick of its last activity."""

    last_active: int


T = TypeVar("T", bound=Idler)


def tick_ms(timeout_ms: int) -> int:
    """How long a tick lasts for this time-out: a connection is closed at most two ticks late."""
    return min(MAX_TICK_MS, max(MIN_TICK_MS, timeout_ms // TICKS_PER_TIMEOUT))


class IdleWheel(Generic[T]):
    """Finds who has been idle for `timeout_ticks`."""

    def __init__(self, timeout_ticks: int) -> None:
        self.timeout_ticks = max(1, timeout_ticks)
        self._buckets: dict[int, dict[T, None]] = {}
        self._due: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._due)

    def add(self, item: T) -> None:
        """Watch `item`, from its last activity on."""
        due = item.last_active + self.timeout_ticks + 1
        self._buckets.setdefault(due, {})[item] = None
        self._due[item] = due

    def remove(self, item: T) -> None:
        """Forget `item`; one that is not watched is fine."""
        due = self._due.pop(item, None)
        if due is not None:
            del self._buckets[due][item]

    def advance(self, tick: int) -> list[T]:
        """Call once for each tick; returns those who are idle, and forgets them."""
        idle = []
        for item in self._buckets.pop(tick, ()):
            del self._due[item]
            if tick - item.last_active > self.timeout_ticks:
                idle.append(item)
            else:
                self.add(item)
        return idle
