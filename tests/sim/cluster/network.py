"""A network of TCP connections: bytes come late, not at all, or the connection is lost, but never out of order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from odradek.ports import Promise
from odradek.ports.files import Buffer
from odradek.ports.network import ConnectionInfo, FileRange, FrameHandler, Outcome, Reply
from tests.sim.cluster.kernel import Kernel
from tests.sim.cluster.process import Process

Link = tuple[str, str]
"""From one host to another; the other direction is another link. `host:port` stands for what listens there."""


_IN_MEMORY = bytes, bytearray, memoryview
_TOGETHER = 0.9
"""How likely two things that are sent at one moment arrive at one, as segments of TCP."""


class Listener:
    """A port that a process has bound."""

    __slots__ = ("handler", "name", "port", "process")

    def __init__(self, process: Process, name: str, port: int, handler: FrameHandler) -> None:
        self.process = process
        self.name = name
        self.port = port
        self.handler = handler


class Network:
    """Who listens where, which links are blocked, and how long bytes take."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.random = kernel.random("network")
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.is_on: dict[str, bool] = {}
        """By host; one that is off answers nothing, not even that nobody listens."""
        self.extra_ms: dict[Link, float] = {}
        """By how much links are slower than usual."""
        self.jitter_ms = 0.5 + self.random.random() * 4
        self.connections: dict[Connection, None] = {}
        self.is_any_blocked = False
        self._blocked: dict[Link, int] = {}
        self._stalled: dict[Link, dict[_Direction, None]] = {}
        self._numbers = itertools.count(1)

    def listen(self, process: Process, name: str, port: int, handler: FrameHandler) -> None:
        """Accept connections from now on."""
        self.listeners[process.host, port] = Listener(process, name, port, handler)

    def connect(self, process: Process, host: str, port: int) -> Connection:
        """A connection that may turn out to lead nowhere."""
        connection = Connection(self, next(self._numbers), process, host, port)
        self.connections[connection] = None
        return connection

    def delay_ms(self, links: Sequence[Link]) -> float:
        """How long the next bytes take on a way that belongs to several links."""
        delay = 0.1 + self.random.random() ** 3 * self.jitter_ms
        extra_ms = self.extra_ms
        return delay + sum(extra_ms.get(link, 0.0) for link in links) if extra_ms else delay

    def is_blocked(self, links: Sequence[Link]) -> bool:
        """Whether nothing gets through."""
        return any(link in self._blocked for link in links)

    def block(self, link: Link) -> None:
        """Let nothing through; each call needs an `unblock` of its own."""
        self._blocked[link] = self._blocked.get(link, 0) + 1
        self.is_any_blocked = True

    def unblock(self, link: Link) -> None:
        """Undo one `block`; what was sent meanwhile arrives, as TCP sends it again."""
        self._blocked[link] -= 1
        if self._blocked[link] == 0:
            del self._blocked[link]
            self.is_any_blocked = bool(self._blocked)
            for direction in self._stalled.pop(link, {}):
                direction.go_on()

    def stall(self, direction: _Direction) -> None:
        """Remember who waits for blocked links."""
        for link in direction.links:
            if link in self._blocked:
                self._stalled.setdefault(link, {})[direction] = None

    def process_died(self, process: Process) -> None:
        """The system closes what the process had open, if there is still a system."""
        for address in [at for at, listener in self.listeners.items() if listener.process is process]:
            del self.listeners[address]
        for connection in list(process.connections):
            cast("Connection", connection).process_died(process)


class _Direction:
    """One half of a connection."""

    __slots__ = ("arrive", "held", "last_ms", "links", "network", "segment", "sent_ms")

    def __init__(self, network: Network, links: tuple[Link, Link], arrive: Callable[[bytearray | None], None]) -> None:
        self.network = network
        self.links = links
        self.arrive = arrive
        """Gets what was sent, in its order; None is the end."""
        self.last_ms = 0.0
        self.held: deque[bytearray | None] = deque()
        self.segment: list[bytearray | None] = []
        """What was sent last, at `sent_ms`."""
        self.sent_ms = -1.0

    def send(self, data: bytearray | None, extra_ms: float = 0.0) -> None:
        """Deliver it after a while, behind what was sent before; what is sent at one moment often travels together."""
        network = self.network
        kernel = network.kernel
        now_ms = kernel.now_ms
        if now_ms == self.sent_ms and network.random.random() < _TOGETHER:
            self.segment.append(data)
            return
        at_ms = now_ms + network.delay_ms(self.links) + extra_ms
        if at_ms < self.last_ms:
            at_ms = self.last_ms
        self.last_ms = at_ms
        self.segment = segment = [data]
        self.sent_ms = now_ms
        kernel.at(at_ms, None, partial(self._deliver, segment))

    def go_on(self) -> None:
        """The link is open again."""
        self.network.kernel.at(0, None, self._release)

    def _release(self) -> None:
        if self.network.is_blocked(self.links):
            self.network.stall(self)
            return
        held, self.held = self.held, deque()
        for data in held:
            self.arrive(data)

    def _deliver(self, segment: list[bytearray | None]) -> None:
        if segment is self.segment:
            self.sent_ms = -1.0
        if self.held or (self.network.is_any_blocked and self.network.is_blocked(self.links)):
            if not self.held:
                self.network.stall(self)
            self.held.extend(segment)
        else:
            for data in segment:
                self.arrive(data)


class Connection:
    """One client's, to one port."""

    def __init__(self, network: Network, number: int, client: Process, host: str, port: int) -> None:
        self.network = network
        self.number = number
        self.client = client
        self.address = host, port
        self.on_frame: Callable[[bytearray], None] | None = None
        self.on_closed: Callable[[], None] | None = None
        listener = f"{host}:{port}"
        self._asks, self._is_told = (
            f"{client.host} -> {host}:{port} #{number}",
            f"{client.host} <- {host}:{port} #{number}",
        )
        self._up = _Direction(network, ((client.host, host), (client.host, listener)), self._arrive_up)
        self._down = _Direction(network, ((host, client.host), (listener, client.host)), self._arrive_down)
        self._server: Process | None = None
        self._handler: FrameHandler | None = None
        self._info: ConnectionInfo | None = None
        self._replies: deque[Reply | Promise[Reply]] = deque()
        self._is_open_here = True
        self._is_open_there = True
        self._is_new = True
        client.connections[self] = None

    def send(self, frame: bytearray) -> None:
        """From the client; the first frame waits for the handshake."""
        if self._is_open_here:
            self._up.send(frame, 2 * self.network.delay_ms(self._up.links) if self._is_new else 0.0)
            self._is_new = False

    def close(self) -> None:
        """By the client: the other side is told."""
        if self._is_open_here:
            self._close_here()
            self._up.send(None)

    def reset(self) -> None:
        """Lose it: each side notices by itself, and what is under way is gone."""
        self._up.arrive = self._down.arrive = lambda _data: None
        kernel = self.network.kernel
        kernel.after(self.network.delay_ms(self._down.links), None, lambda: self._arrive_down(None))
        kernel.after(self.network.delay_ms(self._up.links), None, lambda: self._arrive_up(None))

    def process_died(self, process: Process) -> None:
        """The system of a dead process closes its end, unless the whole machine is off."""
        if process is self.client:
            self._close_here()
            if process.has_machine:
                self._up.send(None)
        if process is self._server:
            self._close_there()
            if process.has_machine:
                self._down.send(None)

    def _on_thread(self, process: Process, work: Callable[..., None], *arguments: bytearray) -> None:
        """Do it now; a process that is paused does it later, one that is dead does not."""
        if process.is_held:
            if process.is_alive:
                self.network.kernel.at(0, process, partial(work, *arguments))
        else:
            work(*arguments)

    def _arrive_up(self, data: bytearray | None) -> None:
        if data is None:
            if self._server is not None and self._is_open_there:
                self._on_thread(self._server, self._close_there)
            return
        if not self._is_open_there:
            self._refuse()
            return
        if self._server is None:
            listener = self.network.listeners.get(self.address)
            if listener is None or not listener.process.is_alive:
                self._is_open_there = False
                self._refuse()
                return
            self._accept(listener)
        server = self._server
        assert server is not None
        if server.is_held:
            self._on_thread(server, self._handle, data)
        else:
            self._handle(data)

    def _refuse(self) -> None:
        if self.network.is_on.get(self.address[0], False):
            self._down.send(None)

    def _accept(self, listener: Listener) -> None:
        self._server = listener.process
        self._handler = listener.handler
        listener.process.connections[self] = None
        self._info = ConnectionInfo(
            str(self.number), listener.name, "PLAINTEXT", self.client.host, 40000, self.address[0], listener.port
        )

    def _handle(self, frame: bytearray) -> None:
        if not self._is_open_there:
            return
        assert self._handler is not None
        assert self._info is not None
        self.network.kernel.note(self._asks, frame)
        reply = self._handler(self._info, memoryview(frame))
        self._replies.append(reply)
        if isinstance(reply, Promise) and not reply.done:
            reply.on_done(lambda _reply: self._flush())
        else:
            self._flush()

    def _flush(self) -> None:
        """Send what is settled, in the order of the requests."""
        replies = self._replies
        while replies:
            reply = replies[0]
            if isinstance(reply, Promise):
                if not reply.done:
                    return
                reply = reply.result()
            replies.popleft()
            data = None if isinstance(reply, Outcome) else _joined(reply)
            if data is None and reply is not Outcome.NO_REPLY:
                self._close_there()
                self._down.send(None)
            elif data is not None and self._is_open_there:
                self._down.send(data)

    def _arrive_down(self, data: bytearray | None) -> None:
        if not self._is_open_here:
            return
        if data is None:
            self._on_thread(self.client, self._lost)
            return
        self.network.kernel.note(self._is_told, data)
        if self.client.is_held:
            self._on_thread(self.client, self._answer, data)
        elif self.on_frame is not None:
            self.on_frame(data)

    def _answer(self, data: bytearray) -> None:
        if self._is_open_here and self.on_frame is not None:
            self.on_frame(data)

    def _lost(self) -> None:
        if self._is_open_here:
            self._close_here()
            if self.on_closed is not None:
                self.on_closed()

    def _close_here(self) -> None:
        self._is_open_here = False
        self.client.connections.pop(self, None)
        self.network.connections.pop(self, None)

    def _close_there(self) -> None:
        self._is_open_there = False
        if self._server is None:
            return
        self._server.connections.pop(self, None)
        if not self._server.is_alive:
            return
        for reply in list(self._replies):
            if isinstance(reply, Promise) and not reply.done:
                reply.abandon()


def _joined(chunks: Sequence[object]) -> bytearray | None:
    """The bytes; None where the disk does not give them any more, which ends the connection."""
    if len(chunks) == 1 and type(chunks[0]) is bytes:
        return bytearray(chunks[0])
    pieces = [chunk if isinstance(chunk, _IN_MEMORY) else _range(chunk) for chunk in chunks]
    return None if None in pieces else bytearray().join(cast("list[Buffer]", pieces))


def _range(chunk: object) -> Buffer | None:
    range_ = cast("FileRange", chunk)
    try:
        return range_.read(0, range_.size)
    except OSError:
        return None
    finally:
        range_.release()
