"""Envelope (58): a client's request that a broker hands on to the controller, and the answer (KIP-590)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar, cast

from odradek.ports import Promise
from odradek.security.acl import Operation, ResourceType
from odradek.security.principal import Principal
from odradek.server.cluster import CLUSTER_NAME
from odradek.server.context import RequestContext
from odradek.server.dispatcher import error_response
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import AnyHandler, CloseConnection, Handler, call, erase
from odradek.wire.apis import ApiKey, request_header_version, response_header_version, stable_versions
from odradek.wire.budget import Budget
from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.messages.default_principal_data import DefaultPrincipalData
from odradek.wire.messages.envelope import EnvelopeRequest, EnvelopeResponse
from odradek.wire.messages.headers import RequestHeader, ResponseHeader
from odradek.wire.schema import Message

Resp = TypeVar("Resp", bound=Message)

FORWARDABLE = frozenset(
    {
        ApiKey.CREATE_TOPICS,
        ApiKey.DELETE_TOPICS,
        ApiKey.CREATE_ACLS,
        ApiKey.DELETE_ACLS,
        ApiKey.ALTER_CONFIGS,
        ApiKey.CREATE_PARTITIONS,
        ApiKey.CREATE_DELEGATION_TOKEN,
        ApiKey.RENEW_DELEGATION_TOKEN,
        ApiKey.EXPIRE_DELEGATION_TOKEN,
        ApiKey.ELECT_LEADERS,
        ApiKey.INCREMENTAL_ALTER_CONFIGS,
        ApiKey.ALTER_PARTITION_REASSIGNMENTS,
        ApiKey.LIST_PARTITION_REASSIGNMENTS,
        ApiKey.ALTER_CLIENT_QUOTAS,
        ApiKey.ALTER_USER_SCRAM_CREDENTIALS,
        ApiKey.DESCRIBE_QUORUM,
        ApiKey.UPDATE_FEATURES,
        ApiKey.UNREGISTER_BROKER,
        ApiKey.ALLOCATE_PRODUCER_IDS,
        ApiKey.ADD_RAFT_VOTER,
        ApiKey.REMOVE_RAFT_VOTER,
        ApiKey.UNREGISTER_CONTROLLER,
    }
)
"""What may be in an envelope; the rest is the broker's own business."""

_PRINCIPAL_VERSION = 0
_VERSION_BYTES = 2
_KEY_AND_VERSION_BYTES = 4
_FAMILIES = {4: socket.AF_INET, 16: socket.AF_INET6}
_UNKNOWN_ADDRESS = bytes(4)


def sealed(context: RequestContext, request: Message) -> EnvelopeRequest:
    """A client's request with its header, who sent it and from where."""
    key, version = context.api_key, context.api_version
    header = RequestHeader(
        request_api_key=key,
        request_api_version=version,
        correlation_id=context.correlation_id,
        client_id=context.client_id,
    )
    return EnvelopeRequest(
        request_data=header.encode(request_header_version(key, version)) + request.encode(version),
        request_principal=principal_bytes(context.principal),
        client_host_address=_address_bytes(context.client_host),
    )


def opened(context: RequestContext, envelope: EnvelopeResponse, response: type[Resp]) -> Resp:
    """The answer to the client's request.

    Raises KafkaError NOT_CONTROLLER where the envelope came to another node than the active controller, and
    UNKNOWN_SERVER_ERROR for what is between brokers and controllers only and no business of the client;
    CloseConnection where the controller does not know the request's version.
    """
    code = ErrorCode(envelope.error_code)
    if code is ErrorCode.NOT_CONTROLLER:
        raise KafkaError(code)
    if code is ErrorCode.UNSUPPORTED_VERSION:
        raise CloseConnection
    if code is not ErrorCode.NONE or envelope.response_data is None:
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)
    data = memoryview(envelope.response_data)
    header, body_at = ResponseHeader.decode_prefix(data, response_header_version(context.api_key, context.api_version))
    if header.correlation_id != context.correlation_id:
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)
    return response.decode(data[body_at:], context.api_version)


def principal_bytes(principal: Principal) -> bytes:
    """A principal as Kafka's default builder writes it: a version, and DefaultPrincipalData."""
    data = DefaultPrincipalData(type=principal.kind, name=principal.name, token_authenticated=False)
    return _PRINCIPAL_VERSION.to_bytes(_VERSION_BYTES, "big") + data.encode(_PRINCIPAL_VERSION)


def principal_from(data: bytes | None) -> Principal:
    """Read what `principal_bytes` writes; raises KafkaError PRINCIPAL_DESERIALIZATION_FAILURE."""
    try:
        if data is None or int.from_bytes(data[:_VERSION_BYTES], "big", signed=True) != _PRINCIPAL_VERSION:
            raise ProtocolError("no principal of a version that is known")
        read = DefaultPrincipalData.decode(data[_VERSION_BYTES:], _PRINCIPAL_VERSION)
    except ProtocolError as error:
        raise KafkaError(
            ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE, "Failed to deserialize client principal from envelope"
        ) from error
    return Principal(read.type, read.name)


class EnvelopeHandler:
    """Answers what is in an envelope with the handlers of the controller's own listener."""

    def __init__(self, handlers: HandlerTable) -> None:
        self._handlers = handlers

    def handler(self) -> AnyHandler:
        """The declaration of this API."""
        return erase(Handler(EnvelopeRequest, self._handle, Operation.CLUSTER_ACTION, ResourceType.CLUSTER))

    def _handle(self, context: RequestContext, envelope: EnvelopeRequest) -> Promise[EnvelopeResponse]:
        """Errors of the envelope itself are raised, so that they are not taken for the client's."""
        if not context.allows(Operation.CLUSTER_ACTION, ResourceType.CLUSTER, CLUSTER_NAME):
            raise KafkaError(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
        principal = principal_from(envelope.request_principal)
        connection = replace(context.connection, peer_host=_host_of(envelope.client_host_address))
        inner, handler, body = self._header(envelope.request_data)
        inner_context = replace(
            context,
            api_key=ApiKey(inner.request_api_key),
            api_version=inner.request_api_version,
            correlation_id=inner.correlation_id,
            client_id=inner.client_id,
            connection=connection,
            principal=principal,
        )
        try:
            request, _ = handler.request.decode_prefix(body, inner.request_api_version, 0, Budget(handler.max_objects))
        except ProtocolError as error:
            raise _unreadable(error) from error
        answer: Promise[EnvelopeResponse] = Promise()

        def settle(settled: Promise[Message | None]) -> None:
            try:
                answer.resolve(_reply(inner_context, handler, request, settled.result))
            except Exception as error:  # noqa: BLE001 - answered or logged by the dispatcher
                answer.reject(error)

        _called(handler, inner_context, request).on_done(settle)
        return answer

    def _header(self, data: bytes) -> tuple[RequestHeader, AnyHandler, memoryview]:
        """The header of a request, who answers that, and its body."""
        view = memoryview(data)
        try:
            if len(view) < _KEY_AND_VERSION_BYTES:
                raise ProtocolError("shorter than a request header")
            number, version = (int.from_bytes(view[at : at + 2], "big", signed=True) for at in (0, 2))
            key = ApiKey(number)
            if version not in stable_versions(key):
                raise ProtocolError(f"version {version} of {key.name}")
            header, body_at = RequestHeader.decode_prefix(view, request_header_version(key, version))
        except (ProtocolError, ValueError) as error:
            raise _unreadable(error) from error
        handler = self._handlers.get(key) if key in FORWARDABLE else None
        if handler is None:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST, f"API {key.name} is not enabled or is not eligible for forwarding"
            )
        return header, handler, view[body_at:]


def _called(handler: AnyHandler, context: RequestContext, request: Message) -> Promise[Message | None]:
    try:
        answer = call(handler, context, request)
    except Exception as error:  # noqa: BLE001 - answered by _reply or logged by the dispatcher
        return Promise.failed(error)
    return cast("Promise[Message | None]", answer) if isinstance(answer, Promise) else Promise.of(answer)


def _reply(
    context: RequestContext, handler: AnyHandler, request: Message, result: Callable[[], Message | None]
) -> EnvelopeResponse:
    try:
        response = result()
    except KafkaError as error:
        if error.code is ErrorCode.NOT_CONTROLLER:
            raise  # the broker then looks for the controller again, and the client need not know
        response = error_response(handler, context.api_version, request, error)
    if response is None:
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)
    key, version = context.api_key, context.api_version
    header = ResponseHeader(correlation_id=context.correlation_id).encode(response_header_version(key, version))
    return EnvelopeResponse(response_data=header + response.encode(version))


def _unreadable(error: Exception) -> KafkaError:
    """The broker can tell by the code that the client's request is meant, not its envelope."""
    return KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"Failed to parse the request in the envelope: {error}")


def _address_bytes(host: str) -> bytes:
    """An address in the order of the network: 4 or 16 bytes."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_pton(family, host.partition("%")[0])
        except OSError:
            continue
    return _UNKNOWN_ADDRESS


def _host_of(address: bytes) -> str:
    family = _FAMILIES.get(len(address))
    if family is None:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Failed to parse client address from envelope")
    return socket.inet_ntop(family, address)
