"""Values that come from another thread."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def promised() -> Future[T]:
    """A future that nobody who waits for it can cancel."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()
    return future
