"""Requests to a part of this same process, answered by its handlers as if they had come over a connection."""

from __future__ import annotations

from typing import TypeVar, cast

from odradek.node.ports import Ports
from odradek.ports import Promise, Turns
from odradek.ports.network import ConnectionInfo
from odradek.security.acl import AllowAll
from odradek.security.principal import ANONYMOUS
from odradek.server.context import RequestContext
from odradek.server.dispatcher import error_response
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import AnyHandler, call
from odradek.wire.apis import ApiKey, stable_versions
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.schema import Message

Resp = TypeVar("Resp", bound=Message)


class InProcess:
    """Calls handlers; what they raise comes back as the error response of their API, but for NOT_CONTROLLER."""

    def __init__(self, name: str, ports: Ports, handlers: HandlerTable) -> None:
        """`name` is the connection's in logs. What is added to `handlers` later answers, too."""
        self._connection = ConnectionInfo(name, "", "PLAINTEXT", "127.0.0.1", 0, "127.0.0.1", 0)
        self._turns = Turns(ports.clock, ports.scheduler)
        self._handlers = handlers

    def send(self, request: Message, response: type[Resp], context: RequestContext | None = None) -> Promise[Resp]:
        """The answer to a request in the latest version, or to that of a client with its `context`."""
        key = ApiKey(cast("int", request.API_KEY))
        handler = self._handlers.get(key)
        if handler is None:
            raise LookupError(f"{key.name} is not served in this process")
        if context is None:
            context = RequestContext(
                key, stable_versions(key)[-1], 0, None, self._connection, ANONYMOUS, AllowAll(), self._turns
            )
        version = context.api_version
        result: Promise[Resp] = Promise()

        def settle(answer: Promise[Message | None]) -> None:
            try:
                settled = answer.result()
            except KafkaError as error:
                if error.code is ErrorCode.NOT_CONTROLLER:
                    result.reject(error)  # whoever sends then looks for the controller elsewhere
                    return
                settled = error_response(handler, version, request, error)
            except Exception as error:  # noqa: BLE001 - handed to whoever waits, who logs it
                result.reject(error)
                return
            if isinstance(settled, response):
                result.resolve(settled)
            else:
                result.reject(KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR))

        _call(handler, context, request).on_done(settle)
        return result


def _call(handler: AnyHandler, context: RequestContext, request: Message) -> Promise[Message | None]:
    try:
        answer = call(handler, context, request)
    except Exception as error:  # noqa: BLE001 - handed to whoever waits, who logs it
        return Promise.failed(error)
    if isinstance(answer, Promise):
        return cast("Promise[Message | None]", answer)
    return Promise.of(answer)
