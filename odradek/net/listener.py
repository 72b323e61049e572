"""Listening sockets, and all connections of a node."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import NamedTuple

from odradek.net.channel import Channel, CloseReason
from odradek.net.context import Counters, LoopContext
from odradek.net.files import connections_limit
from odradek.net.idle import IdleWheel, tick_ms
from odradek.net.limits import NetworkLimits
from odradek.net.memory import PROGRESS_CHECK_MS
from odradek.net.quotas import ConnectionQuotas
from odradek.ports import Executor
from odradek.ports.network import ConnectionInfo, FrameHandler, RunHandler

ACCEPTS_PER_TURN = 64
"""Connections accepted before other connections have their turn."""
ACCEPT_PAUSE_MS = 250
"""How long nothing is accepted after the system refused a descriptor or memory for a connection."""
DEFAULT_STOP_GRACE_MS = 1_500
"""How long replies in flight may take when the node stops."""

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = logging.getLogger(__name__)


class Endpoint(NamedTuple):
    """One entry of `listeners`. An empty host listens on all addresses; port 0 takes a free one."""

    listener: str
    security_protocol: str
    host: str
    port: int


class Listener:
    """One listening socket. Created by `Network.bind`; accepts nothing before `start`."""

    def __init__(self, network: Network, endpoint: Endpoint, sock: socket.socket, quotas: ConnectionQuotas) -> None:
        self.endpoint = endpoint
        self.quotas = quotas
        self.counters = Counters()
        self.port: int = sock.getsockname()[1]
        self._network = network
        self._sock = sock
        self._handler: FrameHandler | None = None
        self._run_handler: RunHandler | None = None
        self._accepting = False
        self._closed = False

    def start(self, handler: FrameHandler, run_handler: RunHandler | None = None) -> None:
        """Accept connections; frames that arrive together are offered to `run_handler`, all others go to `handler`."""
        self._handler = handler
        self._run_handler = run_handler
        self._network.update_accepting()

    def close(self) -> None:
        """Stop listening; connections stay."""
        self.accept(False)
        self._closed = True
        self._sock.close()

    def accept(self, wanted: bool) -> None:
        """For the network: whether connections are taken from the backlog."""
        wanted = wanted and self._handler is not None and not self._closed
        if wanted is self._accepting:
            return
        self._accepting = wanted
        loop = self._network.context.loop
        if wanted:
            loop.add_reader(self._sock.fileno(), self._on_connection)
        else:
            loop.remove_reader(self._sock.fileno())

    def _on_connection(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if not self._accepting or self._handler is None:
                return
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._network.accept_failed(error)
                return
            self._network.connected(self, self._handler, self._run_handler, sock, address)


class Network:
    """All listeners and connections of a node; belongs to the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: NetworkLimits,
        *,
        inter_broker_listener: str | None = None,
        on_disconnect: Callable[[ConnectionInfo], None] | None = None,
        executor: Executor | None = None,
    ) -> None:
        """`inter_broker_listener` is not held back by `max.connections` (where its group has others).

        `on_disconnect` is called once for each connection that ends, for whatever reason.
        `executor` reads from files what is not in memory.
        """
        self.context = LoopContext(loop, limits, executor)
        self.listeners: list[Listener] = []
        self._inter_broker_listener = inter_broker_listener
        self._on_disconnect = on_disconnect
        self._quotas: dict[str, ConnectionQuotas] = {}
        self._max_connections = connections_limit()
        self._channels: dict[Channel, Listener] = {}
        self._wheel: IdleWheel[Channel] = self._new_wheel(limits)
        self._next_id = 0
        self._accept_paused = False
        self._stopped: asyncio.Event | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._channels)

    def counters(self) -> Counters:
        """The sum of all listeners' counters."""
        total = Counters()
        for listener in self.listeners:
            total.add(listener.counters)
        return total

    def bind(self, endpoint: Endpoint, group: str = "", sock: socket.socket | None = None) -> Listener:
        """Take the endpoint's port (see `Listener.port`); connections wait until `Listener.start`.

        The connections of all listeners of a `group` are counted together, as Kafka counts those of a broker and of
        a controller apart, though they are one process. A `sock` of `bound_socket` is bound already, and now belongs
        to the network. Raises OSError, whose text names the address.
        """
        try:
            sock = _listening_socket(endpoint, self.context.limits, sock)
        except OSError as error:
            where = f"{endpoint.host or '*'}:{endpoint.port}"
            raise OSError(error.errno, f"cannot listen on {where} ({error.strerror})") from error
        quotas = self._quotas.setdefault(group, ConnectionQuotas(self.context.limits))
        listener = Listener(self, endpoint, sock, quotas)
        self.listeners.append(listener)
        return listener

    def update_limits(self, limits: NetworkLimits) -> None:
        """Change the limits of a running node (KIP-226). Buffer sizes and the backlog apply to new sockets."""
        self.context.limits = limits
        self.context.memory.set_limit(limits.request_memory_bytes)
        self._max_connections = connections_limit()
        self._wheel = self._new_wheel(limits)
        for channel in self._channels:
            channel.last_active = self.context.tick
            self._wheel.add(channel)
        self._cancel("tick")
        self._schedule_tick()
        for quotas in self._quotas.values():
            quotas.limits = limits
            for _ in range(quotas.excess):
                self._evict_one(quotas)
        self.update_accepting()

    async def stop(self, grace_ms: float = DEFAULT_STOP_GRACE_MS) -> None:
        """Stop listening, take no more requests, and return when every reply is sent or `grace_ms` are over."""
        self._stopped = asyncio.Event()
        for listener in self.listeners:
            listener.close()
        for channel in list(self._channels):
            channel.finish()
        if self._channels:
            try:
                await asyncio.wait_for(self._stopped.wait(), grace_ms / 1000)
            except TimeoutError:
                _log.info("closing %d connections that did not finish in time", len(self._channels))
        for channel in list(self._channels):
            channel.close(CloseReason.STOPPED)
        for name in list(self._timers):
            self._cancel(name)

    def half_close(self, connection_id: str) -> None:
        """End what is sent over a connection, and go on to read from it; one that is gone is fine."""
        for channel in self._channels:
            if channel.info.id == connection_id:
                channel.half_close()

    def cut_connections(self, listener: str) -> int:
        """Close all connections of a listener at once; who had them may connect again. Returns how many those were."""
        cut = [channel for channel, at in self._channels.items() if at.endpoint.listener == listener]
        for channel in cut:
            channel.close(CloseReason.CUT)
        return len(cut)

    def connected(
        self,
        listener: Listener,
        handler: FrameHandler,
        run_handler: RunHandler | None,
        sock: socket.socket,
        address: object,
    ) -> None:
        """For listeners: a connection was accepted."""
        try:
            info = self._connection_info(listener.endpoint, sock, address)
            self._set_options(sock)
        except OSError:
            sock.close()
            return
        if not listener.quotas.open(info.peer_host):
            _log.info("refusing a connection beyond max.connections.per.ip of %s", info.peer_host)
            listener.counters.connections_refused += 1
            sock.close()
            return
        channel = Channel(
            self.context, sock, info, handler, listener.counters, self._on_closed, run_handler=run_handler
        )
        self._channels[channel] = listener
        listener.counters.connections_opened += 1
        self._wheel.add(channel)
        self._schedule_tick()
        self._schedule_progress_check()
        channel.start()
        if listener.quotas.excess or len(self._channels) > self._max_connections:
            self._evict_one(listener.quotas)
        self.update_accepting()

    def accept_failed(self, error: OSError) -> None:
        """For listeners: the system gave no connection."""
        if error.errno not in _OUT_OF_RESOURCES:
            _log.warning("accepting a connection failed: %s", error)
            return
        _log.error("cannot accept connections: %s", error)
        self._accept_paused = True
        self._timers["accept"] = self.context.call_later(ACCEPT_PAUSE_MS, self._accept_again)
        self.update_accepting()

    def update_accepting(self) -> None:
        """Take connections from the listeners' backlogs, or leave them there, as the limits say."""
        has_room = len(self._channels) < self._max_connections
        for listener in self.listeners:
            is_full = listener.quotas.full or not has_room
            listener.accept(not self._accept_paused and (not is_full or self._is_protected(listener)))

    def _accept_again(self) -> None:
        self._accept_paused = False
        self.update_accepting()

    def _is_protected(self, listener: Listener) -> bool:
        if listener.endpoint.listener != self._inter_broker_listener:
            return False
        return any(other is not listener and other.quotas is listener.quotas for other in self.listeners)

    def _evict_one(self, quotas: ConnectionQuotas) -> None:
        """Close the connection that has been idle longest, of those that `quotas` count at unprotected listeners."""
        candidates = [
            channel
            for channel, listener in self._channels.items()
            if listener.quotas is quotas and not self._is_protected(listener)
        ]
        if candidates:
            channel = min(candidates, key=lambda candidate: candidate.last_active)
            channel.close(CloseReason.EVICTED)

    def _on_closed(self, channel: Channel, reason: CloseReason) -> None:
        listener = self._channels.pop(channel)
        self._wheel.remove(channel)
        if reason is CloseReason.IDLE:
            listener.counters.connections_expired += 1
        elif reason is CloseReason.EVICTED:
            listener.counters.connections_evicted += 1
        listener.quotas.close(channel.info.peer_host)
        if self._on_disconnect is not None:
            self._on_disconnect(channel.info)
        if self._stopped is None:
            self.update_accepting()
        elif not self._channels:
            self._stopped.set()

    def _connection_info(self, endpoint: Endpoint, sock: socket.socket, address: object) -> ConnectionInfo:
        peer_host, peer_port = _host_port(address)
        local_host, local_port = _host_port(sock.getsockname())
        self._next_id += 1
        return ConnectionInfo(
            id=f"{local_host}:{local_port}-{peer_host}:{peer_port}-0-{self._next_id}",
            listener=endpoint.listener,
            security_protocol=endpoint.security_protocol,
            peer_host=peer_host,
            peer_port=peer_port,
            local_host=local_host,
            local_port=local_port,
        )

    def _set_options(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self.context.limits.socket_send_buffer_bytes > 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.context.limits.socket_send_buffer_bytes)

    # Timers; they run only while there are connections

    @staticmethod
    def _new_wheel(limits: NetworkLimits) -> IdleWheel[Channel]:
        timeout_ms = limits.connections_max_idle_ms
        return IdleWheel(max(0, timeout_ms) // tick_ms(timeout_ms))

    def _schedule_tick(self) -> None:
        limits = self.context.limits
        if "tick" not in self._timers and self._channels and limits.connections_max_idle_ms >= 0:
            delay_ms = tick_ms(limits.connections_max_idle_ms)
            self._timers["tick"] = self.context.call_later(delay_ms, self._on_tick)

    def _on_tick(self) -> None:
        del self._timers["tick"]
        self.context.tick += 1
        for channel in self._wheel.advance(self.context.tick):
            channel.close(CloseReason.IDLE)
        self._schedule_tick()

    def _schedule_progress_check(self) -> None:
        if "progress" not in self._timers and self._channels:
            self._timers["progress"] = self.context.call_later(PROGRESS_CHECK_MS, self._on_progress_check)

    def _on_progress_check(self) -> None:
        del self._timers["progress"]
        self.context.memory.check_progress()
        self._schedule_progress_check()

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


def _host_port(address: object) -> tuple[str, int]:
    if not isinstance(address, tuple) or len(address) < 2:
        raise OSError(f"not an IP address: {address!r}")
    host = str(address[0])
    return host.removeprefix("::ffff:") if "." in host else host, int(address[1])


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that has a port (0: any free one) of an address, and does not listen yet; raises OSError."""
    family, address = _resolve(host, port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and not host:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _listening_socket(endpoint: Endpoint, limits: NetworkLimits, bound: socket.socket | None) -> socket.socket:
    sock = bound_socket(endpoint.host, endpoint.port) if bound is None else bound
    try:
        if limits.socket_receive_buffer_bytes > 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.socket_receive_buffer_bytes)
        sock.listen(limits.socket_listen_backlog_size)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _resolve(host: str, port: int) -> tuple[int, tuple[str, int]]:
    """The family and address to listen on; IPv4 first where a name has both, as Java prefers it."""
    if not host:
        if socket.has_dualstack_ipv6():
            return socket.AF_INET6, ("::", port)
        return socket.AF_INET, ("0.0.0.0", port)
    # Names of other letters only need the codec, which takes a millisecond to load.
    name = host.encode() if host.isascii() else host
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return found[0][0], (str(found[0][4][0]), port)
