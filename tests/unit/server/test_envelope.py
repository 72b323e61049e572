"""A client's request in an envelope, there and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from odradek.ports import Promise, Turns
from odradek.ports.network import ConnectionInfo
from odradek.security.acl import AllowAll, Authorizer, Operation, ResourceType
from odradek.security.principal import ANONYMOUS, Principal
from odradek.server.context import RequestContext
from odradek.server.envelope import EnvelopeHandler, opened, principal_bytes, principal_from, sealed
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import CloseConnection, Handler, call, erase
from odradek.wire.apis import ApiKey
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest
from odradek.wire.messages.envelope import EnvelopeRequest, EnvelopeResponse
from odradek.wire.messages.list_groups import ListGroupsRequest
from odradek.wire.messages.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse
from odradek.wire.schema import Message
from tests.unit.fakes import FakeWorld

CONTROLLER_SIDE = ConnectionInfo("2", "CONTROLLER", "PLAINTEXT", "10.0.0.2", 4000, "10.0.0.3", 9093)
ALICE = Principal("User", "alice")


class DenyAll(AllowAll):
    """Nobody may do anything."""

    def allows(self, *_asked: object) -> bool:
        return False


def context_of(
    request: Message, version: int, *, host: str = "192.168.7.9", principal: Principal = ALICE
) -> RequestContext:
    connection = ConnectionInfo("1", "PLAINTEXT", "PLAINTEXT", host, 5000, "10.0.0.2", 9092)
    return _context(cast("int", request.API_KEY), version, connection, principal, AllowAll())


def _context(
    key: int, version: int, connection: ConnectionInfo, principal: Principal, authorizer: Authorizer
) -> RequestContext:
    world = FakeWorld()
    return RequestContext(ApiKey(key), version, 77, "client", connection, principal, authorizer, Turns(world, world))


class Controller:
    """Handlers behind an envelope; remembers what they were called with."""

    def __init__(self, answer: Message | KafkaError | Promise[Message]) -> None:
        self.seen: list[tuple[RequestContext, Message]] = []
        self.answer = answer

        def handle(context: RequestContext, request: Message) -> Message | Promise[Message]:
            self.seen.append((context, request))
            if isinstance(self.answer, KafkaError):
                raise self.answer
            return self.answer

        handlers = [
            Handler(each, handle, Operation.ALTER, ResourceType.CLUSTER)
            for each in (UnregisterBrokerRequest, ListGroupsRequest, CreateTopicsRequest)
        ]
        self._envelopes = EnvelopeHandler(HandlerTable([erase(each) for each in handlers])).handler()

    def ask(self, envelope: EnvelopeRequest, authorizer: Authorizer | None = None) -> Promise[EnvelopeResponse]:
        context = _context(ApiKey.ENVELOPE, 0, CONTROLLER_SIDE, ANONYMOUS, authorizer or AllowAll())
        return cast("Promise[EnvelopeResponse]", call(self._envelopes, context, envelope))


UNREGISTER = UnregisterBrokerRequest(broker_id=5)


def test_the_controller_sees_the_clients_request_and_the_client_gets_the_controllers_answer() -> None:
    controller = Controller(UnregisterBrokerResponse(error_message="done"))
    context = context_of(UNREGISTER, 0)
    answer = controller.ask(sealed(context, UNREGISTER)).result()
    ((seen, request),) = controller.seen
    assert request == UNREGISTER
    assert (seen.api_key, seen.api_version, seen.client_id) == (ApiKey.UNREGISTER_BROKER, 0, "client")
    assert (seen.principal, seen.client_host, seen.listener) == (ALICE, "192.168.7.9", "CONTROLLER")
    assert opened(context, answer, UnregisterBrokerResponse).error_message == "done"


def test_the_bytes_are_those_of_kafkas_principal_builder_and_addresses() -> None:
    principal = b"\x00\x00" + b"\x05User" + b"\x06alice" + b"\x00" + b"\x00"
    assert principal_bytes(ALICE) == principal
    assert principal_from(principal) == ALICE
    envelope = sealed(context_of(UNREGISTER, 0), UNREGISTER)
    assert envelope.request_principal == principal
    assert envelope.client_host_address == bytes((192, 168, 7, 9))
    assert envelope.request_data == b"\x00\x40\x00\x00" + b"\x00\x00\x00\x4d" + b"\x00\x06client" + b"\x00" + (
        b"\x00\x00\x00\x05\x00"
    )
    assert sealed(context_of(UNREGISTER, 0, host="::1"), UNREGISTER).client_host_address == bytes(15) + b"\x01"


def test_an_answer_that_comes_later_is_waited_for() -> None:
    later: Promise[Message] = Promise()
    context = context_of(UNREGISTER, 0)
    answer = Controller(later).ask(sealed(context, UNREGISTER))
    assert not answer.done
    later.resolve(UnregisterBrokerResponse(error_message="late"))
    assert opened(context, answer.result(), UnregisterBrokerResponse).error_message == "late"


def test_the_clients_error_is_in_the_clients_answer() -> None:
    context = context_of(UNREGISTER, 0)
    error = KafkaError(ErrorCode.BROKER_ID_NOT_REGISTERED, "nobody")
    answer = Controller(error).ask(sealed(context, UNREGISTER)).result()
    assert answer.error_code == ErrorCode.NONE
    response = opened(context, answer, UnregisterBrokerResponse)
    assert (response.error_code, response.error_message) == (ErrorCode.BROKER_ID_NOT_REGISTERED, "nobody")


def test_whoever_does_not_lead_says_so_on_the_envelope() -> None:
    context = context_of(UNREGISTER, 0)
    answer = Controller(KafkaError(ErrorCode.NOT_CONTROLLER)).ask(sealed(context, UNREGISTER))
    with pytest.raises(KafkaError) as caught:
        answer.result()
    assert caught.value.code is ErrorCode.NOT_CONTROLLER
    with pytest.raises(KafkaError) as opening:
        opened(context, EnvelopeResponse(error_code=ErrorCode.NOT_CONTROLLER), UnregisterBrokerResponse)
    assert opening.value.code is ErrorCode.NOT_CONTROLLER


def changed(**fields: object) -> EnvelopeRequest:
    envelope = sealed(context_of(UNREGISTER, 0), UNREGISTER)
    for name, value in fields.items():
        setattr(envelope, name, value)
    return envelope


GROUPS = ListGroupsRequest()
CUT_BODY = bytes(4) + b"\xff\xff\x00\x00"


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (lambda: changed(client_host_address=bytes(5)), ErrorCode.INVALID_REQUEST),
        (lambda: changed(request_principal=None), ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE),
        (lambda: changed(request_principal=b"\x00\x01\x00"), ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE),
        (lambda: changed(request_principal=b"\x00\x00\x7f"), ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE),
        (lambda: changed(request_data=b"\x00"), ErrorCode.UNSUPPORTED_VERSION),
        (lambda: changed(request_data=b"\x7f\x00\x00\x00"), ErrorCode.UNSUPPORTED_VERSION),
        (lambda: changed(request_data=b"\x00\x40\x00\x09" + bytes(12)), ErrorCode.UNSUPPORTED_VERSION),
        (lambda: changed(request_data=b"\x00\x40\x00\x00" + CUT_BODY), ErrorCode.UNSUPPORTED_VERSION),
        (lambda: sealed(context_of(GROUPS, 5), GROUPS), ErrorCode.INVALID_REQUEST),
    ],
    ids=["address", "no principal", "version", "principal", "short", "api", "api version", "body", "not forwardable"],
)  # fmt: skip
def test_what_is_wrong_with_the_envelope(envelope: Callable[[], EnvelopeRequest], code: ErrorCode) -> None:
    controller = Controller(UnregisterBrokerResponse())
    with pytest.raises(KafkaError) as caught:
        controller.ask(envelope())
    assert caught.value.code is code
    assert controller.seen == []


def test_only_brokers_may_send_envelopes() -> None:
    controller = Controller(UnregisterBrokerResponse())
    with pytest.raises(KafkaError) as caught:
        controller.ask(changed(), DenyAll())
    assert caught.value.code is ErrorCode.CLUSTER_AUTHORIZATION_FAILED
    assert controller.seen == []


def test_errors_between_brokers_and_controllers_are_no_business_of_the_client() -> None:
    context = context_of(UNREGISTER, 0)
    refused = EnvelopeResponse(error_code=ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaError) as caught:
        opened(context, refused, UnregisterBrokerResponse)
    assert caught.value.code is ErrorCode.UNKNOWN_SERVER_ERROR
    with pytest.raises(CloseConnection):
        opened(context, EnvelopeResponse(error_code=ErrorCode.UNSUPPORTED_VERSION), UnregisterBrokerResponse)


def test_requests_with_millions_of_elements_are_refused_in_an_envelope_too() -> None:
    many = CreateTopicsRequest(topics=[CreatableTopic(name="t", num_partitions=1, replication_factor=1)] * 70_000)
    controller = Controller(UnregisterBrokerResponse())
    with pytest.raises(KafkaError) as caught:
        controller.ask(sealed(context_of(many, 7), many))
    assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION


def test_an_answer_to_another_request_is_not_taken_for_the_clients() -> None:
    context = context_of(UNREGISTER, 0)
    other = b"\x00\x00\x00\x4e\x00" + UnregisterBrokerResponse().encode(0)
    with pytest.raises(KafkaError) as caught:
        opened(context, EnvelopeResponse(response_data=other), UnregisterBrokerResponse)
    assert caught.value.code is ErrorCode.UNKNOWN_SERVER_ERROR
