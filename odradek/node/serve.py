"""`serve`: a node in the foreground, until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from odradek.config import BrokerConfig
from odradek.node.running import RunningNode, Surroundings
from odradek.node.start_error import StartError
from odradek.node.starting import has_started
from odradek.storage.memory_files import MemoryFileSystem


async def serve(config: BrokerConfig, *, in_memory: bool, on_ready: Callable[[str], None], stop: asyncio.Event) -> int:
    """Run a node until `stop` is set; `on_ready` gets HOST:PORT of the first client listener. Returns exit code 0.

    Raises ConfigError for properties that cannot be honoured, StartError if the node cannot start, or cannot go on
    because its disks failed.
    """

    def stop_now(_error: StartError) -> None:
        stop.set()

    surroundings = Surroundings(MemoryFileSystem() if in_memory else None)
    process = RunningNode(asyncio.get_running_loop(), config, on_fatal=stop_now, surroundings=surroundings)
    if not await has_started(asyncio.ensure_future(process.start()), stop):
        return 0
    listener = config.listeners[0] if not config.broker_listeners else config.broker_listeners[0]
    host = listener.host or "localhost"
    on_ready(f"{f'[{host}]' if ':' in host else host}:{process.port_of(listener.name)}")
    await stop.wait()
    await process.stop()
    return 0
