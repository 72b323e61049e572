"""Large requests go one after the other, and let others pass in between."""

from __future__ import annotations

import struct

import pytest

from odradek.ports import Promise, Turns
from odradek.ports.network import ConnectionInfo, Outcome, Reply
from odradek.security.acl import AllowAll, Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.dispatcher import ENCODE_AT_ONCE, Dispatcher
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import MAX_REQUEST_OBJECTS, Handler, erase
from odradek.server.lane import Lane
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.delete_groups import DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse
from odradek.wire.messages.describe_groups import DescribedGroup, DescribeGroupsRequest, DescribeGroupsResponse
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.schema import Message
from tests.unit.fakes import FakeWorld

MANY = [f"group-{number}" for number in range(3000)]
PER_ELEMENT_MS = 1.0


def connection(name: str) -> ConnectionInfo:
    return ConnectionInfo(name, "PLAINTEXT", "PLAINTEXT", "127.0.0.1", 5000, "127.0.0.1", 9092)


class Server:
    """DeleteGroups takes a millisecond for each group, DescribeGroups waits for a promise, Heartbeat is quick."""

    def __init__(self) -> None:
        self.world = FakeWorld()
        self.log: list[str] = []
        self.parked: Promise[DescribeGroupsResponse] = Promise()
        handlers = [
            erase(Handler(DeleteGroupsRequest, self._delete, Operation.DELETE, ResourceType.GROUP, _refused)),
            erase(Handler(DescribeGroupsRequest, self._describe, Operation.DESCRIBE, ResourceType.GROUP)),
            erase(Handler(HeartbeatRequest, self._heartbeat, Operation.READ, ResourceType.GROUP)),
        ]
        self._dispatcher = Dispatcher(HandlerTable(handlers), AllowAll(), Turns(self.world, self.world), Lane())

    async def _delete(self, context: RequestContext, request: DeleteGroupsRequest) -> DeleteGroupsResponse:
        self.log.append(f"{context.connection.id} begins")
        response = DeleteGroupsResponse()
        async for group_id in context.slices().each(request.groups_names):
            if group_id == "refused":
                raise KafkaError(ErrorCode.INVALID_REQUEST)
            self.world.advance_clock(PER_ELEMENT_MS)
            response.results.append(DeletableGroupResult(group_id=group_id))
        self.log.append(f"{context.connection.id} ends")
        return response

    async def _describe(
        self, _context: RequestContext, _request: DescribeGroupsRequest
    ) -> Promise[DescribeGroupsResponse]:
        return self.parked

    def _heartbeat(self, context: RequestContext, _request: HeartbeatRequest) -> HeartbeatResponse:
        self.log.append(f"{context.connection.id} beats")
        return HeartbeatResponse()

    def send(self, sender: str, request: Message, version: int) -> Reply | Promise[Reply]:
        header = struct.pack(">hhih", request.API_KEY, version, 7, -1) + b"\x00"
        return self._dispatcher.handle(connection(sender), memoryview(bytearray(header + request.encode(version))))


def _refused(_request: DeleteGroupsRequest, _version: int, error: KafkaError) -> DeleteGroupsResponse:
    return DeleteGroupsResponse(throttle_time_ms=error.code)


@pytest.fixture
def server() -> Server:
    return Server()


def delete(*groups: str) -> DeleteGroupsRequest:
    return DeleteGroupsRequest(groups_names=list(groups))


def response_of(reply: Reply | Promise[Reply]) -> bytes:
    settled = reply.result() if isinstance(reply, Promise) else reply
    assert not isinstance(settled, Outcome)
    return b"".join(bytes(chunk) for chunk in settled if isinstance(chunk, bytes | bytearray | memoryview))[5:]


def test_others_are_answered_while_a_large_request_goes_on(server: Server) -> None:
    large = server.send("a", delete(*MANY), 2)
    longest_ms, beats = 0.0, 0
    while isinstance(large, Promise) and not large.done:
        assert not isinstance(server.send("b", HeartbeatRequest(), 4), Promise)
        beats += 1
        before_ms = server.world.monotonic_ms()
        server.world.run_one_turn()
        longest_ms = max(longest_ms, server.world.monotonic_ms() - before_ms)
    assert len(DeleteGroupsResponse.decode(response_of(large), 2).results) == len(MANY)
    assert beats > 3000 / 100
    assert longest_ms < 100


def test_what_a_connection_sends_behind_a_large_request_waits_for_it(server: Server) -> None:
    server.send("a", delete(*MANY), 2)
    small = server.send("a", HeartbeatRequest(), 4)
    server.send("b", HeartbeatRequest(), 4)
    server.world.run_soon()
    assert server.log == ["b beats", "a begins", "a ends", "a beats"]
    assert response_of(small) == HeartbeatResponse().encode(4)
    assert not isinstance(server.send("a", HeartbeatRequest(), 4), Promise)


def test_connections_take_turns_with_their_large_requests(server: Server) -> None:
    for sender in ("c", "c", "a", "b"):
        server.send(sender, delete(*MANY), 2)
    server.world.run_soon()
    assert [entry for entry in server.log if entry.endswith("begins")] == [
        "c begins",
        "a begins",
        "b begins",
        "c begins",
    ]


def test_a_large_request_that_waits_for_something_lets_the_next_one_begin(server: Server) -> None:
    parked = server.send("a", DescribeGroupsRequest(groups=MANY), 5)
    server.send("a", delete(*MANY), 2)
    server.world.run_soon()
    assert server.log == ["a begins", "a ends"]
    assert isinstance(parked, Promise)
    assert not parked.done
    server.parked.resolve(DescribeGroupsResponse())
    assert response_of(parked) == DescribeGroupsResponse().encode(5)


def test_large_requests_of_a_connection_that_is_gone_are_not_begun(server: Server) -> None:
    server.send("a", delete(*MANY), 2)
    gone = server.send("b", delete(*MANY), 2)
    assert isinstance(gone, Promise)
    gone.abandon()
    server.world.run_soon()
    assert server.log == ["a begins", "a ends"]


def test_errors_in_a_large_request_are_answered_as_in_any_other(server: Server) -> None:
    refused = server.send("a", delete(*MANY, "refused"), 2)
    malformed = server.send("a", delete(*MANY), 1)
    most = server.send("a", delete(*(["g"] * MAX_REQUEST_OBJECTS)), 2)
    too_many = server.send("b", delete(*(["g"] * (MAX_REQUEST_OBJECTS + 1))), 2)
    server.world.run_soon()
    assert DeleteGroupsResponse.decode(response_of(refused), 2).throttle_time_ms == ErrorCode.INVALID_REQUEST
    assert DeleteGroupsResponse.decode(response_of(most), 2).results
    for closed in (malformed, too_many):
        assert isinstance(closed, Promise)
        assert closed.result() is Outcome.CLOSE


def test_a_large_answer_is_written_with_turns_for_others_in_between(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = server.send("a", DescribeGroupsRequest(groups=["g"]), 5)
    monkeypatch.setattr(server.world, "monotonic_ms", iter(range(1_000_000)).__next__)  # a look takes a millisecond
    answer = DescribeGroupsResponse(groups=[DescribedGroup(group_id=group_id) for group_id in MANY])
    server.parked.resolve(answer)
    turns = 0
    while isinstance(small, Promise) and not small.done:
        server.world.run_one_turn()
        turns += 1
    assert turns == len(MANY) // ENCODE_AT_ONCE
    assert response_of(small) == answer.encode(5)
