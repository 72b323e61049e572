"""A client's connection to one broker: negotiated versions, pipelined requests, bounded responses."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast

from odradek import __version__
from odradek.ports.promise import Promise
from odradek.wire import Budget, ErrorCode, Message, ProtocolError
from odradek.wire.apis import ApiKey, request_header_version, response_header_version, stable_versions
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.messages.headers import RequestHeader, ResponseHeader

DEFAULT_TIMEOUT_MS = 30_000
"""How long a response may take."""
DEFAULT_CONNECT_TIMEOUT_MS = 10_000
DEFAULT_MAX_RESPONSE_BYTES = 256 * 1024 * 1024
"""A longer response ends the connection."""
DEFAULT_RESPONSE_OBJECTS = 4_000_000
"""What one response may create when decoded."""

R = TypeVar("R", bound=Message)


class ClientError(Exception):
    """A request could not be made or answered; the text is one line that says what to do."""


class ConnectError(ClientError):
    """Nothing that speaks Kafka's protocol answers at the address."""


class ConnectionLostError(ClientError):
    """The connection ended; whether the broker handled the request is unknown."""


class RequestTimeoutError(ClientError):
    """No response came in time; whether the broker handled the request is unknown."""


class UnsupportedApiError(ClientError):
    """The broker does not offer the API, or no version of it that is known here."""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """How to connect. Times in milliseconds."""

    client_id: str = "odradek"
    timeout_ms: float = DEFAULT_TIMEOUT_MS
    connect_timeout_ms: float = DEFAULT_CONNECT_TIMEOUT_MS
    max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES
    max_response_objects: int = DEFAULT_RESPONSE_OBJECTS


class Connection:
    """Made by `open`. Requests may be sent without waiting for earlier ones; responses come in their order."""

    def __init__(self, address: str, protocol: _Frames, options: ConnectionOptions) -> None:
        self.address = address
        self._protocol = protocol
        self._options = options
        self._correlation_id = 0
        self._offered: dict[int, range] = {}
        self._versions: dict[type[Message], int] = {}
        self._headers: dict[tuple[type[Message], int], tuple[bytes, bytes]] = {}
        """What goes before a request in a version: before the correlation id, and behind it."""

    @classmethod
    async def open(cls, host: str, port: int, options: ConnectionOptions | None = None) -> Connection:
        """Connect and ask for the broker's API versions; raises ClientError."""
        options = options or ConnectionOptions()
        address = f"{host}:{port}"
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(options.connect_timeout_ms / 1000):
                _, protocol = await loop.create_connection(
                    lambda: _Frames(address, options.max_response_bytes), host, port
                )
        except TimeoutError:
            raise ConnectError(f"{address} does not answer: is the address right and the port reachable?") from None
        except OSError as error:
            raise ConnectError(f"cannot connect to {address} ({_reason(error)}): is a broker running there?") from None
        connection = cls(address, protocol, options)
        try:
            await connection._negotiate()
        except ConnectionLostError:
            connection.close()
            raise ConnectError(
                f"{address} closed the connection: is it a Kafka listener, without TLS and SASL?"
            ) from None
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._protocol.error is None

    def version(self, request_class: type[Message]) -> int:
        """The highest version of the request that both sides know; raises UnsupportedApiError."""
        found = self._versions.get(request_class)
        if found is not None:
            return found
        key = _api_key(request_class)
        offered = self._offered.get(key, range(0))
        known = stable_versions(key)
        highest = min(offered.stop, known.stop) - 1
        if not offered or highest < max(offered.start, known.start):
            raise UnsupportedApiError(
                f"{self.address} offers {ApiKey(key).name} in versions {_span(offered)}, this client knows "
                f"{_span(known)}: use a client and a broker of the same age"
            )
        self._versions[request_class] = highest
        return highest

    async def send(
        self, request: Message, response_class: type[R], *, version: int | None = None, timeout_ms: float | None = None
    ) -> R:
        """Send `request` in `version` (default: the highest common one) and return its response.

        Error codes in the response are the caller's to read. Raises ClientError; after a time-out the connection goes
        on, and the late response is dropped.
        """
        if version is None:
            version = self.version(type(request))
        waiter: asyncio.Future[memoryview] = asyncio.get_running_loop().create_future()

        def answered(outcome: memoryview | ClientError) -> None:
            if waiter.done():
                return
            if isinstance(outcome, memoryview):
                waiter.set_result(outcome)
            else:
                waiter.set_exception(outcome)
                with contextlib.suppress(ClientError):  # whoever sent it may have gone; that is no unseen error
                    waiter.exception()

        correlation_id = self._write(request, version, answered)
        await self._protocol.drain()
        limit_ms = self._options.timeout_ms if timeout_ms is None else timeout_ms
        try:
            async with asyncio.timeout(limit_ms / 1000):
                frame = await waiter
        except TimeoutError:
            raise RequestTimeoutError(
                f"{self.address} did not answer {type(request).__name__} within {limit_ms:.0f} ms: "
                "is the broker overloaded, or the time-out too short?"
            ) from None
        try:
            return self._decode(frame, correlation_id, response_class, version)
        except ProtocolError as error:
            self._protocol.fail(ConnectionLostError(f"{self.address} sent a malformed response"))
            raise ClientError(
                f"{self.address} answered {type(request).__name__} with bytes that cannot be read ({error}): "
                "is it a Kafka broker?"
            ) from error

    def post(self, request: Message, response_class: type[R]) -> Promise[R]:
        """Send `request` in the highest common version, for whoever has no task that could wait.

        Never waits for the peer to read, so look at `unsent_bytes`. Fails with ClientError; there is no time-out.
        """
        promise: Promise[R] = Promise()
        loop = asyncio.get_running_loop()

        def answered(outcome: memoryview | ClientError) -> None:
            if not isinstance(outcome, memoryview):
                # Later, as whoever ends a connection must not be called back in the midst of that.
                loop.call_soon(promise.reject, outcome)
                return
            try:
                response = self._decode(outcome, correlation_id, response_class, version)
            except ProtocolError as error:
                lost = ConnectionLostError(f"{self.address} sent a malformed response: {error}")
                promise.reject(lost)
                self._protocol.fail(lost)
            else:
                promise.resolve(response)

        try:
            version = self.version(type(request))
            correlation_id = self._write(request, version, answered)
        except ClientError as error:
            promise.reject(error)
        return promise

    @property
    def unsent_bytes(self) -> int:
        """What the peer has not taken yet of the requests."""
        return self._protocol.unsent_bytes

    async def send_only(self, request: Message, *, version: int | None = None) -> None:
        """Send a request that has no response, as a Produce with acks=0."""
        self._write(request, self.version(type(request)) if version is None else version, None)
        await self._protocol.drain()

    def close(self) -> None:
        """Close; requests without a response fail with ConnectionLostError."""
        self._protocol.fail(ConnectionLostError(f"the connection to {self.address} was closed here"))

    def _write(self, request: Message, version: int, answered: Answered | None) -> int:
        """Send, and have `answered` called with the response, if there is one; returns the correlation id."""
        try:
            body = request.encode(version)
        except ProtocolError as error:
            # What it asks for has no place in the version that the peer knows, such as a pre-vote (KIP-996).
            raise UnsupportedApiError(f"{self.address} cannot be asked for that: {error}") from error
        self._correlation_id = correlation_id = self._correlation_id + 1 & 0x7FFFFFFF
        before, behind = self._headers.get((type(request), version)) or self._header(type(request), version)
        size = len(before) + _ID_BYTES + len(behind) + len(body)
        self._protocol.write(
            b"".join((size.to_bytes(4, "big"), before, correlation_id.to_bytes(_ID_BYTES, "big"), behind, body)),
            answered,
        )
        return correlation_id

    def _header(self, request_class: type[Message], version: int) -> tuple[bytes, bytes]:
        key = _api_key(request_class)
        header = RequestHeader(
            request_api_key=key, request_api_version=version, client_id=self._options.client_id
        ).encode(request_header_version(key, version))
        found = self._headers[request_class, version] = header[:_ID_AT], header[_ID_AT + _ID_BYTES :]
        return found

    def _decode(self, frame: memoryview, correlation_id: int, response_class: type[R], version: int) -> R:
        budget = Budget(objects=self._options.max_response_objects)
        header_version = response_header_version(_api_key(response_class), version)
        if header_version and frame[_ID_BYTES : _ID_BYTES + 1] == _NO_TAGS:
            found, position = int.from_bytes(frame[:_ID_BYTES], "big", signed=True), _ID_BYTES + 1
        else:
            header, position = ResponseHeader.decode_prefix(frame, header_version, 0, budget)
            found = header.correlation_id
        if found != correlation_id:
            raise ProtocolError(f"response {found} instead of {correlation_id}")
        body = frame[position:]
        if response_class is ApiVersionsResponse and body[:2] == _UNSUPPORTED_VERSION:
            version = 0  # what a broker that does not know the version answers in (KIP-511)
        return response_class.decode(body, version, budget=budget)

    async def _negotiate(self) -> None:
        request = ApiVersionsRequest(client_software_name="odradek", client_software_version=__version__)
        version = stable_versions(ApiKey.API_VERSIONS).stop - 1
        response = await self.send(
            request, ApiVersionsResponse, version=version, timeout_ms=self._options.connect_timeout_ms
        )
        if response.error_code == ErrorCode.UNSUPPORTED_VERSION:
            offered = [api.max_version for api in response.api_keys if api.api_key == ApiKey.API_VERSIONS]
            version = min([version, *offered]) if offered else 0
            response = await self.send(
                request, ApiVersionsResponse, version=version, timeout_ms=self._options.connect_timeout_ms
            )
        if response.error_code:
            raise ConnectError(f"{self.address} refuses to tell its versions: {ErrorCode(response.error_code).name}")
        self._offered = {api.api_key: range(api.min_version, api.max_version + 1) for api in response.api_keys}


Answered: TypeAlias = Callable[[memoryview | ClientError], None]
"""What becomes of a request: its response's frame, or that none comes."""
_ID_AT = 4
_ID_BYTES = 4
"""The correlation id: behind API key and version in a request, at the begin of a response."""
_NO_TAGS = b"\x00"
_UNSUPPORTED_VERSION = int(ErrorCode.UNSUPPORTED_VERSION).to_bytes(2, "big")


class _Frames(asyncio.Protocol):
    """Cuts what arrives into responses, and gives each to the oldest request that waits."""

    def __init__(self, address: str, max_response_bytes: int) -> None:
        self.error: ClientError | None = None
        self._address = address
        self._max_response_bytes = max_response_bytes
        self._transport: asyncio.Transport | None = None
        self._waiters: deque[Answered] = deque()
        self._parts: list[bytes] = []
        self._size = 0
        self._needed = 4
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        reason = "" if exc is None else f" ({_reason(exc)})"
        self.fail(ConnectionLostError(f"{self._address} closed the connection{reason}: see the broker's log"))

    def write(self, data: bytes, answered: Answered | None) -> None:
        if self.error is not None or self._transport is None:
            raise self.error or ConnectionLostError(f"not connected to {self._address}")
        if answered is not None:
            self._waiters.append(answered)
        self._transport.write(data)

    @property
    def unsent_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def drain(self) -> None:
        await self._writable.wait()

    def fail(self, error: ClientError) -> None:
        if self.error is not None:
            return
        self.error = error
        self._writable.set()
        waiters, self._waiters = self._waiters, deque()
        for answered in waiters:
            answered(error)
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size < self._needed:
            return
        view = memoryview(data if len(self._parts) == 1 else b"".join(self._parts))
        position = 0
        self._needed = 4
        while len(view) - position >= 4:
            length = int.from_bytes(view[position : position + 4], "big", signed=True)
            if not 4 <= length <= self._max_response_bytes:
                self.fail(
                    ConnectionLostError(
                        f"{self._address} announced a response of {length} bytes (4 to {self._max_response_bytes} "
                        "are accepted): is it a Kafka listener, without TLS?"
                    )
                )
                return
            if len(view) - position - 4 < length:
                self._needed = 4 + length
                break
            self._deliver(view[position + 4 : position + 4 + length])
            position += 4 + length
        rest = bytes(view[position:])
        self._parts = [rest] if rest else []
        self._size = len(rest)

    def _deliver(self, frame: memoryview) -> None:
        if not self._waiters:
            self.fail(ConnectionLostError(f"{self._address} sent a response that nobody asked for"))
            return
        self._waiters.popleft()(frame)


def _api_key(message_class: type[Message]) -> int:
    if message_class.API_KEY is None:
        raise TypeError(f"{message_class.__name__} is neither a request nor a response")
    return message_class.API_KEY


def _span(versions: range) -> str:
    return f"{versions.start} to {versions.stop - 1}" if versions else "none"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
