"""Replies leave at the end of the turn that completes them, those of one connection together."""

from __future__ import annotations

import asyncio

from odradek.net.context import LoopContext
from odradek.net.limits import NetworkLimits
from odradek.net.real import LoopScheduler


class _Connection:
    def __init__(self, name: str, seen: list[str]) -> None:
        self._name = name
        self._seen = seen

    def flush(self) -> None:
        self._seen.append(f"sent {self._name}")


def _turns(loop: asyncio.AbstractEventLoop, *, fails: bool = False) -> list[str]:
    """What happens, turn by turn, where a scheduled callback completes replies of two connections."""
    seen: list[str] = []
    context = LoopContext(loop, NetworkLimits())
    scheduler = LoopScheduler(loop, context.run)
    first, second = _Connection("first", seen), _Connection("second", seen)

    def complete() -> None:
        context.flush_later(first)
        context.flush_later(second)
        seen.append("completed")
        if fails:
            raise RuntimeError("a defect")

    async def scenario() -> None:
        loop.set_exception_handler(lambda _loop, told: seen.append(str(told["exception"])))
        scheduler.call_soon(complete)
        for _ in range(3):
            await asyncio.sleep(0)
            seen.append("turn")
        context.flush_later(first)
        context.flush_later(second)
        seen.append("later")
        await asyncio.sleep(0)

    loop.run_until_complete(scenario())
    return seen


LATER = ["later", "sent first", "sent second"]


def test_what_a_scheduled_callback_completes_leaves_behind_it(loop: asyncio.AbstractEventLoop) -> None:
    assert _turns(loop) == ["completed", "sent first", "sent second", "turn", "turn", "turn", *LATER]


def test_replies_leave_though_the_callback_fails(loop: asyncio.AbstractEventLoop) -> None:
    seen = _turns(loop, fails=True)
    assert seen == ["completed", "sent first", "sent second", "a defect", "turn", "turn", "turn", *LATER]


def test_replies_that_were_complete_before_it_leave_once(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []
    context = LoopContext(loop, NetworkLimits())
    scheduler = LoopScheduler(loop, context.run)

    async def scenario() -> None:
        scheduler.call_soon(lambda: context.flush_later(_Connection("second", seen)))
        context.flush_later(_Connection("first", seen))
        for _ in range(3):
            await asyncio.sleep(0)

    loop.run_until_complete(scenario())
    assert seen == ["sent first", "sent second"]
