"""A raw connection: whole control over what is sent, and when."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self, TypeVar

from odradek.wire.schema import Message

TIMEOUT_S = 20.0
Response = TypeVar("Response", bound=Message)


class Closed(Exception):
    """The peer closed the connection."""


def stable_version(message: type[Message]) -> int:
    """The highest version that a broker offers."""
    return message.MAX_VERSION - (1 if message.LATEST_UNSTABLE else 0)


def request_header(api_key: int, version: int, correlation_id: int, *, flexible: bool, client_id: str = "raw") -> bytes:
    name = client_id.encode()
    header = struct.pack(">hhih", api_key, version, correlation_id, len(name)) + name
    return header + b"\x00" if flexible else header


def framed(payload: bytes) -> bytes:
    return struct.pack(">i", len(payload)) + payload


def encode_request(request: Message, version: int, correlation_id: int = 1) -> bytes:
    """A request with its header, without the length in front."""
    assert request.API_KEY is not None
    flexible = version in request.FLEXIBLE
    return request_header(request.API_KEY, version, correlation_id, flexible=flexible) + request.encode(version)


class Connection:
    """A TCP connection that speaks in frames. Times out after ``timeout_s`` of silence."""

    def __init__(self, host: str, port: int, timeout_s: float = TIMEOUT_S) -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._correlation_id = 0

    def call(self, request: Message, response: type[Response], version: int | None = None) -> Response:
        """Send a request and read its answer. Raises Closed."""
        used = stable_version(type(request)) if version is None else version
        correlation_id = self.send(request, used)
        return self.receive(response, used, correlation_id)

    def send(self, request: Message, version: int) -> int:
        """Send without reading; returns the correlation id."""
        self._correlation_id += 1
        self.send_bytes(framed(encode_request(request, version, self._correlation_id)))
        return self._correlation_id

    def receive(self, response: type[Response], version: int, correlation_id: int) -> Response:
        payload = self.receive_frame()
        assert struct.unpack_from(">i", payload)[0] == correlation_id
        flexible_header = version in response.FLEXIBLE and response.API_KEY != 18
        return response.decode(payload[5 if flexible_header else 4 :], version)

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive_frame(self) -> bytes:
        (size,) = struct.unpack(">i", self._receive_exactly(4))
        return self._receive_exactly(size)

    def is_closed_by_peer(self, within_s: float = 10.0) -> bool:
        """Whether the peer closes without sending anything more."""
        self.socket.settimeout(within_s)
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive_exactly(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            try:
                chunk = self.socket.recv(min(1 << 20, size - len(received)))
            except ConnectionError as error:
                raise Closed(str(error)) from error
            if not chunk:
                raise Closed(f"after {len(received)} of {size} bytes")
            received += chunk
        return bytes(received)
