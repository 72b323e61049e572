"""What the nodes see of requests: a record of them, and the news that something has happened."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from typing import NamedTuple

from odradek.ports import Promise
from odradek.ports.network import ConnectionInfo, FrameHandler, Outcome, Reply
from odradek.testing.defaults import CONTROLLER
from odradek.testing.interception import Interception, Interceptor, RequestHead, is_of_a_node, request_head

MAX_REQUESTS = 10_000
"""How many requests are kept; older ones are forgotten."""
MAX_BYTES = 32 * 1024 * 1024
"""How much memory they and their responses may take. One that is larger by itself is kept without its body."""
LINGER_S = 1.0
"""How long requests are looked at after somebody has waited: whoever looks whether it is there waits again soon."""
LOOK_S = 0.02
"""How long it may take to notice what happens without a request, such as the end of a session."""


class Captured:
    """One request as it came, and its response as it went; can be pickled."""

    __slots__ = ("body", "connection", "duration_ms", "head", "node_id", "number", "outcome", "reply", "time_ms")

    def __init__(
        self, number: int, node_id: int, connection: ConnectionInfo, head: RequestHead, body: bytes | None, time_ms: int
    ) -> None:
        self.number = number
        """Counts the requests of all nodes in the order in which they came."""
        self.node_id = node_id
        self.connection = connection
        self.head = head
        self.body = body
        """What comes behind the header; None if that was too large to be kept."""
        self.time_ms = time_ms
        """When it came, by the wall clock."""
        self.outcome: Outcome | None = None
        """What was done in place of a response."""
        self.reply: list[bytes | int] | None = None
        """The response with its header; in place of bytes of a file, how many those are. None while there is none."""
        self.duration_ms: float | None = None
        """How long the response took; None while there is none."""

    @property
    def size_bytes(self) -> int:
        """What is kept of it."""
        reply = sum(len(part) for part in self.reply or () if isinstance(part, bytes))
        return reply + len(self.body or b"")


class Selection(NamedTuple):
    """Which requests are meant; None where all are."""

    api_key: int | None = None
    client_id: str | None = None
    since: int = 0
    """The lowest number."""

    def has(self, request: Captured) -> bool:
        """Whether it is one of them."""
        is_new = request.number >= self.since
        return is_new and self.api_key in (None, request.head.key) and self.client_id in (None, request.head.client_id)


class Watch:
    """Looks at the requests of all nodes of a cluster. Belongs to the thread of their loop."""

    def __init__(self) -> None:
        self.requests: deque[Captured] = deque()
        self._size_bytes = 0
        self._numbers = itertools.count()
        self._records = True
        self._happened = 0
        """Counts what may have changed anything."""
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._lingering: asyncio.TimerHandle | None = None
        self._nodes: dict[int, tuple[Interception, Interceptor]] = {}
        self._observes = False

    def add_node(self, node_id: int, interception: Interception) -> None:
        """Look at the requests to this node, too."""

        def observe(connection: ConnectionInfo, frame: memoryview, handle: FrameHandler) -> Reply | Promise[Reply]:
            return self._observe(node_id, connection, frame, handle)

        self._nodes[node_id] = interception, observe
        if self._observes:
            interception.observe(observe)
        self._review()

    def reset(self) -> None:
        """Forget all requests and nodes."""
        self.clear()
        self._nodes.clear()

    def clear(self) -> None:
        """Forget all requests."""
        self.requests.clear()
        self._size_bytes = 0

    def record(self, wanted: bool) -> None:
        """Whether requests are kept from now on. While they are not, and nobody waits, looking costs nothing."""
        self._records = wanted
        self._review()

    @property
    def happened(self) -> int:
        """A number that is another one whenever something may have changed."""
        return self._happened

    async def next(self, seen: int, timeout_s: float) -> int:
        """Wait until `happened` is another number than `seen`, but for `LOOK_S` at most; returns it."""
        loop = asyncio.get_running_loop()
        self._linger(loop)
        if self._happened == seen:
            future: asyncio.Future[None] = loop.create_future()
            self._waiting[future] = None
            try:
                await asyncio.wait((future,), timeout=max(0, min(timeout_s, LOOK_S)))
            finally:
                self._waiting.pop(future, None)
                self._linger(loop)
        return self._happened

    def _linger(self, loop: asyncio.AbstractEventLoop) -> None:
        """Somebody waits now, or is about to."""

        def end() -> None:
            self._lingering = loop.call_later(LINGER_S, end) if self._waiting else None
            self._review()

        if self._lingering is not None:
            self._lingering.cancel()
        self._lingering = loop.call_later(LINGER_S, end)
        self._review()

    def _review(self) -> None:
        """Be among the interceptors, or not: while there are none, nodes take their shortest ways."""
        wanted = self._records or self._lingering is not None
        if wanted is self._observes:
            return
        self._observes = wanted
        for interception, observe in self._nodes.values():
            (interception.observe if wanted else interception.remove)(observe)

    def _observe(
        self, node_id: int, connection: ConnectionInfo, frame: memoryview, handle: FrameHandler
    ) -> Reply | Promise[Reply]:
        request = self._capture(node_id, connection, frame) if self._records else None
        begun = time.perf_counter()
        answer = handle(connection, frame)
        self._news()

        def settled(reply: Reply | None) -> None:
            self._news()
            if request is not None:
                request.duration_ms = (time.perf_counter() - begun) * 1000
                self._answered(request, Outcome.CLOSE if reply is None else reply)

        if isinstance(answer, Promise):
            answer.on_done(lambda promise: settled(None if promise.error is not None else promise.result()))
        else:
            settled(answer)
        return answer

    def _capture(self, node_id: int, connection: ConnectionInfo, frame: memoryview) -> Captured | None:
        if connection.listener == CONTROLLER:
            return None
        head = request_head(frame)
        if head is None or is_of_a_node(head.client_id):
            return None
        # The handler writes to the frame's memory, and it is used again afterwards.
        body = bytes(frame[head.body_at :]) if len(frame) <= MAX_BYTES else None
        request = Captured(next(self._numbers), node_id, connection, head, body, time.time_ns() // 1_000_000)
        self.requests.append(request)
        self._charge(request.size_bytes)
        return request

    def _answered(self, request: Captured, reply: Reply) -> None:
        if isinstance(reply, Outcome):
            request.outcome = reply
            return
        before = request.size_bytes
        request.reply = [bytes(chunk) if isinstance(chunk, _MEMORY) else chunk.size for chunk in reply]
        if self.requests and request.number >= self.requests[0].number:
            self._charge(request.size_bytes - before)

    def _charge(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        while self.requests and (self._size_bytes > MAX_BYTES or len(self.requests) > MAX_REQUESTS):
            self._size_bytes -= self.requests.popleft().size_bytes

    def _news(self) -> None:
        self._happened += 1
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if not future.done():
                future.set_result(None)


_MEMORY = (bytes, bytearray, memoryview)
