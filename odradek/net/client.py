"""A client of a whole cluster: finds the node for a request, and keeps one connection to each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from odradek.net.connection import (
    ClientError,
    ConnectError,
    Connection,
    ConnectionLostError,
    ConnectionOptions,
    RequestTimeoutError,
    UnsupportedApiError,
)
from odradek.wire import ErrorCode, KafkaError, Message
from odradek.wire.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse

__all__ = [
    "Client",
    "ClientError",
    "ConnectError",
    "Connection",
    "ConnectionLostError",
    "ConnectionOptions",
    "RequestTimeoutError",
    "UnsupportedApiError",
    "parse_address",
]

DEFAULT_PORT = 9092
RETRY_MS = 100
"""Pause between attempts while a coordinator is being elected or a topic created."""
RETRIES = 50

R = TypeVar("R", bound=Message)


class Client:
    """Made of bootstrap addresses; an async context manager that closes its connections."""

    def __init__(self, bootstrap_servers: Sequence[str], options: ConnectionOptions | None = None) -> None:
        """`bootstrap_servers`: `HOST[:PORT]` each; ValueError for another form."""
        self._bootstrap = [parse_address(server) for server in bootstrap_servers]
        self._options = options or ConnectionOptions()
        self._nodes: dict[int, tuple[str, int]] = {}
        self._connections: dict[tuple[str, int], Connection] = {}
        self._opening: dict[tuple[str, int], asyncio.Lock] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    async def any_node(self) -> Connection:
        """A connection to the first bootstrap server that answers; raises ConnectError."""
        errors: list[ClientError] = []
        for address in self._bootstrap:
            try:
                return await self._connect(address)
            except ConnectError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        raise ConnectError("no bootstrap server was given")

    async def node(self, node_id: int) -> Connection:
        """A connection to the broker of this id; raises ClientError."""
        if node_id not in self._nodes:
            await self.metadata([])
        if node_id not in self._nodes:
            raise ClientError(f"the cluster has no broker {node_id} now: try again when it is back")
        return await self._connect(self._nodes[node_id])

    async def send(self, request: Message, response_class: type[R], *, node_id: int | None = None) -> R:
        """Send to one broker, or to any; see `Connection.send`."""
        connection = await (self.any_node() if node_id is None else self.node(node_id))
        return await connection.send(request, response_class)

    async def metadata(self, topics: Iterable[str] | None, *, auto_create: bool = False) -> MetadataResponse:
        """The cluster's brokers and these topics (None: all); remembers where the brokers are."""
        names = None if topics is None else [MetadataRequestTopic(name=name) for name in topics]
        request = MetadataRequest(topics=names, allow_auto_topic_creation=auto_create)
        response = await self.send(request, MetadataResponse)
        for broker in response.brokers:
            self._nodes[broker.node_id] = (broker.host, broker.port)
        return response

    async def group_coordinator(self, group_id: str) -> int:
        """The id of the broker that coordinates the group, waiting for it if needed; raises KafkaError."""
        from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse

        request = FindCoordinatorRequest(key=group_id, coordinator_keys=[group_id])
        connection = await self.any_node()
        if connection.version(FindCoordinatorRequest) >= 4:
            request.key = ""
        else:
            request.coordinator_keys = []
        code = ErrorCode.NONE
        for _ in range(RETRIES):
            response = await connection.send(request, FindCoordinatorResponse)
            found = response.coordinators[0] if response.coordinators else response
            code = ErrorCode(found.error_code)
            if code is ErrorCode.NONE:
                self._nodes[found.node_id] = (found.host, found.port)
                return found.node_id
            if not code.retriable:
                break
            await asyncio.sleep(RETRY_MS / 1000)
        raise KafkaError(code)

    async def _connect(self, address: tuple[str, int]) -> Connection:
        async with self._opening.setdefault(address, asyncio.Lock()):
            connection = self._connections.get(address)
            if connection is None or not connection.is_open:
                connection = await Connection.open(*address, self._options)
                self._connections[address] = connection
            return connection


def parse_address(text: str) -> tuple[str, int]:
    """`HOST`, `HOST:PORT` or `[IPV6]:PORT` as (host, port); ValueError for another form."""
    host, separator, port_text = text.strip().rpartition(":")
    if not separator or text.strip().endswith("]"):
        host, port_text = text.strip(), str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port_text.isascii() and port_text.isdigit()) or int(port_text) > 65_535:
        raise ValueError(f"'{text}' is no address: write HOST:PORT, such as localhost:{DEFAULT_PORT}")
    return host, int(port_text)
