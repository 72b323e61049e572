"""A process: its thread, its clocks, its executor and its randomness, in virtual time."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from odradek.ports import Promise
from tests.sim.cluster.kernel import Event, Kernel

T = TypeVar("T")

EPOCH_MS = 1_700_000_000_000
_UUID_RESERVED = (bytes(16), bytes(15) + b"\x01")


class Process:
    """Implements Clock, Scheduler, Executor and Random. It may be paused, and killed for good."""

    def __init__(self, kernel: Kernel, host: str, name: str) -> None:
        self.kernel = kernel
        self.host = host
        self.name = name
        self.is_alive = True
        self.is_held = False
        self.has_machine = True
        """Whether its machine is on, so that others are told of what comes for a process that is no more."""
        self.clock_offset_ms = 0
        """How far the wall clock is off."""
        self.connections: dict[object, None] = {}
        """Both what it has opened and what it has accepted; each has `process_died(process)`."""
        self._is_paused = False
        self._started_ms = kernel.now_ms
        self._random = kernel.random(f"process/{name}")
        self._soon: deque[Callable[[], None]] = deque()
        self._backlog: deque[Event] = deque()
        self._delays = kernel.random(f"executor/{name}")

    # What happens to it

    def kill(self) -> None:
        """Nothing of it runs any more."""
        self.is_alive = False
        self.is_held = True
        self._backlog.clear()

    def pause(self) -> None:
        """As SIGSTOP: what is due waits."""
        self._is_paused = self.is_held = True

    def resume(self) -> None:
        """What has waited runs now, in its order."""
        if self._is_paused and self.is_alive:
            self._is_paused = False
            self.kernel.at(0, None, self._go_on)

    def _go_on(self) -> None:
        """All at once: what is due at this moment, too, comes behind what has waited."""
        if self._is_paused or not self.is_alive:
            return
        self.is_held = False
        while self._backlog and self.is_alive:
            callback = self._backlog.popleft()[3]
            if callback is not None:
                try:
                    callback()  # type: ignore[operator] # events hold objects of several types
                except Exception as error:  # noqa: BLE001 - told as what an event of its own raises
                    self.kernel.raises(error)

    def hold(self, event: Event) -> None:
        """An event was due while this process is paused or dead."""
        if self.is_alive:
            self._backlog.append(event)

    # Clock

    def now_ms(self) -> int:
        return EPOCH_MS + int(self.kernel.now_ms) + self.clock_offset_ms

    def monotonic_ms(self) -> float:
        return self.kernel.now_ms - self._started_ms

    # Scheduler

    def call_soon(self, callback: Callable[[], None]) -> None:
        soon = self._soon
        if not soon:
            self.kernel.at(0, self, self._turn)
        soon.append(callback)

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> Event:
        kernel = self.kernel
        return kernel.at(kernel.now_ms + delay_ms, self, callback)

    def _turn(self) -> None:
        soon = self._soon
        callbacks = tuple(soon)
        soon.clear()
        for callback in callbacks:
            callback()
            if not self.is_alive:
                return

    # Executor

    def submit(self, work: Callable[[], T]) -> Promise[T]:
        """The work is done at one moment between now and when the promise settles; others' may be done before it."""
        promise: Promise[T] = Promise()
        delays = self._delays
        begins_ms, ends_ms = (delays.random() ** 4 * 20 for _ in range(2))

        def run() -> None:
            error: Exception | None = None
            result: list[T] = []
            try:
                result.append(work())
            except Exception as raised:  # noqa: BLE001 - handed to whoever waits, as a thread pool does
                error = raised
            self.kernel.after(ends_ms, self, lambda: promise.reject(error) if error else promise.resolve(result[0]))

        self.kernel.after(begins_ms, self, run)
        return promise

    # Random

    def token(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def below(self, bound: int) -> int:
        return self._random.randrange(bound)

    def uuid(self) -> bytes:
        while True:
            value = uuid.UUID(bytes=self._random.randbytes(16), version=4).bytes
            if value not in _UUID_RESERVED and value[0] >> 2 != 62:
                return value
