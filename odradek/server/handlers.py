"""How a handler of one API is declared."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from types import CoroutineType
from typing import Generic, TypeGuard, TypeVar, cast

from odradek.ports.network import Reply, UniformReplies
from odradek.ports.promise import Promise, flatten, spawn
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.wire.apis import ApiKey
from odradek.wire.errors import KafkaError
from odradek.wire.schema import Message

MAX_REQUEST_OBJECTS = 65_536
"""How many array elements and tagged fields one request may make the decoder create, unless its API says otherwise."""
MAX_DECIDED_OBJECTS = 16_384
"""The same for APIs that look at all their elements in one go."""

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)
Sliced = Coroutine[Promise[object], None, Resp | Promise[Resp]]
"""What a handler that is an `async def` function returns."""

Answer = Message | Promise[Message] | Promise[Message | None] | None
"""What any other handler returns."""

Plain = Callable[[int, int, memoryview, int], "Reply | Promise[Reply | None] | None"]
"""(version, correlation id, frame, where its body begins) to the whole reply, header included; None, with nothing
changed, for a request that has to go the ordinary way. A promise of either is one that is pending. Raises nothing."""


PlainRun = Callable[[int, Iterator[tuple[int, memoryview]], int], Sequence[Reply]]
"""(version, correlation ids with frames, where their bodies begin) to the replies to the first of them, as many as can
be answered together; none, with nothing changed, if they have to be answered one by one. Raises nothing."""

PlainUniform = Callable[[int, memoryview, int, int], "UniformReplies | None"]
"""(version, requests behind each other, bytes of each with its length, where bodies begin in frames) to the replies to
the first of them, as many as can be answered together; None, with nothing changed, if they have to go another way. That
those behind the first are like it is not known. Raises nothing."""


@dataclass(frozen=True, slots=True)
class Handler(Generic[Req, Resp]):
    """Answers one API in all the versions that 4.4.0 lists for it.

    `handle` returns the response, a promise of it, or None where nothing is sent back; or it is an `async def`
    function that comes to one of the first two, and gives way in between (`RequestContext.slices`). What it raises,
    or its promise fails with, is answered by `on_error`; without one, by a response whose top-level error code is set.
    `operation` and `resource` say what an authorizer is asked about; the handler asks it, for it knows the names.
    `differences` are the sentences that docs/compatibility.md prints: where this differs from Kafka on purpose.
    """

    request: type[Req]
    handle: Callable[
        [RequestContext, Req],
        Resp | Promise[Resp] | Promise[Resp | None] | Sliced[Resp] | None,
    ]
    operation: Operation
    resource: ResourceType
    on_error: Callable[[Req, int, KafkaError], Resp] | None = None
    """Takes the request, its version and the error; may raise CloseConnection."""
    differences: tuple[str, ...] = ()
    max_objects: int = MAX_REQUEST_OBJECTS
    """How many array elements and tagged fields a request may make the decoder create; more cost the connection."""
    plain: Plain | None = None
    """A short way for requests of the commonest kind, taken before anything is decoded; see `Plain`."""
    plain_run: PlainRun | None = None
    """A short way for several such requests that arrived together; see `PlainRun`."""
    plain_uniform: PlainUniform | None = None
    """A shorter one for those of one length, tried before `plain_run`; see `PlainUniform`."""
    plain_from: int = 0
    """The lowest version that these three know."""
    keeps_order: bool = False
    """What it works out slice by slice is done before the connection's next request is looked at."""

    @property
    def api_key(self) -> ApiKey:
        """Which API it answers."""
        key = self.request.API_KEY
        assert key is not None, f"{self.request.NAME} is no request"
        return ApiKey(key)


def is_sliced(answer: object) -> TypeGuard[Sliced[Message]]:
    """Whether a handler's answer is still to be worked out, slice by slice."""
    return type(answer) is CoroutineType


def call(handler: AnyHandler, context: RequestContext, request: Message) -> Answer:
    """What a handler answers, be it sliced or not; raises what it raises."""
    answer = handler.handle(context, request)
    # Not by `is_sliced` and a cast, which would be two calls for every request.
    if type(answer) is CoroutineType:
        return flatten(spawn(answer))
    return answer  # type: ignore[return-value] # whatever is no coroutine


class CloseConnection(Exception):
    """Raised by a handler where Kafka closes the connection instead of answering."""


AnyHandler = Handler[Message, Message]


def erase(handler: Handler[Req, Resp]) -> AnyHandler:
    """The same handler for lists of mixed ones; the dispatcher hands it only requests of its own type."""
    return cast("AnyHandler", handler)
