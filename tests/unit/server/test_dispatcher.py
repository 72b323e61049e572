"""From frames to replies: what is answered, and what costs the connection."""

from __future__ import annotations

import struct

import pytest

from odradek.ports import Promise, Turns
from odradek.ports.network import ConnectionInfo, Outcome, Reply
from odradek.security.acl import AllowAll, Operation, ResourceType
from odradek.server.api_versions import ApiVersionsHandler, Features
from odradek.server.context import RequestContext
from odradek.server.dispatcher import Dispatcher
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import AnyHandler, CloseConnection, Handler, erase
from odradek.server.lane import Lane
from odradek.wire.apis import ApiKey
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse
from odradek.wire.messages.produce import ProduceRequest, ProduceResponse
from odradek.wire.schema import Message
from tests.unit.fakes import FakeWorld

CONNECTION = ConnectionInfo("1", "PLAINTEXT", "PLAINTEXT", "127.0.0.1", 5000, "127.0.0.1", 9092)
HeartbeatAnswer = HeartbeatResponse | Promise[HeartbeatResponse] | Promise[HeartbeatResponse | None] | None


def frame(request: Message, version: int, *, flexible: bool, api_key: int | None = None) -> memoryview:
    key = request.API_KEY if api_key is None else api_key
    assert key is not None
    header = struct.pack(">hhih", key, version, 99, 2) + b"me" + (b"\x00" if flexible else b"")
    return memoryview(bytearray(header + request.encode(version)))


def dispatcher(*handlers: AnyHandler) -> Dispatcher:
    features = Features({"group.version": (0, 1), "metadata.version": (7, 33)}, {"metadata.version": 33}, 5)
    versions = ApiVersionsHandler([each.api_key for each in handlers], lambda: features, "cluster", 1).handler()
    world = FakeWorld()
    return Dispatcher(HandlerTable([*handlers, erase(versions)]), AllowAll(), Turns(world, world), Lane())


def heartbeats(answer: HeartbeatAnswer | Exception) -> Dispatcher:
    def handle(context: RequestContext, request: HeartbeatRequest) -> HeartbeatAnswer:
        assert (context.client_id, context.correlation_id, context.listener) == ("me", 99, "PLAINTEXT")
        assert request.group_id == "g"
        if isinstance(answer, Exception):
            raise answer
        return answer

    return dispatcher(erase(Handler(HeartbeatRequest, handle, Operation.READ, ResourceType.GROUP)))


def sent(reply: Reply | Promise[Reply]) -> bytes:
    settled = reply.result() if isinstance(reply, Promise) else reply
    assert not isinstance(settled, Outcome)
    return b"".join(bytes(chunk) for chunk in settled if isinstance(chunk, bytes | bytearray | memoryview))


HEARTBEAT = HeartbeatRequest(group_id="g", member_id="m")


@pytest.mark.parametrize(("version", "flexible"), [(0, False), (3, False), (4, True)])
def test_a_response_carries_the_correlation_id_and_its_versions_header(version: int, flexible: bool) -> None:
    response = HeartbeatResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS)
    reply = sent(heartbeats(response).handle(CONNECTION, frame(HEARTBEAT, version, flexible=flexible)))
    header = struct.pack(">i", 99) + (b"\x00" if flexible else b"")
    assert reply == header + response.encode(version)


def test_a_promised_response_is_sent_when_it_is_there() -> None:
    promise: Promise[HeartbeatResponse] = Promise()
    reply = heartbeats(promise).handle(CONNECTION, frame(HEARTBEAT, 4, flexible=True))
    assert isinstance(reply, Promise)
    assert not reply.done
    promise.resolve(HeartbeatResponse())
    assert sent(reply) == struct.pack(">i", 99) + b"\x00" + HeartbeatResponse().encode(4)


@pytest.mark.parametrize("promised", [False, True])
def test_an_error_becomes_the_apis_error_response(promised: bool) -> None:
    error = KafkaError(ErrorCode.NOT_COORDINATOR)
    answer = Promise[HeartbeatResponse].failed(error) if promised else error
    reply = sent(heartbeats(answer).handle(CONNECTION, frame(HEARTBEAT, 4, flexible=True)))
    assert HeartbeatResponse.decode(reply[5:], 4).error_code == ErrorCode.NOT_COORDINATOR


def test_an_unforeseen_failure_is_unknown_server_error() -> None:
    reply = sent(heartbeats(RuntimeError("bug")).handle(CONNECTION, frame(HEARTBEAT, 4, flexible=True)))
    assert HeartbeatResponse.decode(reply[5:], 4).error_code == ErrorCode.UNKNOWN_SERVER_ERROR


def test_a_handler_says_how_its_error_response_looks() -> None:
    def fail(_context: RequestContext, _request: ListOffsetsRequest) -> ListOffsetsResponse:
        raise KafkaError(ErrorCode.INVALID_REQUEST)

    def on_error(_request: ListOffsetsRequest, _version: int, error: KafkaError) -> ListOffsetsResponse:
        return ListOffsetsResponse(throttle_time_ms=error.code)

    handler = Handler(ListOffsetsRequest, fail, Operation.DESCRIBE, ResourceType.TOPIC, on_error)
    reply = sent(dispatcher(erase(handler)).handle(CONNECTION, frame(ListOffsetsRequest(), 7, flexible=True)))
    assert ListOffsetsResponse.decode(reply[5:], 7).throttle_time_ms == ErrorCode.INVALID_REQUEST


def test_an_error_without_a_place_in_the_response_closes() -> None:
    def fail(_context: RequestContext, _request: ListOffsetsRequest) -> ListOffsetsResponse:
        raise KafkaError(ErrorCode.INVALID_REQUEST)

    handler = Handler(ListOffsetsRequest, fail, Operation.DESCRIBE, ResourceType.TOPIC)
    served = dispatcher(erase(handler))
    assert served.handle(CONNECTION, frame(ListOffsetsRequest(), 7, flexible=True)) is Outcome.CLOSE


def test_no_response_is_no_reply_and_a_handler_may_close() -> None:
    request = frame(HEARTBEAT, 4, flexible=True)
    assert heartbeats(None).handle(CONNECTION, request) is Outcome.NO_REPLY
    assert heartbeats(CloseConnection()).handle(CONNECTION, request) is Outcome.CLOSE


def test_apis_and_versions_that_are_not_served_close() -> None:
    served = heartbeats(HeartbeatResponse())
    assert served.handle(CONNECTION, frame(HEARTBEAT, 4, flexible=True, api_key=999)) is Outcome.CLOSE
    assert served.handle(CONNECTION, frame(FindCoordinatorRequest(), 4, flexible=True)) is Outcome.CLOSE
    too_new = bytearray(frame(HEARTBEAT, 4, flexible=True))
    too_new[2:4] = struct.pack(">h", 5)
    assert served.handle(CONNECTION, memoryview(too_new)) is Outcome.CLOSE


def test_bytes_behind_a_request_are_left_alone() -> None:
    longer = memoryview(bytearray(frame(HEARTBEAT, 4, flexible=True)) + b"more")
    assert sent(heartbeats(HeartbeatResponse()).handle(CONNECTION, longer))


def test_every_cut_of_a_frame_closes() -> None:
    whole = frame(HEARTBEAT, 4, flexible=True)
    served = heartbeats(HeartbeatResponse())
    for size in range(len(whole)):
        assert served.handle(CONNECTION, whole[:size]) is Outcome.CLOSE, size


def api_versions(version: int, **fields: str | int | None) -> ApiVersionsResponse:
    request = ApiVersionsRequest(client_software_name="test", client_software_version="1.0")
    for name, value in fields.items():
        setattr(request, name, value)

    def produce(_context: RequestContext, _request: ProduceRequest) -> ProduceResponse:
        return ProduceResponse()

    served = dispatcher(erase(Handler(ProduceRequest, produce, Operation.WRITE, ResourceType.TOPIC)))
    reply = sent(served.handle(CONNECTION, frame(request, version, flexible=version >= 3)))
    return ApiVersionsResponse.decode(reply[4:], version)


def test_api_versions_lists_what_is_served_and_produce_from_zero() -> None:
    listed = {entry.api_key: (entry.min_version, entry.max_version) for entry in api_versions(4).api_keys}
    assert listed == {ApiKey.PRODUCE: (0, 13), ApiKey.API_VERSIONS: (0, 5)}


def test_features_with_minimum_zero_are_told_from_version_4_on() -> None:
    assert [feature.name for feature in api_versions(3).supported_features] == ["metadata.version"]
    response = api_versions(4)
    assert [feature.name for feature in response.supported_features] == ["group.version", "metadata.version"]
    assert response.finalized_features_epoch == 5
    assert [(feature.name, feature.max_version_level) for feature in response.finalized_features] == [
        ("metadata.version", 33)
    ]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, ErrorCode.NONE),
        ({"client_software_name": "-x"}, ErrorCode.INVALID_REQUEST),
        ({"client_software_version": ""}, ErrorCode.INVALID_REQUEST),
        ({"cluster_id": "cluster", "node_id": 1}, ErrorCode.NONE),
        ({"cluster_id": "other", "node_id": 1}, ErrorCode.REBOOTSTRAP_REQUIRED),
        ({"cluster_id": "cluster", "node_id": 2}, ErrorCode.REBOOTSTRAP_REQUIRED),
        ({"cluster_id": "cluster"}, ErrorCode.INVALID_REQUEST),
        ({"node_id": 1}, ErrorCode.INVALID_REQUEST),
    ],
)
def test_api_versions_checks_who_asks_for_whom(fields: dict[str, str | int | None], code: ErrorCode) -> None:
    assert api_versions(5, **fields).error_code == code


def test_a_version_of_api_versions_from_the_future_is_told_the_range() -> None:
    request = bytearray(frame(ApiVersionsRequest(), 4, flexible=True))
    request[2:4] = struct.pack(">h", 99)
    reply = sent(dispatcher().handle(CONNECTION, memoryview(request)))
    response = ApiVersionsResponse.decode(reply[4:], 0)
    assert response.error_code == ErrorCode.UNSUPPORTED_VERSION
    assert [(entry.api_key, entry.min_version, entry.max_version) for entry in response.api_keys] == [(18, 0, 5)]


def test_the_handler_hears_that_nobody_waits_for_its_response() -> None:
    promise: Promise[HeartbeatResponse] = Promise()
    abandoned: list[bool] = []
    promise.on_abandoned(lambda: abandoned.append(True))
    reply = heartbeats(promise).handle(CONNECTION, frame(HEARTBEAT, 4, flexible=True))
    assert isinstance(reply, Promise)
    reply.abandon()
    assert abandoned == [True]
