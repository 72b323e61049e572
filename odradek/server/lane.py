"""Large requests, one after the other: together they take no more of a turn than one of them."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TypeVar

from odradek.ports.promise import Promise, flatten, spawn

T = TypeVar("T")

_Work = Callable[[], Coroutine[Promise[object], None, None]]


class Lane:
    """Does one piece of work at a time, and of the connections that have some, one of each in turn.

    The work of one connection keeps its order, so whoever puts one request here puts those behind it here, too.
    """

    def __init__(self) -> None:
        self.queues: dict[str, deque[_Work]] = {}
        """What is under way or waits, by connection; for others to look at."""
        self._running = False

    def put(
        self,
        connection_id: str,
        work: Callable[[], Coroutine[Promise[object], None, T | Promise[T]]],
        drop: Callable[[], None] | None = None,
    ) -> Promise[T]:
        """Do `work` when it is its turn; where it comes to a promise, that one is not waited for here.

        Work that has not begun when nobody waits for it any more is not done; `drop` is called instead.
        """
        result: Promise[T] = Promise()
        abandoned = False

        def abandon() -> None:
            nonlocal abandoned
            abandoned = True

        async def run() -> None:
            if abandoned:
                if drop is not None:
                    drop()
                return
            done = spawn(work())
            result.follow(flatten(done))
            with contextlib.suppress(Exception):  # whoever waits for the result is told
                await done

        result.on_abandoned(abandon)
        self.queues.setdefault(connection_id, deque()).append(run)
        if not self._running:
            self._running = True
            spawn(self._run())
        return result

    async def _run(self) -> None:
        while self.queues:
            connection_id = next(iter(self.queues))
            await self.queues[connection_id][0]()
            # Only now: until it is done, what comes from this connection belongs behind it.
            waiting = self.queues.pop(connection_id)
            waiting.popleft()
            if waiting:
                self.queues[connection_id] = waiting
        self._running = False
