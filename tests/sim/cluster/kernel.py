"""Virtual time: one heap of events for all processes of a simulation, and a hash of what happened."""

from __future__ import annotations

import hashlib
import heapq
import random
import struct
from collections.abc import Callable
from math import ceil
from typing import Protocol

from tests.sim.storage.crash_disk import PowerCut

Callback = Callable[[], None]

_TICKS = 1024
"""Of the clock, in a millisecond."""
_MAX_EVENTS_AT_ONCE = 100_000
_HASHED_AT_ONCE_BYTES = 1 << 16
_TIME = struct.Struct(">d")


class Owner(Protocol):
    """Whose thread an event runs on."""

    is_held: bool
    """Dead or paused: its events do not run now."""

    def hold(self, event: Event) -> None:
        """Keep an event until it may run, or drop it."""
        ...


class Event(list[object]):
    """[milliseconds, number, owner, callback]: a list, so that the heap compares it without Python code."""

    __slots__ = ()

    def cancel(self) -> None:
        """Drop the call if it has not run yet."""
        self[3] = None


class Kernel:
    """Runs events in the order of their times, and of their scheduling where these are equal."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now_ms = 0.0
        self.events = 0
        self.on_halt: Callable[[], None] | None = None
        """Called when a machine stops in the middle of an event."""
        self.on_error: Callable[[Exception], None] | None = None
        """Called with what an event raises; None lets it end the run."""
        self.is_stopped = False
        """Nothing runs any more: what the run was for has come to its end."""
        self._heap: list[Event] = []
        self._number = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._noted = bytearray()
        """What happened and is not in the hash yet."""
        self.trace: Callable[[str], None] | None = None
        """Gets a line for each thing that happens; None for none."""

    def random(self, name: str) -> random.Random:
        """A source of its own for each part, so that one that draws more does not change the others."""
        return random.Random(f"{self.seed}/{name}")

    def at(self, time_ms: float, owner: Owner | None, callback: Callback) -> Event:
        """Run `callback` at a time, or now if that is over."""
        self._number += 1
        # Fractions that add up without rounding: who waits for what is left of a time-out must get there.
        at_ms = ceil(time_ms * _TICKS) / _TICKS if time_ms > self.now_ms else self.now_ms
        event = Event((at_ms, self._number, owner, callback))
        heapq.heappush(self._heap, event)
        return event

    def after(self, delay_ms: float, owner: Owner | None, callback: Callback) -> Event:
        """Run `callback` that much later."""
        return self.at(self.now_ms + delay_ms, owner, callback)

    def raises(self, error: BaseException) -> None:
        """Let the next event be this error: for what is caught where it comes about."""

        def callback() -> None:
            raise error

        self.at(0, None, callback)

    def note(self, what: str, data: bytes | bytearray = b"") -> None:
        """Put something that happened into the trace."""
        noted = self._noted
        noted += _TIME.pack(self.now_ms)
        noted += what.encode()
        noted += data
        if len(noted) > _HASHED_AT_ONCE_BYTES:
            self._hash.update(noted)
            noted.clear()
        if self.trace is not None:
            self.trace(f"{self.now_ms:12.3f} {what}")

    def digest(self) -> str:
        """Stands for everything that has happened, to the byte."""
        self._hash.update(self._noted)
        self._noted.clear()
        return self._hash.hexdigest()

    def run_until(self, time_ms: float) -> bool:
        """Run what is due by then; returns whether `is_stopped` ended it before."""
        heap, pop = self._heap, heapq.heappop
        at_once, last_ms = 0, -1.0
        while heap and heap[0][0] <= time_ms:  # type: ignore[operator] # events hold objects of several types
            event = pop(heap)
            callback = event[3]
            if callback is None:
                continue
            self.now_ms = event[0]  # type: ignore[assignment] # see above
            owner: Owner | None = event[2]  # type: ignore[assignment] # see above
            if owner is not None and owner.is_held:
                owner.hold(event)
                continue
            event[3] = None
            self.events += 1
            at_once = at_once + 1 if event[0] == last_ms else 0
            last_ms = self.now_ms
            if at_once > _MAX_EVENTS_AT_ONCE:
                raise RuntimeError(f"time stands still at {last_ms} ms, seed {self.seed}: {callback!r} again and again")
            try:
                callback()  # type: ignore[operator] # see above
            except PowerCut:
                # A machine that stops in an event takes nothing else along.
                assert self.on_halt is not None
                self.on_halt()
            except Exception as error:  # whoever listens tells whose mistake it is
                if self.on_error is None:
                    raise
                self.on_error(error)
            if self.is_stopped:
                return True
        self.now_ms = max(self.now_ms, time_ms)
        return False
