"""Requests that wait for partitions to move on (Kafka's purgatory)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from odradek.broker.replication.watching import Watchers
from odradek.ports import Scheduler, TimerHandle

Key = TypeVar("Key", bound=Hashable)

_log = logging.getLogger(__name__)


class Waiter(Generic[Key]):
    """A parked request: watched keys, a question that is asked when one of them moves, and a time-out."""

    __slots__ = ("_done", "_finish", "_is_ready", "_room", "_timer", "keys")

    def __init__(
        self,
        room: WaitingRoom[Key],
        keys: tuple[Key, ...],
        is_ready: Callable[[], bool],
        finish: Callable[[], None],
    ) -> None:
        self.keys = keys
        self._room = room
        self._is_ready = is_ready
        self._finish = finish
        self._done = False
        self._timer: TimerHandle | None = None

    def try_finish(self) -> bool:
        """Finish if the answer is ready now; returns whether it is finished.

        A question that fails is logged and finishes the waiter with what there is: the others must still be asked.
        """
        if not self._done:
            try:
                ready = self._is_ready()
            except Exception:  # noqa: BLE001 - logged with its traceback
                _log.exception("a parked request failed")
                ready = True
            if ready:
                self.finish()
        return self._done

    def finish(self) -> None:
        """Finish with whatever there is, once."""
        if self._done:
            return
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
        self._room.forget(self)
        self._finish()

    def moved(self, _key: Key) -> None:
        """One of the keys moved: `wake` looks at all of them."""

    def wake(self) -> None:
        """At the end of a turn in which any of them did."""
        self.try_finish()

    def start_timer(self, scheduler: Scheduler, delay_ms: float) -> None:
        """Finish after `delay_ms`, ready or not."""
        self._timer = scheduler.call_later(delay_ms, self.finish)


class WaitingRoom(Generic[Key]):
    """Who waits for what: `Watchers` that are requests. All moves of one turn of the loop wake each waiter once."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._watchers: Watchers[Key] = Watchers(scheduler)
        self._parked: dict[Waiter[Key], None] = {}
        self.moved = self._watchers.moved
        """Ask those who wait for a key again, in this thread's next turn."""

    def __len__(self) -> int:
        return len(self._parked)

    def park(
        self,
        keys: Iterable[Key],
        *,
        is_ready: Callable[[], bool],
        finish: Callable[[], None],
        timeout_ms: float,
    ) -> Waiter[Key]:
        """Call `finish` once: when `is_ready` holds after one of `keys` moved, or after `timeout_ms`."""
        waiter = Waiter(self, tuple(dict.fromkeys(keys)), is_ready, finish)
        self._parked[waiter] = None
        for key in waiter.keys:
            self._watchers.watch(key, waiter)
        waiter.start_timer(self._scheduler, timeout_ms)
        return waiter

    def finish_all(self) -> None:
        """Finish everybody, ready or not, in this thread's next turn."""
        for waiter in self._parked:
            self._scheduler.call_soon(waiter.finish)

    def forget(self, waiter: Waiter[Key]) -> None:
        """Drop a waiter that is parked."""
        del self._parked[waiter]
        for key in waiter.keys:
            self._watchers.unwatch(key, waiter)
