"""Requests that are held up, and what stands behind them on their connections."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from odradek.ports import Promise
from odradek.ports.network import Outcome, Reply

FOREVER = math.inf
Answer = Callable[[], Reply | Promise[Reply]]


class _Held:
    """What has to wait until some times have come; `answer` is None for a pause."""

    __slots__ = ("answer", "due_s", "promise")

    def __init__(self, answer: Answer | None) -> None:
        self.answer = answer
        self.due_s: dict[str, float] = {}
        """By the fault that wants it, on the loop's clock."""
        self.promise: Promise[Reply] = Promise()

    @property
    def is_due_s(self) -> float:
        return max(self.due_s.values(), default=0.0)


class _Line:
    __slots__ = ("held", "timer")

    def __init__(self) -> None:
        self.held: deque[_Held] = deque()
        self.timer: asyncio.TimerHandle | None = None


class Lines:
    """One line for each connection that has something held up: its requests are handled in their order.

    Each waits for its own time, and not for its own behind those of others, so that delays do not add up.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lines: dict[str, _Line] = {}

    def is_held(self, connection_id: str) -> bool:
        """Whether a request would have to wait for others."""
        return connection_id in self._lines

    def put(self, connection_id: str, answer: Answer, holds_ms: dict[str, float]) -> Promise[Reply]:
        """Answer once these times, by fault, are over, and what was here before is handled."""
        held = self._append(connection_id, answer, holds_ms)
        self._pump(connection_id)
        return held.promise

    def pause(self, connection_id: str, fault_id: str) -> Callable[[float], None]:
        """Hold up what comes from now on, until so many milliseconds after the returned function is called."""
        line = self._lines.setdefault(connection_id, _Line())
        held = _Held(None)
        held.due_s[fault_id] = FOREVER
        line.held.appendleft(held)

        def end_in(pause_ms: float) -> None:
            if fault_id in held.due_s:
                held.due_s[fault_id] = self._loop.time() + pause_ms / 1000
                self._pump(connection_id)

        return end_in

    def release(self, fault_id: str) -> None:
        """The fault is lifted: nothing waits for it any more."""
        for connection_id, line in list(self._lines.items()):
            for held in line.held:
                held.due_s.pop(fault_id, None)
            self._pump(connection_id)

    def cut_off(self) -> None:
        """Handle nothing that is held up; its connections end."""
        lines, self._lines = self._lines, {}
        for line in lines.values():
            if line.timer is not None:
                line.timer.cancel()
            for held in line.held:
                held.promise.resolve(Outcome.CLOSE)

    def _append(self, connection_id: str, answer: Answer, holds_ms: dict[str, float]) -> _Held:
        held = _Held(answer)
        now_s = self._loop.time()
        held.due_s = {fault_id: now_s + hold_ms / 1000 for fault_id, hold_ms in holds_ms.items()}
        self._lines.setdefault(connection_id, _Line()).held.append(held)
        return held

    def _pump(self, connection_id: str) -> None:
        """Handle what is due, up to the first that is not."""
        line = self._lines.get(connection_id)
        if line is None:
            return
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None
        while line.held:
            due_s = line.held[0].is_due_s
            if due_s > self._loop.time():
                if due_s != FOREVER:
                    line.timer = self._loop.call_at(due_s, self._pump, connection_id)
                return
            self._handle(line.held.popleft())
        if self._lines.get(connection_id) is line:
            del self._lines[connection_id]

    def _handle(self, held: _Held) -> None:
        if held.answer is None:
            return
        try:
            reply = held.answer()
        except Exception as error:  # noqa: BLE001 - costs the connection, which logs it
            held.promise.reject(error)
            return
        if isinstance(reply, Promise):
            held.promise.follow(reply)
        else:
            held.promise.resolve(reply)
