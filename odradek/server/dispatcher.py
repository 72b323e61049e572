"""From a request frame to its handler and back to a reply."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator, Sequence
from functools import partial
from types import CoroutineType
from typing import cast

from odradek.ports.network import ConnectionInfo, Outcome, Reply, RunHandler, UniformReplies
from odradek.ports.promise import Promise, flatten, spawn
from odradek.ports.turns import Turns
from odradek.security.acl import Authorizer
from odradek.security.principal import ANONYMOUS
from odradek.server.context import RequestContext
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import Answer, AnyHandler, CloseConnection, Sliced, is_sliced
from odradek.server.lane import Lane
from odradek.wire.apis import ApiKey, request_header_version, response_class, response_header_version, stable_versions
from odradek.wire.budget import Budget
from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.messages.api_versions import ApiVersion, ApiVersionsResponse
from odradek.wire.messages.headers import RequestHeader
from odradek.wire.schema import Chunk, Message

_log = logging.getLogger(__name__)

LARGE_FRAME_BYTES = 16 * 1024
"""Frames above this, but for those of Produce, are handled one at a time: they may hold very many elements."""

ENCODE_AT_ONCE = 16
"""Structs of a large response that are written between two looks at the clock."""

PRODUCE_LISTED_FROM = 0
"""Produce is listed from version 0, since librdkafka reads compression support off it, but served from 3."""

_HEADER_START = struct.Struct(">hhih")
_CLIENT_ID_AT = _HEADER_START.size
_LENGTH_BYTES = 4
_FRAMED_START = struct.Struct(">ihh4xh")
"""The same behind the frame's length, without the correlation id."""
_CORRELATION_ID = struct.Struct(">i")
_UNEXPECTED = "The server experienced an unexpected error when processing the request."


class Dispatcher:
    """Decodes a frame, finds the handler of its API, and encodes what the handler answers.

    What Apache Kafka answers by closing the connection is closed here: a header that cannot be read, an API or
    version that this listener does not list, a malformed body, and an error for a request that gets no reply.
    """

    def __init__(self, handlers: HandlerTable, authorizer: Authorizer, turns: Turns, lane: Lane) -> None:
        """All dispatchers of a node share one `lane`, in which large requests wait for each other."""
        self._handlers = handlers
        self._authorizer = authorizer
        self._turns = turns
        self._lane = lane
        self._routes: dict[tuple[int, int], _Route] = {}
        """By API and version, from the first request on."""

    def handle(self, connection: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        """Answer one frame (a `FrameHandler`); never raises."""
        try:
            return self._dispatch(connection, frame)
        except Exception as error:  # noqa: BLE001 - logged by _closing; costs one connection
            return _closing(connection, error)

    @property
    def runs(self) -> RunHandler:
        """What answers frames that arrived together."""
        return RunHandler(self.handle_run, self.handle_uniform)

    def handle_run(self, connection: ConnectionInfo, frames: Sequence[memoryview]) -> Sequence[Reply]:
        """Answer the first of several frames together, where their API has a way to (`RunHandler.answer`)."""
        first = frames[0]
        if len(first) < _CLIENT_ID_AT:
            return ()
        api_key, version, _, client_id_size = _HEADER_START.unpack_from(first)
        route = self._routes.get((api_key, version)) or self._new_route(self._handlers.made(api_key), version)
        if route is None or route.plain_run is None or client_id_size < -1 or connection.id in self._lane.queues:
            return ()
        body_at = _CLIENT_ID_AT + max(client_id_size, 0) + 1
        return route.plain_run(version, _alike(frames, body_at), body_at)

    def handle_uniform(self, connection: ConnectionInfo, stretch: memoryview) -> UniformReplies | None:
        """Answer the first of several frames of one length together (`RunHandler.answer_uniform`)."""
        if len(stretch) < _FRAMED_START.size:
            return None
        length, api_key, version, client_id_size = _FRAMED_START.unpack_from(stretch)
        route = self._routes.get((api_key, version)) or self._new_route(self._handlers.made(api_key), version)
        if route is None or route.plain_uniform is None or client_id_size < -1 or connection.id in self._lane.queues:
            return None
        body_at = _CLIENT_ID_AT + max(client_id_size, 0) + 1
        if body_at > length or stretch[_LENGTH_BYTES + body_at - 1]:
            return None
        return route.plain_uniform(version, stretch, _LENGTH_BYTES + length, body_at)

    def _dispatch(self, connection: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        if len(frame) < _CLIENT_ID_AT:
            raise ProtocolError("shorter than a request header")
        api_key, version, correlation_id, client_id_size = _HEADER_START.unpack_from(frame)
        route = self._routes.get((api_key, version)) or self._new_route(self._handlers.get(api_key), version)
        if route is None:
            if api_key == ApiKey.API_VERSIONS:
                return unsupported_api_versions(correlation_id)
            raise ProtocolError(f"version {version} of API {api_key} is not served at this listener")
        if route.plain is not None and connection.id not in self._lane.queues:
            header_end = _CLIENT_ID_AT + max(client_id_size, 0)
            body_at = header_end + route.header_version - 1
            if client_id_size >= -1 and body_at <= len(frame) and (body_at == header_end or not frame[header_end]):
                reply = route.plain(version, correlation_id, frame, body_at)
                if type(reply) is Promise:
                    return self._later_plain(route, connection, frame, reply)
                if reply is not None:
                    return reply  # type: ignore[return-value] # no promise, see above
        return self._handle(route, connection, frame)

    def _new_route(self, handler: AnyHandler | None, version: int) -> _Route | None:
        if handler is None or version not in stable_versions(handler.api_key):
            return None
        route = self._routes[int(handler.api_key), version] = _Route(handler, version)
        return route

    def _later_plain(
        self, route: _Route, connection: ConnectionInfo, frame: memoryview, plain: Promise[Reply | None]
    ) -> Promise[Reply]:
        """The promise of what `plain` comes to; if that is nothing, the request goes the ordinary way then."""
        result: Promise[Reply] = Promise()

        def settle(_settled: Promise[Reply | None]) -> None:
            reply: Reply | Promise[Reply] | None
            try:
                reply = plain.result()
                if reply is None:
                    reply = self._handle(route, connection, frame)
            except Exception as error:  # noqa: BLE001 - logged by _closing; costs one connection
                reply = _closing(connection, error)
            if isinstance(reply, Promise):
                result.follow(reply)
            else:
                result.resolve(reply)

        result.on_abandoned(plain.abandon)
        plain.on_done(settle)
        return result

    def _handle(self, route: _Route, connection: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        """Answer a frame the ordinary way: decode, handle, encode."""
        is_large = len(frame) > LARGE_FRAME_BYTES and route.key != ApiKey.PRODUCE
        if is_large or connection.id in self._lane.queues:
            return self._lane.put(connection.id, lambda: self._in_turns(route, connection, frame))
        context, request = self._read(route, connection, frame)
        try:
            answer: object = route.handler.handle(context, request)
            if type(answer) is CoroutineType:
                if route.handler.keeps_order:
                    work = partial(self._worked_out, route, context, request, answer)
                    return self._lane.put(connection.id, work, answer.close)
                reply = flatten(spawn(_sliced(route, context, request, answer)))
                return reply.result() if reply.done else reply
        except Exception as error:  # noqa: BLE001 - answered or logged by _failed
            return _failed(route, context, request, error)
        if not isinstance(answer, Promise):
            return _encode(route, context, answer)  # type: ignore[arg-type] # as in `call`
        return _later(route, context, request, answer)

    def _read(self, route: _Route, connection: ConnectionInfo, frame: memoryview) -> tuple[RequestContext, Message]:
        _, version, correlation_id, client_id_size = _HEADER_START.unpack_from(frame)
        client_id, body_at = _client_id(frame, client_id_size, route)
        context = RequestContext(
            route.key, version, correlation_id, client_id, connection, ANONYMOUS, self._authorizer, self._turns
        )
        handler = route.handler
        # Like Kafka, leave bytes behind the body alone: librdkafka sends some with Metadata 13.
        request, _ = handler.request.decode_prefix(frame, version, body_at, Budget(handler.max_objects))
        return context, request

    async def _in_turns(self, route: _Route, connection: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        """Answer a large frame, with turns for others between the steps; never raises."""
        try:
            await self._turns.next()
            context, request = self._read(route, connection, frame)
            await self._turns.next()
            try:
                handled = route.handler.handle(context, request)
            except Exception as error:  # noqa: BLE001 - answered or logged by _failed
                return _failed(route, context, request, error)
            return await self._worked_out(route, context, request, handled)
        except Exception as error:  # noqa: BLE001 - logged by _closing; costs one connection
            return _closing(connection, error)

    async def _worked_out(
        self, route: _Route, context: RequestContext, request: Message, handled: object
    ) -> Reply | Promise[Reply]:
        """The reply for what a handler returned, be it sliced or not; never raises."""
        try:
            if is_sliced(handled):
                return await _sliced(route, context, request, handled)
            answer = cast("Answer", handled)
            if isinstance(answer, Promise):
                return _later(route, context, request, answer)
            await self._turns.next()
            return _encode(route, context, answer)
        except Exception as error:  # noqa: BLE001 - logged by _closing; costs one connection
            return _closing(context.connection, error)


class _Route:
    """One version of an API, and what a request of it needs in every frame."""

    __slots__ = ("handler", "header_version", "key", "plain", "plain_run", "plain_uniform", "reply_header_end")

    def __init__(self, handler: AnyHandler, version: int) -> None:
        self.handler = handler
        self.key = handler.api_key
        self.header_version = request_header_version(self.key, version)
        self.reply_header_end = b"\x00" if response_header_version(self.key, version) else b""
        """No tagged fields, where the reply's header may have some."""
        is_plain = version >= handler.plain_from
        self.plain = handler.plain if is_plain else None
        """Not for headers without a client id."""
        self.plain_run = handler.plain_run if is_plain else None
        self.plain_uniform = handler.plain_uniform if is_plain else None
        """Only for headers that may have tagged fields, both."""


def _alike(frames: Sequence[memoryview], body_at: int) -> Iterator[tuple[int, memoryview]]:
    """The frames up to one whose header is not like the first one's, with their correlation ids."""
    unpack = _HEADER_START.unpack_from
    api_key, version, _, client_id_size = unpack(frames[0])
    for frame in frames:
        if len(frame) < body_at or frame[body_at - 1]:
            return
        key, its_version, correlation_id, size = unpack(frame)
        if key != api_key or its_version != version or size != client_id_size:
            return
        yield correlation_id, frame


def _client_id(frame: memoryview, size: int, route: _Route) -> tuple[str | None, int]:
    """The client id, and where the body begins. Nearly every header is a string and at most an empty tag section."""
    if size >= 0:
        end = _CLIENT_ID_AT + size
        body_at = end + route.header_version - 1
        if body_at < len(frame) and (body_at == end or not frame[end]):
            try:
                return str(frame[_CLIENT_ID_AT:end], "utf-8"), body_at
            except UnicodeDecodeError:
                pass
    header, body_at = RequestHeader.decode_prefix(frame, route.header_version)
    return header.client_id, body_at


def _served_versions(key: ApiKey) -> tuple[int, int]:
    versions = stable_versions(key)
    return versions[0], versions[-1]


def listed_versions(key: ApiKey) -> tuple[int, int]:
    """The range that ApiVersions shows for an API."""
    lowest, highest = _served_versions(key)
    return (PRODUCE_LISTED_FROM if key == ApiKey.PRODUCE else lowest), highest


def unsupported_api_versions(correlation_id: int) -> Reply:
    """The answer to a version of ApiVersions from the future: version 0, and the range to try again with (KIP-511)."""
    lowest, highest = _served_versions(ApiKey.API_VERSIONS)
    response = ApiVersionsResponse(
        error_code=ErrorCode.UNSUPPORTED_VERSION,
        api_keys=[ApiVersion(api_key=ApiKey.API_VERSIONS, min_version=lowest, max_version=highest)],
    )
    return [_CORRELATION_ID.pack(correlation_id) + response.encode(0)]


def _closing(connection: ConnectionInfo, error: Exception) -> Outcome:
    if isinstance(error, ProtocolError):
        _log.warning("closing the connection from %s: %s", connection.peer_host, error)
    else:
        _log.error(
            "closing the connection from %s: its request failed unexpectedly", connection.peer_host, exc_info=error
        )
    return Outcome.CLOSE


async def _sliced(
    route: _Route, context: RequestContext, request: Message, handled: Sliced[Message]
) -> Reply | Promise[Reply]:
    """The reply for what a sliced handler comes to, which may be large: it is written in slices, too."""
    try:
        answer = await handled
        if not isinstance(answer, Promise):
            return await _encode_in_slices(route, context, answer)
    except Exception as error:  # noqa: BLE001 - answered or logged by _failed
        return _failed(route, context, request, error)

    async def encode_later() -> Reply:
        try:
            return await _encode_in_slices(route, context, await answer)
        except Exception as error:  # noqa: BLE001 - answered or logged by _failed
            return _failed(route, context, request, error)

    reply = spawn(encode_later())
    if not reply.done:
        reply.on_abandoned(answer.abandon)
    return reply


async def _encode_in_slices(route: _Route, context: RequestContext, response: Message | None) -> Reply:
    if response is None:
        return Outcome.NO_REPLY
    header = _CORRELATION_ID.pack(context.correlation_id) + route.reply_header_end
    chunks: list[Chunk] = []
    slices = context.slices()
    for number, _ in enumerate(response.encode_in_steps(context.api_version, header, chunks)):
        if number % ENCODE_AT_ONCE == ENCODE_AT_ONCE - 1:
            await slices.pause()
    return chunks  # type: ignore[return-value] # what is sent as it is


def _later(
    route: _Route, context: RequestContext, request: Message, answer: Promise[Message] | Promise[Message | None]
) -> Reply | Promise[Reply]:
    reply: Promise[Reply] = Promise()

    def settle(settled: Promise[Message | None]) -> None:
        try:
            reply.resolve(_encode(route, context, settled.result()))
        except Exception as error:  # noqa: BLE001 - answered or logged by _failed
            reply.resolve(_failed(route, context, request, error))

    reply.on_abandoned(answer.abandon)
    answer.on_done(settle)  # type: ignore[arg-type] # one of both; here and below a cast would cost a call
    return reply.result() if reply.done else reply


def _encode(route: _Route, context: RequestContext, response: Message | None) -> Reply:
    if response is None:
        return Outcome.NO_REPLY
    header = _CORRELATION_ID.pack(context.correlation_id) + route.reply_header_end
    return response.encode_chunks(context.api_version, header)  # type: ignore[return-value] # what is sent as it is


def _failed(route: _Route, context: RequestContext, request: Message, error: Exception) -> Reply:
    """The reply for a handler that raised: its API's error response, or a closed connection."""
    if isinstance(error, CloseConnection):
        return Outcome.CLOSE
    if not isinstance(error, KafkaError):
        _log.error("%s of %s failed unexpectedly", context.api_key.name, context.client_id, exc_info=error)
        error = KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, _UNEXPECTED)
    try:
        return _encode(route, context, error_response(route.handler, context.api_version, request, error))
    except CloseConnection:
        return Outcome.CLOSE
    except Exception:  # noqa: BLE001 - logged with its traceback; costs one connection
        _log.exception("closing the connection: %s has no error response", context.api_key.name)
        return Outcome.CLOSE


def error_response(handler: AnyHandler, version: int, request: Message, error: KafkaError) -> Message:
    """The response that tells of `error`: by the handler's own `on_error`, else the top-level error code."""
    if handler.on_error is not None:
        return handler.on_error(request, version, error)
    response = response_class(handler.api_key)()
    response.error_code = error.code  # type: ignore[attr-defined] # APIs without it declare on_error; _failed catches
    if hasattr(response, "error_message"):
        response.error_message = error.message or error.code.message
    return response
