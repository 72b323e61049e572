"""A value that comes later, without an event loop.

State machines and handlers must run the same under asyncio and under a simulated scheduler, so they use this
instead of `asyncio.Future`: callbacks run at once, in order, on the thread that settles the promise, and `spawn`
drives an `async def` function that awaits promises without creating a task.

A callback that raises is logged, and harms neither the others nor whoever settles.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Generic, TypeVar, cast

T = TypeVar("T")
U = TypeVar("U")

_log = logging.getLogger(__name__)


class Promise(Generic[T]):
    """Settles once, with a value or an exception. Not thread-safe: it belongs to the state machines' thread."""

    __slots__ = ("_callbacks", "_done", "_error", "_on_abandoned", "_value")

    def __init__(self) -> None:
        self._done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Promise[T]], None]] | None = None
        self._on_abandoned: Callable[[], None] | None = None

    @classmethod
    def of(cls, value: T) -> Promise[T]:
        """A promise that already holds `value`."""
        promise = cls()
        promise.resolve(value)
        return promise

    @classmethod
    def failed(cls, error: BaseException) -> Promise[T]:
        """A promise that has already failed with `error`."""
        promise = cls()
        promise.reject(error)
        return promise

    @property
    def done(self) -> bool:
        """Whether it is settled."""
        return self._done

    @property
    def error(self) -> BaseException | None:
        """What it failed with; None while pending or when it holds a value."""
        return self._error

    def resolve(self, value: T) -> None:
        """Settle with a value. A promise that is settled already stays as it is."""
        if not self._done:
            self._value = value
            self._settle()

    def reject(self, error: BaseException) -> None:
        """Settle with an exception. A promise that is settled already stays as it is."""
        if not self._done:
            self._error = error
            self._settle()

    def result(self) -> T:
        """The value; raises what it failed with, or RuntimeError while it is pending."""
        if not self._done:
            raise RuntimeError("the promise is still pending")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value] # a T once done; a cast costs a call for every await

    def on_done(self, callback: Callable[[Promise[T]], None]) -> None:
        """Call `callback(self)` when settled: now, if it is already."""
        if self._done:
            callback(self)
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def on_abandoned(self, callback: Callable[[], None]) -> None:
        """Call `callback` if `abandon` comes before a value; only the last callback given here counts."""
        self._on_abandoned = callback

    def abandon(self) -> None:
        """Nobody needs the value any more, so that whoever makes it may stop; it may still settle."""
        callback, self._on_abandoned = self._on_abandoned, None
        if callback is not None and not self._done:
            callback()

    def then(self, transform: Callable[[T], U]) -> Promise[U]:
        """The promise of `transform(value)`; an exception of either fails it."""
        result: Promise[U] = Promise()

        def settle(source: Promise[T]) -> None:
            if source._error is not None:
                result.reject(source._error)
                return
            try:
                result.resolve(transform(source._value))  # type: ignore[arg-type] # a T, see `result`
            except Exception as error:  # noqa: BLE001 - carried to whoever awaits the result, not hidden
                result.reject(error)

        self.on_done(settle)
        return result

    def follow(self, other: Promise[T]) -> None:
        """Settle as `other` does, and let it know if this one is abandoned."""
        self.on_abandoned(other.abandon)

        def settle(source: Promise[T]) -> None:
            if source._error is not None:
                self.reject(source._error)
            else:
                self.resolve(source._value)  # type: ignore[arg-type] # a T, see `result`

        other.on_done(settle)

    def __await__(self) -> Generator[Promise[T], None, T]:
        if not self._done:
            yield self
        return self.result()

    def _settle(self) -> None:
        self._done = True
        self._on_abandoned = None
        callbacks = self._callbacks
        if callbacks is None:
            return
        self._callbacks = None
        for callback in callbacks:
            try:
                callback(self)
            except Exception:  # noqa: BLE001 - logged with its traceback
                # Neither the others who wait nor whoever settles is to blame: an answer must not be lost for it.
                _log.exception("what waited for a promise failed")


def spawn(work: Coroutine[Promise[object], None, T]) -> Promise[T]:
    """Run an `async def` function that awaits promises only, up to its first pending one, and on from there.

    Returns the promise of its result; a failure inside it fails that promise.
    """
    result: Promise[T] = Promise()
    _Running(work, result).advance()
    return result


class _Running(Generic[T]):
    """What `spawn` runs: no closure, which would hold itself and what it has done until the garbage collector comes."""

    __slots__ = ("_result", "_work")

    def __init__(self, work: Coroutine[Promise[object], None, T], result: Promise[T]) -> None:
        self._work = work
        self._result = result

    def advance(self, _settled: Promise[object] | None = None) -> None:
        try:
            awaited = self._work.send(None)
        except StopIteration as stop:
            self._result.resolve(stop.value)
        except Exception as error:  # noqa: BLE001 - carried to whoever awaits the result, not hidden
            self._result.reject(error)
        else:
            awaited.on_done(self.advance)


def flatten(promise: Promise[T | Promise[T]]) -> Promise[T]:
    """The promise of what `promise` comes to in the end, where that may be one more promise."""
    result: Promise[T] = Promise()

    def settle(source: Promise[T | Promise[T]]) -> None:
        if isinstance(source._value, Promise):
            result.follow(source._value)
        else:
            result.follow(cast("Promise[T]", source))

    promise.on_done(settle)
    return result


def gather(promises: Sequence[Promise[T]]) -> Promise[list[T]]:
    """The promise of all their values, in order; fails with the first failure, once all are settled."""
    result: Promise[list[T]] = Promise()
    pending = len(promises)

    def count(_settled: Promise[T]) -> None:
        nonlocal pending
        pending -= 1
        if pending:
            return
        for promise in promises:
            if promise.error is not None:
                result.reject(promise.error)
                return
        result.resolve([promise.result() for promise in promises])

    if not promises:
        result.resolve([])
    for promise in promises:
        promise.on_done(count)
    return result
