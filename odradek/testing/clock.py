"""`EmbeddedKafka.clock`: the time of its nodes, which a test can move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

from odradek.testing.cluster import Cluster
from odradek.testing.host import Host

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """The clock of all nodes of an `EmbeddedKafka`: it runs as real time does, and can be moved forward.

    What it says is what goes into records, and what time-outs are measured by. Clients have their own time: one that
    polls all the while does not get to send a heartbeat while an hour is skipped.
    """

    def __init__(self, running: Callable[[], Host]) -> None:
        """`running` gives the host of the nodes, or raises RuntimeError while there is none."""
        self._running = running

    def advance(
        self,
        *,
        weeks: float = 0,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        ms: float = 0,
    ) -> None:
        """Let time pass, and return once all that became due has been done: the effect can be seen, without waiting.

        Sessions end, transactions and requests time out, records are deleted and compacted, ids and offsets expire, in
        their order. What nodes look for at intervals only, such as segments to delete, they look for at the end once
        more.

        Raises ValueError for a negative time, RuntimeError if nothing runs, TimeoutError if what became due does not
        come to an end within 30 s of real time.
        """
        self._advance(timedelta(days, seconds, 0, ms, minutes, hours, weeks)).result()

    async def advance_async(
        self,
        *,
        weeks: float = 0,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        ms: float = 0,
    ) -> None:
        """As `advance`, while the caller's event loop goes on."""
        await asyncio.wrap_future(self._advance(timedelta(days, seconds, 0, ms, minutes, hours, weeks)))

    def _advance(self, span: timedelta) -> Future[None]:
        if span < timedelta():
            raise ValueError("time does not run backwards")
        return self._running().call(advance, span / timedelta(milliseconds=1))

    @property
    def now(self) -> datetime:
        """The time of day, in UTC; RuntimeError if nothing runs."""
        return _EPOCH + timedelta(milliseconds=self.now_ms)

    @property
    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, as in a record's timestamp; RuntimeError if nothing runs."""
        return self._running().call(now_ms).result()

    @property
    def is_frozen(self) -> bool:
        """Whether time stands still but for `advance`; RuntimeError if nothing runs."""
        return self._running().call(is_frozen).result()

    def freeze(self) -> None:
        """Let time stand still, but for `advance`, until `resume`; RuntimeError if nothing runs.

        A request that waits for records, and nothing else, then waits until there are some.
        """
        self._running().call(freeze).result()

    def resume(self) -> None:
        """Let time run on from where it stands; RuntimeError if nothing runs."""
        self._running().call(resume).result()


async def advance(cluster: Cluster, milliseconds: float) -> None:
    """Let time pass; see `VirtualTime.advance`."""
    await cluster.time.advance(milliseconds)


async def now_ms(cluster: Cluster) -> int:
    """The wall clock."""
    return cluster.time.clients.now_ms()


async def is_frozen(cluster: Cluster) -> bool:
    """Whether time passes by `advance` only."""
    return cluster.time.is_frozen


async def freeze(cluster: Cluster) -> None:
    """Let time pass by `advance` only."""
    cluster.time.freeze()


async def resume(cluster: Cluster) -> None:
    """Let time run on."""
    cluster.time.resume()
