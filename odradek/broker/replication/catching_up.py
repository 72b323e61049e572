"""Partitions that are not yet as the metadata says, brought there without keeping others waiting."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Protocol

from odradek.ports import Clock, Promise, Scheduler
from odradek.storage.log_creation import WantedLog
from odradek.storage.manager import LogManager
from odradek.storage.topic_partition import TopicPartition

FOLLOW_SLICE_MS = 0.5
"""How long one turn of following the metadata may keep the thread from other work."""
MADE_AT_ONCE = 16
"""So many new logs of one change of the metadata are made at once, if their slice lasts; the executor makes the files
of the others."""
MADE_TOGETHER = 8
"""New logs whose files are one piece of the executor's work. They are then followed in one turn."""


class FollowingReplicas(Protocol):
    """What is done to partitions, by the image as it is then."""

    def leave(self, name: TopicPartition) -> None:
        """End the partition's replica, if there is one that the image does not want."""
        ...

    def wanted_log(self, name: TopicPartition) -> WantedLog | None:
        """The log that has to be made before the partition can be followed; None if none is missing."""
        ...

    def follow(self, name: TopicPartition) -> None:
        """Bring the partition to what the image says."""
        ...


class CatchingUp:
    """Knows what is behind, and brings it forward: a slice in each turn of the loop, and the rest in later turns.

    What needs no file goes first. A partition whose files are being made is left alone until they are there, whatever
    happens to its topic meanwhile; what becomes of them is then decided by the image.
    """

    def __init__(self, replicas: FollowingReplicas, logs: LogManager, clock: Clock, scheduler: Scheduler) -> None:
        self._replicas = replicas
        self._logs = logs
        self.clock = clock
        self.made_at_once = MADE_AT_ONCE
        self._scheduler = scheduler
        self._behind: dict[TopicPartition, None] = {}
        """What is to be looked at, in that order."""
        self._unmade: dict[TopicPartition, None] = {}
        """What waits for the executor to make its files."""
        self._being_made: Sequence[TopicPartition] = ()
        self._may_make = 0
        self._is_scheduled = False
        self._is_closed = False
        self._waiting: list[_Waiting] = []

    def begin(self, names: Iterable[TopicPartition]) -> None:
        """The image has changed what it says about these. As much as fits into a slice is done on return."""
        self._behind.update(dict.fromkeys(names))
        self._may_make = self.made_at_once
        if not self._is_scheduled:
            self._proceed()

    def when_done(self, topics: Iterable[str] | None = None) -> Promise[None]:
        """Settles once nothing of these topics is behind, be it that they are gone; without them, once nothing is."""
        waiting = _Waiting(topics)
        self._waiting.append(waiting)
        self._tell()
        return waiting.done

    def close(self) -> None:
        """The node stops: make nothing any more. What is deleted goes now, so that the next start does not find it."""
        self._is_closed = True
        for name in self._behind:
            self._replicas.leave(name)
        self._behind.clear()
        self._unmade.clear()
        self._being_made = ()
        self._tell()

    def _proceed(self) -> None:
        until_ms = self.clock.monotonic_ms() + FOLLOW_SLICE_MS
        while self._behind and not self._is_over():
            name = next(iter(self._behind))
            del self._behind[name]
            if name not in self._being_made:
                self._bring(name)
            if self._behind and self.clock.monotonic_ms() >= until_ms:
                self._may_make = 0
                self._schedule()
                break
        self._make_some()
        self._tell()

    def _bring(self, name: TopicPartition) -> None:
        self._replicas.leave(name)
        if self._replicas.wanted_log(name) is not None:
            if self._may_make <= 0:
                self._unmade[name] = None
                return
            self._may_make -= 1
        self._replicas.follow(name)

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._scheduler.call_soon(self._proceed_later)

    def _proceed_later(self) -> None:
        self._is_scheduled = False
        self._proceed()

    def _make_some(self) -> None:
        """Have the files of some logs made, unless that is under way."""
        wanted: list[WantedLog] = []
        while self._unmade and not self._being_made and len(wanted) < MADE_TOGETHER:
            name = next(iter(self._unmade))
            del self._unmade[name]
            log = self._replicas.wanted_log(name)
            if log is not None:
                wanted.append(log)
        if wanted:
            self._being_made = [log.name for log in wanted]
            self._logs.make_files_later(wanted).on_done(self._made)

    def _made(self, _done: Promise[None]) -> None:
        names, self._being_made = self._being_made, ()
        if not self._is_over():
            for name in names:
                self._replicas.leave(name)
                self._replicas.follow(name)
            self._logs.drop_files(names)
            self._make_some()
        self._tell()

    def _is_over(self) -> bool:
        """Whether the logs are closed, or will be: then the next start brings everything forward."""
        if self._logs.is_closed:
            self._behind.clear()
            self._unmade.clear()
        return self._is_closed or self._logs.is_closed

    def _tell(self) -> None:
        """Settle what waits for topics of which nothing is behind any more."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if each.last is None or not self._is_behind(each.last):
                each.last = self._last_behind(each.topics)
            if each.last is None:
                each.done.resolve(None)
            else:
                self._waiting.append(each)

    def _is_behind(self, name: TopicPartition) -> bool:
        return name in self._behind or name in self._unmade or name in self._being_made

    def _last_behind(self, topics: Container[str] | None) -> TopicPartition | None:
        """Which partition of these topics has its turn last."""
        places = (reversed(self._unmade), reversed(self._behind), reversed(self._being_made))
        return next((name for place in places for name in place if topics is None or name.topic in topics), None)


class _Waiting:
    """Somebody who waits for topics."""

    __slots__ = ("done", "last", "topics")

    def __init__(self, topics: Iterable[str] | None) -> None:
        self.topics = None if topics is None else dict.fromkeys(topics)
        self.last: TopicPartition | None = None
        """A partition that was still behind when it was last looked."""
        self.done: Promise[None] = Promise()
