"""A broker's way to a controller in the same process: the same handlers, without bytes in between."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar, cast

import structlog

from odradek.ports import Promise
from odradek.ports.network import ConnectionInfo
from odradek.security.acl import AllowAll
from odradek.security.principal import ANONYMOUS
from odradek.server.context import RequestContext
from odradek.server.dispatcher import error_response
from odradek.server.handlers import AnyHandler
from odradek.wire.apis import ApiKey, valid_versions
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.schema import Message

log = structlog.get_logger(__name__)

Resp = TypeVar("Resp", bound=Message)

IN_PROCESS = ConnectionInfo(
    id="in-process",
    listener="",
    security_protocol="PLAINTEXT",
    peer_host="127.0.0.1",
    peer_port=0,
    local_host="127.0.0.1",
    local_port=0,
)


class LocalControllerClient:
    """Sends requests to `handlers`. An error that a handler raises becomes its API's error response, as on the wire."""

    def __init__(self, handlers: Iterable[AnyHandler]) -> None:
        self._handlers = {handler.api_key: handler for handler in handlers}

    def send(self, request: Message, response: type[Resp], context: RequestContext | None = None) -> Promise[Resp]:
        """The answer of type `response`; `context` is that of the client for whom the broker forwards, if any."""
        key = ApiKey(cast("int", request.API_KEY))
        handler = self._handlers[key]
        own = context or RequestContext(key, max(valid_versions(key)), 0, None, IN_PROCESS, ANONYMOUS, AllowAll())
        answer: Promise[Resp] = Promise()

        def settle(settled: Promise[Message | None]) -> None:
            error = settled.error
            if error is None:
                given = settled.result()
                assert isinstance(given, response)
                answer.resolve(given)
                return
            if not isinstance(error, KafkaError):
                log.error("controller request failed unexpectedly", api=key.name, exc_info=error)
                error = KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)
            answer.resolve(cast("Resp", error_response(handler, own.api_version, request, error)))

        try:
            given = handler.handle(own, request)
        except KafkaError as error:
            given = Promise.failed(error)
        pending = given if isinstance(given, Promise) else Promise.of(given)
        cast("Promise[Message | None]", pending).on_done(settle)
        return answer
