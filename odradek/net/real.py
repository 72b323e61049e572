"""The real clock, scheduler, executor and random source."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from odradek.ports.promise import Promise

T = TypeVar("T")

DEFAULT_EXECUTOR_THREADS = 4

_UUID_RESERVED = frozenset({bytes(16), bytes(15) + b"\x01"})
_DASH_AS_SIX_BITS = 62
"""The value of '-' in base64url: an id that began with it would look like an option on a command line."""


class RealClock:
    """The system's clocks."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        """Milliseconds that never run backwards."""
        return time.monotonic_ns() / 1_000_000


class LoopScheduler:
    """Runs callbacks on an event loop, which is the state machines' thread."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, run: Callable[[Callable[[], None]], None] | None = None
    ) -> None:
        """`run` calls what comes soon; without it the loop does."""
        self._loop = loop
        self._run = run

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run `callback` in the loop's next turn."""
        if self._run is None:
            self._loop.call_soon(callback)
        else:
            self._loop.call_soon(self._run, callback)

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Run `callback` once, `delay_ms` milliseconds from now."""
        return self._loop.call_later(delay_ms / 1000, callback)


class ThreadExecutor:
    """Blocking work on a few threads; promises settle on the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threads: int = DEFAULT_EXECUTOR_THREADS,
        *,
        on_thread: Callable[[], None] | None = None,
    ) -> None:
        """At most `threads` pieces of work run at a time, started as they are needed; more of them wait.

        `on_thread` is called on each thread before it works.
        """
        self._loop = loop
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="odradek-worker", initializer=on_thread)

    def submit(self, work: Callable[[], T]) -> Promise[T]:
        """Run `work` on another thread; an exception fails the promise. RuntimeError after `shutdown`."""
        promise: Promise[T] = Promise()

        def finished(future: Future[T]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                self._loop.call_soon_threadsafe(_settle, promise, future)

        self._pool.submit(work).add_done_callback(finished)
        return promise

    def shutdown(self) -> None:
        """Wait for the work that has begun; what has not is cancelled, and its promises fail."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class SystemRandom:
    """The system's random source."""

    def token(self, count: int) -> bytes:
        """`count` random bytes."""
        return os.urandom(count)

    def below(self, bound: int) -> int:
        """A uniform integer in [0, bound); ValueError if `bound` is below 1."""
        if bound < 1:
            raise ValueError(f"no number is below {bound} and not below 0")
        bits = (bound - 1).bit_length()
        count = (bits + 7) // 8
        while True:
            value = int.from_bytes(os.urandom(count), "big") >> (8 * count - bits)
            if value < bound:
                return value

    def uuid(self) -> bytes:
        """A random Kafka uuid: version 4, never a reserved one, no leading '-' in base64."""
        while True:
            raw = bytearray(os.urandom(16))
            raw[6] = raw[6] & 0x0F | 0x40
            raw[8] = raw[8] & 0x3F | 0x80
            uuid = bytes(raw)
            if uuid not in _UUID_RESERVED and uuid[0] >> 2 != _DASH_AS_SIX_BITS:
                return uuid


def _settle(promise: Promise[T], future: Future[T]) -> None:
    if future.cancelled():
        promise.reject(RuntimeError("the node is shutting down"))
        return
    error = future.exception()
    if error is not None:
        promise.reject(error)
    else:
        promise.resolve(future.result())
