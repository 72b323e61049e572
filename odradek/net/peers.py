"""Connections to other nodes, on an event loop: the real `odradek.server.peers.Peers`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from odradek.net.connection import ClientError, Connection, ConnectionOptions, UnsupportedApiError
from odradek.net.real import LoopScheduler, RealClock
from odradek.ports.clock import TimerHandle, Timing
from odradek.ports.promise import Promise
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.schema import Message

R = TypeVar("R", bound=Message)


class PeerLimits(NamedTuple):
    """How much is spent on others; times in milliseconds."""

    connect_timeout_ms: float = 10_000
    """`socket.connection.setup.timeout.ms`, which holds for the exchange of versions, too."""
    reconnect_backoff_ms: float = 50
    """From the start of one attempt to connect to the next; doubled after each that fails."""
    reconnect_backoff_max_ms: float = 1_000
    max_unanswered_requests: int = 1_000
    """To one address; more are refused."""
    max_unsent_bytes: int = 16 * 1024 * 1024
    """What one peer may leave unread before requests to it are refused."""


class _Call:
    """A request without an answer."""

    __slots__ = ("deadline_ms", "fail", "name", "post", "timeout_ms")

    def __init__(self, request: Message, response: type[R], promise: Promise[R], now_ms: float, timeout_ms: float):
        self.name = type(request).__name__
        self.deadline_ms = now_ms + timeout_ms
        self.timeout_ms = timeout_ms

        def post(connection: Connection) -> None:
            connection.post(request, response).on_done(lambda answered: _settle(promise, answered))

        self.post = post
        self.fail: Callable[[ErrorCode, str], None] = lambda code, text: promise.reject(KafkaError(code, text))


def _settle(promise: Promise[R], answered: Promise[R]) -> None:
    error = answered.error
    if isinstance(error, ClientError):
        is_version = isinstance(error, UnsupportedApiError)
        error = KafkaError(ErrorCode.UNSUPPORTED_VERSION if is_version else ErrorCode.NETWORK_EXCEPTION, str(error))
    if error is not None:
        promise.reject(error)
    else:
        promise.resolve(answered.result())


class LoopPeers:
    """One connection to each address, opened when the first request for it comes.

    A connection that cannot be had is tried again only after a back-off that grows; until then requests fail at once.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client_id: str,
        limits: PeerLimits = PeerLimits(),  # noqa: B008 - a tuple
        timing: Timing | None = None,
    ) -> None:
        """By `timing` it is known who is late, and when a connection may be tried again; None: by real time.

        How long connecting may take is always real time, for it is the network's.
        """
        self._loop = loop
        self._timing = Timing(RealClock(), LoopScheduler(loop)) if timing is None else timing
        self._limits = limits
        self._options = ConnectionOptions(client_id=client_id, connect_timeout_ms=limits.connect_timeout_ms)
        self._peers: dict[tuple[str, int], _Peer] = {}
        self._closed = False

    def send(self, host: str, port: int, request: Message, response: type[R], *, timeout_ms: float) -> Promise[R]:
        """The answer to a request, on the loop's thread. Fails as `odradek.server.peers.Peers` says."""
        if self._closed:
            return Promise.failed(KafkaError(ErrorCode.NETWORK_EXCEPTION, "The connections are closed."))
        peer = self._peers.get((host, port))
        if peer is None:
            peer = self._peers[host, port] = _Peer(self._loop, self._timing, host, port, self._options, self._limits)
        return peer.send(request, response, timeout_ms)

    def close(self) -> None:
        """Close all connections; what waits for an answer fails with NETWORK_EXCEPTION."""
        self._closed = True
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()


class _Peer:
    """The connection to one address, there or not."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timing: Timing,
        host: str,
        port: int,
        options: ConnectionOptions,
        limits: PeerLimits,
    ) -> None:
        self._loop = loop
        self._now_ms = timing.clock.monotonic_ms
        self._scheduler = timing.scheduler
        self._host = host
        self._port = port
        self._options = options
        self._limits = limits
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._failures = 0
        self._retry_at_ms = 0.0
        self._last_failure = ""
        self._calls: dict[_Call, None] = {}
        """Those without an answer, oldest first, sent or not."""
        self._unsent: list[_Call] = []
        """Those of them that wait for the connection."""
        self._timer: TimerHandle | None = None
        self._timer_at_ms = 0.0

    def send(self, request: Message, response: type[R], timeout_ms: float) -> Promise[R]:
        """Send now, or once there is a connection."""
        promise: Promise[R] = Promise()
        call = _Call(request, response, promise, self._now_ms(), timeout_ms)
        refusal = self._refusal()
        if refusal is not None:
            call.fail(ErrorCode.NETWORK_EXCEPTION, refusal)
            return promise
        self._calls[call] = None
        promise.on_done(lambda _settled: self._calls.pop(call, None))
        if self._timer is None or call.deadline_ms < self._timer_at_ms:
            self._arm(call.deadline_ms)
        if self._connection is not None:
            call.post(self._connection)
        else:
            self._unsent.append(call)
            if self._connecting is None:
                self._connecting = self._loop.create_task(self._connect())
        return promise

    def close(self) -> None:
        """Fail what has no answer."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._disconnect()
        for call in self._take_unsent():
            call.fail(ErrorCode.NETWORK_EXCEPTION, f"the connection to {self._address} was closed here")

    @property
    def _address(self) -> str:
        return f"{self._host}:{self._port}"

    def _refusal(self) -> str | None:
        """Why nothing can be sent now; None if it can."""
        if self._connection is not None and not self._connection.is_open:
            self._connection = None
        if len(self._calls) >= self._limits.max_unanswered_requests:
            return f"{self._address} leaves {len(self._calls)} requests unanswered"
        if self._connection is not None:
            is_stuck = self._connection.unsent_bytes > self._limits.max_unsent_bytes
            return f"{self._address} does not read what it is sent" if is_stuck else None
        if self._connecting is None and self._now_ms() < self._retry_at_ms:
            return self._last_failure or f"the connection to {self._address} has just ended"
        return None

    def _arm(self, at_ms: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_ms = at_ms
        self._timer = self._scheduler.call_later(max(0.0, at_ms - self._now_ms()), self._look_for_late)

    def _look_for_late(self) -> None:
        """One timer for all calls: it is set for the earliest deadline that there was when it was set."""
        self._timer = None
        now_ms = self._now_ms()
        late = [call for call in self._calls if call.deadline_ms <= now_ms]
        for call in late:
            if call in self._unsent:
                self._unsent.remove(call)
            call.fail(
                ErrorCode.REQUEST_TIMED_OUT,
                f"{self._address} did not answer {call.name} within {call.timeout_ms:.0f} ms",
            )
        if late:
            # Answers come in order, so everything behind the late one would be late, too.
            self._disconnect()
        if self._calls:
            self._arm(min(call.deadline_ms for call in self._calls))

    def _disconnect(self) -> None:
        """End the connection, if there is one: what was sent over it fails in the loop's next turn."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _take_unsent(self) -> list[_Call]:
        unsent, self._unsent = self._unsent, []
        return unsent

    async def _connect(self) -> None:
        limits, started_ms = self._limits, self._now_ms()
        try:
            connection = await Connection.open(self._host, self._port, self._options)
        except (ClientError, OSError) as error:
            backoff_ms = min(limits.reconnect_backoff_ms * 2.0**self._failures, limits.reconnect_backoff_max_ms)
            self._failures = min(self._failures + 1, _MAX_DOUBLINGS)
            self._retry_at_ms = self._now_ms() + backoff_ms
            self._last_failure = str(error)
            self._connecting = None
            for call in self._take_unsent():
                call.fail(ErrorCode.NETWORK_EXCEPTION, self._last_failure)
            return
        self._connecting = None
        self._failures = 0
        self._last_failure = ""
        self._retry_at_ms = started_ms + limits.reconnect_backoff_ms
        self._connection = connection
        for call in self._take_unsent():
            call.post(connection)


_MAX_DOUBLINGS = 16
