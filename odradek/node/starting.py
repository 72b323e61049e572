"""Starting something that may be told to stop before it has come up."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TypeVar

T = TypeVar("T")


async def has_started(starting: asyncio.Future[T], stop: asyncio.Event) -> bool:
    """Whether the start has come to its end, or False, with the start given up, once `stop` is set before.

    Raises what the start raises.
    """
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        # Other nodes may keep this one waiting as long as they like.
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return False
    starting.result()
    return True
