"""Requests and answers over one connection, with time-outs; and `Peers`, which nodes use among themselves."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from odradek.ports import Promise
from odradek.wire.apis import request_header_version, response_header_version, stable_versions
from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.messages.headers import RequestHeader
from odradek.wire.schema import Message
from tests.sim.cluster.kernel import Event
from tests.sim.cluster.network import Network
from tests.sim.cluster.process import Process
from tests.sim.cluster.versions import Limits, highest

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


class _Peer:
    """A connection to another node, and which versions that one knows: what comes before that is known waits."""

    def __init__(self, channel: Channel, limits: Limits, client_id: str) -> None:
        self.channel = channel
        self._limits = limits
        self._client_id = client_id
        self._offered: dict[int, range] | None = None
        self._waiting: list[Callable[[ErrorCode], None]] = []

    def send(self, request: Message, response: type[Resp], timeout_ms: float, promise: Promise[Resp]) -> None:
        if self._offered is not None:
            self._post(request, response, timeout_ms, promise)
            return

        def go_on(code: ErrorCode) -> None:
            if code:
                promise.reject(KafkaError(code))
            else:
                self._post(request, response, timeout_ms, promise)

        self._waiting.append(go_on)
        if len(self._waiting) == 1:
            self._negotiate(timeout_ms)

    def _negotiate(self, timeout_ms: float) -> None:
        version = latest(ApiVersionsRequest)
        request = ApiVersionsRequest(client_software_name="simulated", client_software_version="1")

        def answered(frame: memoryview | None, code: ErrorCode) -> None:
            if frame is not None:
                listed = decode_response(frame, ApiVersionsResponse, version).api_keys
                self._offered = {api.api_key: range(api.min_version, api.max_version + 1) for api in listed}
            waiting, self._waiting = self._waiting, []
            for go_on in waiting:
                go_on(code)

        self.channel.request(encode_request(request, version, self._client_id), timeout_ms, answered)

    def _post(self, request: Message, response: type[Resp], timeout_ms: float, promise: Promise[Resp]) -> None:
        assert self._offered is not None
        key = request.API_KEY
        assert key is not None
        offered = self._offered.get(key, range(0))
        version = min(offered.stop - 1, highest(key, self._limits))
        if version not in offered:
            promise.reject(KafkaError(ErrorCode.UNSUPPORTED_VERSION))
            return

        def answered(frame: memoryview | None, code: ErrorCode) -> None:
            if frame is None:
                promise.reject(KafkaError(code))
            else:
                promise.resolve(decode_response(frame, response, version))

        try:
            frame = encode_request(request, version, self._client_id)
        except ProtocolError:
            promise.reject(KafkaError(ErrorCode.UNSUPPORTED_VERSION))
            return
        self.channel.request(frame, timeout_ms, answered)


class SimPeers:
    """Implements `odradek.server.peers.Peers`, for a node that knows no higher versions than `limits`."""

    def __init__(self, network: Network, process: Process, client_id: str, limits: Limits) -> None:
        self._network = network
        self._process = process
        self._client_id = client_id
        self._limits = limits
        self._peers: dict[tuple[str, int], _Peer] = {}

    def send(self, host: str, port: int, request: Message, response: type[Resp], *, timeout_ms: float) -> Promise[Resp]:
        """The answer to a request in the latest version that both sides know."""
        promise: Promise[Resp] = Promise()
        self._peer(host, port).send(request, response, timeout_ms, promise)
        return promise

    def close(self) -> None:
        """Close all connections."""
        peers, self._peers = self._peers, {}
        for peer in peers.values():
            peer.channel.close()

    def _peer(self, host: str, port: int) -> _Peer:
        peer = self._peers.get((host, port))
        if peer is None or not peer.channel.is_open:
            channel = Channel(self._network, self._process, host, port)
            peer = self._peers[host, port] = _Peer(channel, self._limits, self._client_id)
        return peer
