"""How the broker of a node reaches the active controller, wherever that is (KIP-590, KIP-595)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, Protocol, TypeVar, cast

from odradek.node.in_process import InProcess
from odradek.ports import Clock, Promise, Scheduler, TimerHandle, spawn
from odradek.server.context import RequestContext
from odradek.server.envelope import opened, sealed
from odradek.server.peers import Peers
from odradek.wire.apis import ApiKey
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.envelope import EnvelopeResponse
from odradek.wire.schema import Message

Resp = TypeVar("Resp", bound=Message)

RETRY_MS = 50
"""How soon those who did not reach the controller look for it again."""
FOREVER = float("inf")

_HEARTBEATS = "heartbeat"
_ALTER_PARTITION = "alter-partition"
_FORWARDING = "forwarding"
_REQUESTS = "requests"
_PURPOSES: Mapping[ApiKey, str] = {
    ApiKey.BROKER_REGISTRATION: _HEARTBEATS,
    ApiKey.BROKER_HEARTBEAT: _HEARTBEATS,
    ApiKey.CONTROLLER_REGISTRATION: _HEARTBEATS,
    ApiKey.ALTER_PARTITION: _ALTER_PARTITION,
}
"""What has a connection of its own, so that nothing slow is before it; the rest shares one."""
_TRY_AGAIN = (ErrorCode.NOT_CONTROLLER, ErrorCode.NETWORK_EXCEPTION, ErrorCode.REQUEST_TIMED_OUT)


class Quorum(Protocol):
    """What is asked of the node's `RaftNode`."""

    @property
    def is_leader(self) -> bool:
        """Whether the active controller is on this node."""
        ...

    def leader_endpoint(self, listener: str) -> tuple[str, int] | None:
        """Host and port of the leader's listener, as far as they are known."""
        ...


class ChannelOptions(NamedTuple):
    """Times in milliseconds."""

    listener: str
    """The first of `controller.listener.names`."""
    socket_timeout_ms: float = 30_000
    """`controller.socket.timeout.ms`: how long one answer may take."""
    heartbeat_timeout_ms: float = 9_000
    """Heartbeats that are older than `broker.session.timeout.ms` say nothing that counts."""
    timeout_ms: float = 60_000
    """How long the controller is looked for on behalf of clients, and for the broker's other requests."""


class ControllerChannel:
    """A `ControllerClient`: in this process where this node leads, else over connections to the node that does.

    A request that did not reach the active controller is sent again to whoever leads then, until its time is over.
    """

    def __init__(
        self,
        quorum: Quorum,
        local: InProcess | None,
        new_peers: Callable[[str, str], Peers] | None,
        clock: Clock,
        scheduler: Scheduler,
        options: ChannelOptions,
    ) -> None:
        """`local` are the handlers of this node's controller, `new_peers` makes connections for a purpose; either may
        be missing."""
        self._quorum = quorum
        self._local = local
        self._new_peers = new_peers
        self._clock = clock
        self._scheduler = scheduler
        self._options = options
        self._peers: dict[str, Peers] = {}
        self._retrying: list[Promise[None]] = []
        self._timer: TimerHandle | None = None
        self._closed = False

    def send(self, request: Message, response: type[Resp], context: RequestContext | None = None) -> Promise[Resp]:
        """The controller's answer; `context` is the client's for whom it is forwarded, None for the broker's own.

        Fails with NOT_CONTROLLER or REQUEST_TIMED_OUT if it is not found in time, UNKNOWN_SERVER_ERROR or
        CloseConnection if it refuses what is forwarded.
        """
        return spawn(self._send(request, response, context))

    def close(self) -> None:
        """Send nothing more; what waits fails with NOT_CONTROLLER."""
        self._closed = True
        for peers in self._peers.values():
            peers.close()
        self._wake()

    def leader_changed(self) -> None:
        """Those who look for the controller may have found it."""
        self._wake()

    async def _send(self, request: Message, response: type[Resp], context: RequestContext | None) -> Resp:
        key = ApiKey(cast("int", request.API_KEY))
        purpose = _PURPOSES.get(key, _REQUESTS) if context is None else _FORWARDING
        until_ms = self._clock.monotonic_ms() + self._patience_ms(purpose)
        while not self._closed:
            try:
                return await self._attempt(purpose, request, response, context, until_ms)
            except KafkaError as error:
                if error.code not in _TRY_AGAIN or self._closed:
                    raise
                if self._clock.monotonic_ms() + RETRY_MS > until_ms:
                    raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, "No controller could be reached.") from error
            await self._pause()
        raise KafkaError(ErrorCode.NOT_CONTROLLER, "This node is stopping.")

    async def _attempt(
        self, purpose: str, request: Message, response: type[Resp], context: RequestContext | None, until_ms: float
    ) -> Resp:
        if self._local is not None and self._quorum.is_leader:
            answer = await self._local.send(request, response, context)
        else:
            endpoint = self._quorum.leader_endpoint(self._options.listener)
            if endpoint is None:
                raise KafkaError(ErrorCode.NOT_CONTROLLER)
            remaining_ms = min(until_ms - self._clock.monotonic_ms(), self._options.socket_timeout_ms)
            send = partial(self._connections(purpose).send, *endpoint, timeout_ms=remaining_ms)
            if context is not None:
                return opened(context, await send(sealed(context, request), EnvelopeResponse), response)
            answer = await send(request, response)
        if _says_not_controller(answer):
            raise KafkaError(ErrorCode.NOT_CONTROLLER)
        return answer

    def _connections(self, purpose: str) -> Peers:
        if self._new_peers is None:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, "This node has no connections to others.")
        peers = self._peers.get(purpose)
        if peers is None:
            peers = self._peers[purpose] = self._new_peers(self._options.listener, purpose)
        return peers

    def _patience_ms(self, purpose: str) -> float:
        if purpose == _ALTER_PARTITION:
            return FOREVER
        return self._options.heartbeat_timeout_ms if purpose == _HEARTBEATS else self._options.timeout_ms

    def _pause(self) -> Promise[None]:
        """All who wait share one timer, however many they are."""
        pause: Promise[None] = Promise()
        self._retrying.append(pause)
        if self._timer is None:
            self._timer = self._scheduler.call_later(RETRY_MS, self._wake)
        return pause

    def _wake(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        retrying, self._retrying = self._retrying, []
        for pause in retrying:
            pause.resolve(None)


def _says_not_controller(answer: Message) -> bool:
    """Whether a node that does not decide has answered: at the top, or, as in CreateTopics, for what was asked."""
    if getattr(answer, "error_code", ErrorCode.NONE) == ErrorCode.NOT_CONTROLLER:
        return True
    topics = getattr(answer, "topics", ())
    return any(getattr(topic, "error_code", ErrorCode.NONE) == ErrorCode.NOT_CONTROLLER for topic in topics)
