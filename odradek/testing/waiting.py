"""Waiting until nodes are in a state, on the thread of who waits: blocking, or in an event loop.

What is looked for is looked for again whenever a node has answered a request, and a few times a second besides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Protocol, TypeVar

from odradek.testing.cluster import Cluster
from odradek.testing.host import Host
from odradek.wire.errors import ErrorCode, KafkaError

T = TypeVar("T")

TIMEOUT_S = 10.0
"""How long is waited where nobody says how long."""


_NOT_YET = frozenset(
    {
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.TRANSACTIONAL_ID_NOT_FOUND,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.BROKER_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    }
)


class WaitTimeoutError(TimeoutError):
    """What was waited for did not come in time; the text says what there was instead."""


class Wait(Protocol):
    """How what comes from the nodes' thread is waited for."""

    async def __call__(self, future: Future[T], /) -> T:
        """What the future comes to."""
        ...


async def block(future: Future[T], /) -> T:
    """For `now`: wait on this thread."""
    return future.result()


async def give_way(future: Future[T], /) -> T:
    """Wait while the event loop goes on."""
    return await asyncio.wrap_future(future)


def now(work: Coroutine[object, None, T]) -> T:
    """What `work` comes to, which waits by `block` only."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError("this waits for an event loop")


async def until(
    host: Host,
    wait: Wait,
    look: Callable[[], Coroutine[object, None, T]],
    is_there: Callable[[T], bool],
    *,
    timeout_s: float,
    told: Callable[[T], str],
) -> T:
    """What `look` comes to once it `is_there`; raises WaitTimeoutError with what `told` says of the last look.

    A KafkaError that says that something is not there yet may be raised by `look` meanwhile.
    """
    until_s = time.monotonic() + timeout_s
    happened = -1
    while True:
        # Before the look, so that what happens during it is not missed.
        left_s = max(0.0, until_s - time.monotonic())
        happened = await wait(host.call(_happened, happened, left_s))
        try:
            found = await look()
        except KafkaError as error:
            if error.code not in _NOT_YET:
                raise
            if time.monotonic() >= until_s:
                raise WaitTimeoutError(f"after {timeout_s:g} s {error.message or error}") from error
            continue
        if is_there(found):
            return found
        if time.monotonic() >= until_s:
            raise WaitTimeoutError(f"after {timeout_s:g} s {told(found)}")


async def _happened(cluster: Cluster, seen: int, timeout_s: float) -> int:
    return await cluster.watch.next(seen, timeout_s)
