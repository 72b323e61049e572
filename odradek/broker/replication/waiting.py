"""Requests that wait for partitions to move on (Kafka's purgatory)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

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

    def start_timer(self, scheduler: Scheduler, delay_ms: float) -> None:
        """Finish after `delay_ms`, ready or not."""
        self._timer = scheduler.call_later(delay_ms, self.finish)


class WaitingRoom(Generic[Key]):
    """Who waits for what. All moves of one turn of the loop wake each waiter once."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._by_key: dict[Key, dict[Waiter[Key], None]] = {}
        self._moved: dict[Key, None] = {}

    def __len__(self) -> int:
        return len({waiter for waiters in self._by_key.values() for waiter in waiters})

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
        for key in waiter.keys:
            self._by_key.setdefault(key, {})[waiter] = None
        waiter.start_timer(self._scheduler, timeout_ms)
        return waiter

    def moved(self, key: Key) -> None:
        """Ask those who wait for `key` again, in this thread's next turn."""
        if key not in self._by_key:
            return
        if not self._moved:
            self._scheduler.call_soon(self._wake)
        self._moved[key] = None

    def finish_all(self) -> None:
        """Finish everybody, ready or not, in this thread's next turn."""
        for waiter in dict.fromkeys(waiter for waiters in self._by_key.values() for waiter in waiters):
            self._scheduler.call_soon(waiter.finish)

    def forget(self, waiter: Waiter[Key]) -> None:
        """Drop a waiter from all its keys."""
        for key in waiter.keys:
            waiters = self._by_key.get(key)
            if waiters is not None:
                waiters.pop(waiter, None)
                if not waiters:
                    del self._by_key[key]

    def _wake(self) -> None:
        moved, self._moved = self._moved, {}
        woken: dict[Waiter[Key], None] = {}
        for key in moved:
            woken.update(self._by_key.get(key, {}))
        for waiter in woken:
            waiter.try_finish()
