"""The event loop that the node runs on."""

from __future__ import annotations

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's loop where it is installed, elsewhere asyncio's selector loop.

    Never Windows' proactor loop: the socket layer needs `add_reader`, which that one does not have.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop()
    return uvloop.new_event_loop()
