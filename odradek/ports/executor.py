"""Background work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from odradek.ports.promise import Promise

T = TypeVar("T")


class Executor(Protocol):
    """Runs blocking work (fsync, cold reads, recovery) away from the thread of the state machines."""

    def submit(self, work: Callable[[], T]) -> Promise[T]:
        """Run `work` elsewhere; the promise settles on the state machines' own thread."""
        ...
