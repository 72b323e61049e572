"""How a node sends requests to others, whichever port they listen at."""

from __future__ import annotations

from typing import Protocol, TypeVar

from odradek.ports import Promise
from odradek.wire.schema import Message

Resp = TypeVar("Resp", bound=Message)


class Peers(Protocol):
    """Connections for one purpose, one to each address, opened when they are needed.

    Requests to an address are answered in their order, so what may wait long at the other side has connections of its
    own.
    """

    def send(self, host: str, port: int, request: Message, response: type[Resp], *, timeout_ms: float) -> Promise[Resp]:
        """The answer to a request in the latest version that both sides know.

        Fails with KafkaError NETWORK_EXCEPTION where there is no connection or it is lost, REQUEST_TIMED_OUT, which
        costs the connection, or UNSUPPORTED_VERSION.
        """
        ...

    def close(self) -> None:
        """Close all connections; what waits for an answer fails with NETWORK_EXCEPTION."""
        ...
