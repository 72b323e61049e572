"""Processes with embedded nodes that one test after the other uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from odradek.testing.embedded import EmbeddedKafka

KEPT = 2
"""How many processes may be idle, each with other options."""


class WarmProcesses:
    """Those that nobody uses, by what they were started with; a context manager that stops them."""

    def __init__(self) -> None:
        self._idle: list[tuple[Mapping[str, Any], EmbeddedKafka]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._idle:
            self._idle.pop()[1].stop()

    @contextmanager
    def empty(self, arguments: Mapping[str, Any]) -> Iterator[EmbeddedKafka]:
        """An `EmbeddedKafka` with these arguments that is as if it were started just now.

        It has other addresses each time, so that clients that an earlier test has left behind do not find it. Raises
        what a start, a reset or a stop raises.
        """
        kafka = self._taken(arguments)
        try:
            yield kafka
            if kafka.is_running:
                kafka.reset(keep_addresses=False)
        except BaseException:
            kafka.stop()
            raise
        if kafka.is_running:
            self._idle.append((arguments, kafka))
            while len(self._idle) > KEPT:
                self._idle.pop(0)[1].stop()

    def _taken(self, arguments: Mapping[str, Any]) -> EmbeddedKafka:
        for number, (known, kafka) in enumerate(self._idle):
            if known == arguments:
                del self._idle[number]
                return kafka
        return EmbeddedKafka(**arguments).start()
