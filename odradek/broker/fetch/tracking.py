"""Which partitions of a fetch session have to be looked at: a fetch costs what has changed, not what is watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from odradek.broker.replication.partition import Isolation
from odradek.broker.replication.watching import Watchers
from odradek.ports import TimerHandle, Timing
from odradek.storage.topic_partition import TopicPartition

if TYPE_CHECKING:
    from odradek.broker.fetch.session import FetchedPartition, PartitionKey

_EARLY_MS = 1.0
"""A timer that rings this much too early is not set again."""


class Waiting(Protocol):
    """A fetch of the session that waits for more."""

    deadline_ms: float
    """When it is answered with what there is, by the monotonic clock."""

    def look_again(self) -> None:
        """Partitions moved."""
        ...

    def finish(self) -> None:
        """The deadline has come, or the session has ended."""
        ...


class Tracking:
    """A session's partitions, and which of them may have something to tell: the others' answer would be the same.

    It holds until the session's partitions change (`is_stale`).
    """

    __slots__ = (
        "_by_name",
        "_isolation",
        "_log_starts",
        "_rings_at_ms",
        "_timer",
        "_timing",
        "_turns",
        "_watchers",
        "changed",
        "is_stale",
        "waiting",
    )

    def __init__(
        self, by_name: dict[TopicPartition, FetchedPartition], watchers: Watchers[TopicPartition], timing: Timing
    ) -> None:
        """`by_name` are all partitions of the session, in the order in which they are to be read."""
        self._by_name = by_name
        self._watchers = watchers
        self._timing = timing
        self._isolation: Isolation | None = None
        self._log_starts = -1
        self._turns = 0
        self.is_stale = False
        """Whether the session was changed, or told something, without regard to this."""
        self.changed: dict[PartitionKey, FetchedPartition] = {}
        """Those that have to be looked at."""
        self.waiting: Waiting | None = None
        self._timer: TimerHandle | None = None
        self._rings_at_ms = 0.0
        for name, fetched in by_name.items():
            self.put_last(fetched)
            watchers.watch(name, self)

    def prepare(self, isolation: Isolation, log_starts: int) -> None:
        """A fetch of this isolation comes; `log_starts` counts how often logs of this broker began to start elsewhere.

        Another of either than before, and all partitions have to be looked at.
        """
        if isolation is not self._isolation or log_starts != self._log_starts:
            self._isolation = isolation
            self._log_starts = log_starts
            self.changed = {fetched.key: fetched for fetched in self._by_name.values()}
        self._watchers.tell()

    def in_order(self) -> list[FetchedPartition]:
        """Those that have to be looked at, in the order of the session."""
        changed = list(self.changed.values())
        if len(changed) > 1:
            changed.sort(key=lambda fetched: fetched.turn)
        return changed

    def put_last(self, fetched: FetchedPartition) -> None:
        """A partition was read: others go first from now on."""
        self._turns += 1
        fetched.turn = self._turns

    def moved(self, key: TopicPartition) -> None:
        """A partition has to be looked at (see `Watcher`)."""
        fetched = self._by_name[key]
        self.changed[fetched.key] = fetched

    def wake(self) -> None:
        """Partitions moved (see `Watcher`)."""
        if self.waiting is not None:
            self.waiting.look_again()

    def wait(self, waiting: Waiting) -> None:
        """Have `waiting` look again when partitions move, and finish at its deadline, unless it is done by then.

        The timer stays set when it is done, for the next fetch, which nearly always waits longer than that.
        """
        self.waiting = waiting
        if self._timer is not None and self._rings_at_ms > waiting.deadline_ms:
            self._cancel_timer()
        if self._timer is None:
            self._set_timer(waiting.deadline_ms)

    def close(self) -> None:
        """Watch nothing any more; whoever waits is answered."""
        for name in self._by_name:
            self._watchers.unwatch(name, self)
        self._by_name = {}
        self._cancel_timer()
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.finish()

    def _set_timer(self, deadline_ms: float) -> None:
        self._rings_at_ms = deadline_ms
        left_ms = deadline_ms - self._timing.clock.monotonic_ms()
        self._timer = self._timing.scheduler.call_later(max(0.0, left_ms), self._on_timer)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        waiting = self.waiting
        if waiting is None:
            return
        if waiting.deadline_ms - self._timing.clock.monotonic_ms() >= _EARLY_MS:
            self._set_timer(waiting.deadline_ms)
        else:
            waiting.finish()
