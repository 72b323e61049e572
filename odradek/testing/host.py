"""Where embedded nodes run: a thread of this process with an event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from odradek.net.loop import new_event_loop
from odradek.testing.cluster import Cluster
from odradek.testing.futures import promised
from odradek.testing.logs import Quiet, Sink, log_to
from odradek.testing.options import Options

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)


class Host(Protocol):
    """Runs nodes somewhere else than on the thread that asks for them. Used once."""

    ready: Future[str]
    """`bootstrap.servers`, or why the nodes cannot start: then nothing of them is left."""
    stopped: Future[None]
    """Settled once nothing of the nodes is left."""

    def start(self) -> None:
        """Begin; see `ready`."""
        ...

    def call(
        self, action: Callable[Concatenate[Cluster, P], Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Run `action` with the nodes, on their thread; from any other thread, once `ready` is settled.

        What it comes to or raises is in the future, or RuntimeError if the nodes are stopped meanwhile. It has to be a
        function of a module, and all that goes in and out something that can be pickled, for the nodes may be in
        another process. What it changes of its arguments is not seen here. Raises RuntimeError if no nodes run.
        """
        ...

    def request_stop(self) -> None:
        """Have the nodes stopped, started or not; see `stopped`. From any thread, more than once if need be."""
        ...

    def join(self) -> None:
        """Wait until all is given back. Takes no time once `stopped` is settled."""
        ...


class ThreadHost:
    """Nodes in this process."""

    def __init__(self, options: Options, sink: Sink) -> None:
        """`sink` gets what the nodes log, on their threads."""
        self.ready: Future[str] = promised()
        self.stopped: Future[None] = promised()
        self._options = options
        self._sink = sink
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._stopping = False
        self._cluster: Cluster | None = None
        self._calls: dict[Future[Any], None] = {}
        """Those that are not settled."""
        self._error: BaseException | None = None
        # A program that forgets its nodes can end all the same.
        self._thread = threading.Thread(target=self._run, name="odradek-embedded", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def call(
        self, action: Callable[Concatenate[Cluster, P], Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Run `action` on the nodes' thread."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("this is the nodes' own thread, which cannot wait for itself")
        future: Future[T] = promised()

        def begin() -> None:
            if self._cluster is None:
                return  # `_fail_calls` says so
            task = loop.create_task(_await(action(cluster, *args, **kwargs)))
            task.add_done_callback(settle)

        def settle(task: asyncio.Task[T]) -> None:
            self._calls.pop(future, None)
            error = _stopped() if task.cancelled() else task.exception()
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(task.result())

        with self._lock:
            if self._loop is None or self._cluster is None:
                raise RuntimeError("no nodes run")
            loop, cluster = self._loop, self._cluster
            self._calls[future] = None
            loop.call_soon_threadsafe(begin)
        return future

    def request_stop(self) -> None:
        """Have the nodes stopped."""
        with self._lock:
            self._stopping = True
            if self._loop is not None and self._stop is not None:
                self._loop.call_soon_threadsafe(self._stop.set)

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    def _run(self) -> None:
        log_to(self._sink)
        with Quiet():
            try:
                loop = new_event_loop()
                try:
                    loop.set_exception_handler(_log_exception)
                    loop.run_until_complete(self._serve(loop))
                finally:
                    with self._lock:
                        self._loop = None
                    _close(loop)
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the nodes
                self._error = error
        self._fail_calls()
        if not self.ready.done():
            self.ready.set_exception(self._error or RuntimeError("the nodes were stopped while they started"))
            self._error = None
        if self._error is not None:
            self.stopped.set_exception(self._error)
        else:
            self.stopped.set_result(None)

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        stop = asyncio.Event()
        with self._lock:
            self._loop, self._stop = loop, stop
            if self._stopping:
                return
        cluster = Cluster(self._options, lambda: log_to(self._sink))
        starting = asyncio.ensure_future(cluster.start())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return  # `_close` cancels it, and waits for that
        address = starting.result()
        self._cluster = cluster
        self.ready.set_result(address)
        await stopping
        with self._lock:
            self._cluster = None
        await cluster.stop()

    def _fail_calls(self) -> None:
        """Those that came too late to begin."""
        for future in list(self._calls):
            future.set_exception(_stopped())


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _stopped() -> RuntimeError:
    return RuntimeError("the nodes were stopped meanwhile")


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Let what was cancelled and closed come to its end, and close the loop."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(_end(tasks))
    loop.close()


async def _end(tasks: set[asyncio.Task[object]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(_TURNS):
        await asyncio.sleep(0)


_TURNS = 3
"""Of the loop, for what closes a socket in the next one."""


def _log_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    error = context.get("exception")
    _log.error("%s", context.get("message"), exc_info=error if isinstance(error, BaseException) else None)
