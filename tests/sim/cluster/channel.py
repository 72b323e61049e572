"""Requests and answers over one connection, with time-outs; and `Peers`, which nodes use among themselves."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from odradek.ports import Promise
from odradek.wire.apis import request_header_version, response_header_version, stable_versions
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.headers import RequestHeader
from odradek.wire.schema import Message
from tests.sim.cluster.kernel import Event
from tests.sim.cluster.network import Network
from tests.sim.cluster.process import Process

Resp = TypeVar("Resp", bound=Message)
Answer = Callable[[memoryview | None, ErrorCode], None]
"""The response's frame, or None and why there is none."""

_CORRELATION_AT = 4
_INT32 = struct.Struct(">i")


class Channel:
    """One connection to one address, for as long as it lasts."""

    def __init__(self, network: Network, process: Process, host: str, port: int) -> None:
        self.is_open = True
        self._process = process
        self._connection = network.connect(process, host, port)
        self._connection.on_frame = self._answered
        self._connection.on_closed = lambda: self._fail(ErrorCode.NETWORK_EXCEPTION)
        self._waiting: deque[tuple[float, Answer]] = deque()
        """Who waits, and until when."""
        self._sent = 0
        self._received = 0
        self._timer: Event | None = None
        self._timer_ms = 0.0

    def request(self, frame: bytearray, timeout_ms: float, answer: Answer) -> None:
        """Send a frame whose correlation id is filled in here."""
        if not self.is_open:
            answer(None, ErrorCode.NETWORK_EXCEPTION)
            return
        _INT32.pack_into(frame, _CORRELATION_AT, self._sent)
        self._sent += 1
        deadline_ms = self._process.kernel.now_ms + timeout_ms
        self._waiting.append((deadline_ms, answer))
        if self._timer is None or deadline_ms < self._timer_ms:
            self._arm(deadline_ms)
        self._connection.send(frame)

    def close(self) -> None:
        """What waits for an answer is told."""
        self._fail(ErrorCode.NETWORK_EXCEPTION)

    def _arm(self, deadline_ms: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = deadline_ms
        self._timer = self._process.kernel.at(deadline_ms, self._process, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        first_ms = min(deadline_ms for deadline_ms, _ in self._waiting)
        if first_ms <= self._process.kernel.now_ms:
            self._fail(ErrorCode.REQUEST_TIMED_OUT)
        else:
            self._arm(first_ms)

    def _answered(self, frame: bytearray) -> None:
        (correlation_id,) = _INT32.unpack_from(frame)
        assert correlation_id == self._received, "answers come in the order of the requests"
        self._received += 1
        _, answer = self._waiting.popleft()
        answer(memoryview(frame), ErrorCode.NONE)

    def _fail(self, code: ErrorCode) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self._connection.close()
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting = self._waiting, deque()
        for _, answer in waiting:
            answer(None, code)


def encode_request(request: Message, version: int, client_id: str) -> bytearray:
    """A frame without its length; the correlation id is 0."""
    key = request.API_KEY
    assert key is not None
    frame = bytearray(_header(key, version, client_id))
    frame += request.encode(version)
    return frame


@cache
def _header(key: int, version: int, client_id: str) -> bytes:
    header = RequestHeader(request_api_key=key, request_api_version=version, correlation_id=0, client_id=client_id)
    return header.encode(request_header_version(key, version))


def decode_response(frame: memoryview, response: type[Resp], version: int) -> Resp:
    """Read the body that follows the header."""
    assert response.API_KEY is not None
    header_bytes = 5 if response_header_version(response.API_KEY, version) else 4
    return response.decode(frame[header_bytes:], version)


@cache
def latest(message: type[Message]) -> int:
    """The version that all nodes of a simulation know."""
    assert message.API_KEY is not None
    return stable_versions(message.API_KEY)[-1]


class SimPeers:
    """Implements `odradek.server.peers.Peers`."""

    def __init__(self, network: Network, process: Process, client_id: str) -> None:
        self._network = network
        self._process = process
        self._client_id = client_id
        self._channels: dict[tuple[str, int], Channel] = {}

    def send(self, host: str, port: int, request: Message, response: type[Resp], *, timeout_ms: float) -> Promise[Resp]:
        """The answer to a request in the latest version."""
        version = latest(type(request))
        promise: Promise[Resp] = Promise()

        def answered(frame: memoryview | None, code: ErrorCode) -> None:
            if frame is None:
                promise.reject(KafkaError(code))
            else:
                promise.resolve(decode_response(frame, response, version))

        self._channel(host, port).request(encode_request(request, version, self._client_id), timeout_ms, answered)
        return promise

    def close(self) -> None:
        """Close all connections."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.close()

    def _channel(self, host: str, port: int) -> Channel:
        channel = self._channels.get((host, port))
        if channel is None or not channel.is_open:
            channel = self._channels[host, port] = Channel(self._network, self._process, host, port)
        return channel
