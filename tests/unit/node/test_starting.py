"""A start that is told to stop before it has come to its end."""

from __future__ import annotations

import asyncio

import pytest

from odradek.node.starting import has_started

TIMEOUT_S = 20


def test_a_start_that_is_given_up_has_put_everything_away() -> None:
    done: list[str] = []

    async def start() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            done.append("put away")

    async def scenario() -> None:
        stop = asyncio.Event()
        starting = asyncio.ensure_future(start())
        asyncio.get_running_loop().call_soon(stop.set)
        assert not await asyncio.wait_for(has_started(starting, stop), TIMEOUT_S)
        assert done == ["put away"]
        assert starting.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


def test_a_start_that_fails_says_why() -> None:
    async def start() -> None:
        raise OSError("the disk")

    async def scenario() -> None:
        with pytest.raises(OSError, match="the disk"):
            await has_started(asyncio.ensure_future(start()), asyncio.Event())

    asyncio.run(scenario())
