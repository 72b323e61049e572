"""Who has to know which partitions moved: fetch sessions for as long as they last, and requests that wait."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from odradek.ports import Scheduler

Key = TypeVar("Key", bound=Hashable)
KeyIn = TypeVar("KeyIn", bound=Hashable, contravariant=True)


class Watcher(Protocol[KeyIn]):
    """Somebody who watches keys."""

    def moved(self, key: KeyIn) -> None:
        """One of the keys moved. Neither this nor `wake` may raise."""
        ...

    def wake(self) -> None:
        """At the end of a turn in which any of them did."""
        ...


class Watchers(Generic[Key]):
    """Tells watchers of the moves of their keys: of all moves of one turn of the loop once, whatever they are."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._by_key: dict[Key, dict[Watcher[Key], None]] = {}
        self._moved: dict[Key, None] = {}
        self._told: dict[Watcher[Key], None] = {}
        self._will_wake = False
        self.count = 0
        """Keys of all watchers."""
        self.wakes = 0
        """How often watchers were woken, with this time if `is_waking`."""
        self.is_waking = False
        """Whether they are being woken: until that is over, nothing else happens."""

    def watch(self, key: Key, watcher: Watcher[Key]) -> None:
        """Tell `watcher` of `key` from now on; it does not watch it yet."""
        self._by_key.setdefault(key, {})[watcher] = None
        self.count += 1

    def unwatch(self, key: Key, watcher: Watcher[Key]) -> None:
        """Tell `watcher` of `key` no more."""
        watchers = self._by_key[key]
        del watchers[watcher]
        if not watchers:
            del self._by_key[key]
        self.count -= 1

    def moved(self, key: Key) -> None:
        """Those who watch `key` are told at the end of this turn, or sooner (`tell`)."""
        if key not in self._by_key:
            return
        self._moved[key] = None
        if not self._will_wake:
            self._will_wake = True
            self._scheduler.call_soon(self._wake)

    def tell(self) -> None:
        """Let everybody know now what has moved up to here."""
        if not self._moved:
            return
        moved, self._moved = self._moved, {}
        for key in moved:
            for watcher in self._by_key.get(key, ()):
                watcher.moved(key)
                self._told[watcher] = None

    def _wake(self) -> None:
        self._will_wake = False
        self.tell()
        told, self._told = self._told, {}
        self.wakes += 1
        self.is_waking = True
        for watcher in told:
            watcher.wake()
        self.is_waking = False
