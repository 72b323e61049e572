"""How a handler of one API is declared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from odradek.ports.promise import Promise
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.wire.apis import ApiKey
from odradek.wire.errors import KafkaError
from odradek.wire.schema import Message

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)


@dataclass(frozen=True, slots=True)
class Handler(Generic[Req, Resp]):
    """Answers one API in all the versions that 4.4.0 lists for it.

    `handle` returns the response, a promise of it, or None where nothing is sent back. What it raises, or its
    promise fails with, is answered by `on_error`; without one, by a response whose top-level error code is set.
    `operation` and `resource` say what an authorizer is asked about; the handler asks it, for it knows the names.
    `differences` are the sentences that docs/compatibility.md prints: where this differs from Kafka on purpose.
    """

    request: type[Req]
    handle: Callable[[RequestContext, Req], Resp | Promise[Resp] | Promise[Resp | None] | None]
    operation: Operation
    resource: ResourceType
    on_error: Callable[[Req, int, KafkaError], Resp] | None = None
    """Takes the request, its version and the error; may raise CloseConnection."""
    differences: tuple[str, ...] = ()

    @property
    def api_key(self) -> ApiKey:
        """Which API it answers."""
        key = self.request.API_KEY
        assert key is not None, f"{self.request.NAME} is no request"
        return ApiKey(key)


class CloseConnection(Exception):
    """Raised by a handler where Kafka closes the connection instead of answering."""


AnyHandler = Handler[Message, Message]


def erase(handler: Handler[Req, Resp]) -> AnyHandler:
    """The same handler for lists of mixed ones; the dispatcher hands it only requests of its own type."""
    return cast("AnyHandler", handler)
