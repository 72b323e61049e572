"""Nodes as processes: start them, pass on what they say, and let none outlive this process.

Each node watches its standard input, a pipe whose other end only this process has: when it ends, by intent or because
this process is gone in whatever way, the node stops.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

READY = re.compile(rb"odradek ready on (\S+)")
STOP_SECONDS = 30.0
"""How long a node may take to stop before it is killed."""
FIRST_RESTART_SECONDS = 1.0
LONGEST_RESTART_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A node that ran for longer is restarted without the delay that earlier failures have built up."""
_READ_BYTES = 65_536
_MAX_LINE_BYTES = 1024 * 1024


class NodeCommand(NamedTuple):
    """How a node is run."""

    node_id: int
    argv: Sequence[str]


class Supervisor:
    """Runs nodes until it is told to stop, or until none is left."""

    def __init__(
        self,
        commands: Sequence[NodeCommand],
        *,
        restart: bool,
        on_ready: Callable[[Sequence[str]], None],
        on_line: Callable[[bytes], None],
    ) -> None:
        """`on_ready` gets HOST:PORT of each node once all are; `on_line` what is to be logged, line by line."""
        self._nodes = [_Node(command, on_line) for command in commands]
        self._restart = restart
        self._on_ready = on_ready
        self._on_line = on_line
        self._stopping = asyncio.Event()
        self._serving = False

    async def run(self, stop: asyncio.Event) -> bool:
        """Return, after `stop` is set, whether all that ran then stopped cleanly; False if none is left before."""
        kept = [asyncio.ensure_future(self._keep(node)) for node in self._nodes]
        asked = asyncio.ensure_future(stop.wait())
        try:
            if await self._await_ready(asked, kept):
                self._serving = True
                self._on_ready([node.address for node in self._nodes])
                await _first(asked, asyncio.ensure_future(asyncio.wait(kept)))
            running = [node for node in self._nodes if node.is_running]
        finally:
            self._stopping.set()
            await asyncio.gather(*(node.stop() for node in self._nodes))
            await asyncio.gather(*kept)
            asked.cancel()
        return stop.is_set() and all(node.exit_code == 0 for node in running)

    async def _await_ready(self, asked: asyncio.Future[Any], kept: Sequence[asyncio.Future[None]]) -> bool:
        """Whether all have come up; false once one has ended, or this is to stop."""
        ready = asyncio.ensure_future(self._all_ready())
        await _first(ready, asked, *kept)
        if ready.done():
            return True
        ready.cancel()
        for node, task in zip(self._nodes, kept, strict=True):
            if task.done() and not asked.done():
                self._note(f"node {node.node_id} was not ready before it ended: all are stopped")
        return False

    async def _all_ready(self) -> None:
        for node in self._nodes:
            await node.ready.wait()

    async def _keep(self, node: _Node) -> None:
        """Run a node, again and again where that is wanted."""
        delay_seconds = FIRST_RESTART_SECONDS
        while not self._stopping.is_set():
            clock = asyncio.get_running_loop().time
            started = clock()
            await node.run()
            if self._stopping.is_set():
                return
            self._note(f"node {node.node_id} has ended with exit code {node.exit_code}")
            if not self._restart or not self._serving:
                return
            if clock() - started > STEADY_SECONDS:
                delay_seconds = FIRST_RESTART_SECONDS
            self._note(f"node {node.node_id} is started again in {delay_seconds:g} s")
            try:
                await asyncio.wait_for(self._stopping.wait(), delay_seconds)
            except TimeoutError:
                delay_seconds = min(2 * delay_seconds, LONGEST_RESTART_SECONDS)

    def _note(self, text: str) -> None:
        self._on_line(f"odradek: {text}".encode())


class _Node:
    """One node's process."""

    def __init__(self, command: NodeCommand, on_line: Callable[[bytes], None]) -> None:
        self.node_id = command.node_id
        self.address = ""
        self.exit_code: int | None = None
        self.ready = asyncio.Event()
        self._argv = command.argv
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def run(self) -> None:
        """Start it, and return when it has ended."""
        self.exit_code = None
        # In a group of its own: Ctrl-C is for this process, which stops the nodes.
        process = self._process = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        if self._stopped:
            _close(process)
        assert process.stdout is not None
        assert process.stderr is not None
        await asyncio.gather(self._watch(process.stdout), self._pass_on(process.stderr), process.wait())
        self.exit_code = process.returncode

    async def stop(self) -> None:
        """Let it stop; kill it if it does not."""
        self._stopped = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        _close(process)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._on_line(f"odradek: node {self.node_id} does not stop and is killed".encode())
            process.kill()

    async def _watch(self, stdout: asyncio.StreamReader) -> None:
        async for line in _lines(stdout):
            match = READY.match(line)
            if match is None:
                self._say(line)
                continue
            self.address = match[1].decode()
            if self.ready.is_set():
                self._say(line)
            self.ready.set()

    async def _pass_on(self, stderr: asyncio.StreamReader) -> None:
        async for line in _lines(stderr):
            self._say(line)

    def _say(self, line: bytes) -> None:
        self._on_line(b"node %d: %s" % (self.node_id, line))


def _close(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Lines without their ends, however long they are."""
    rest = b""
    while chunk := await stream.read(_READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > _MAX_LINE_BYTES:
            yield rest
            rest = b""
    if rest:
        yield rest


async def _first(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
