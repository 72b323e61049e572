"""The client: negotiation, pipelining, time-outs, and what it says when things go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from odradek.net.client import (
    Client,
    ClientError,
    ConnectError,
    Connection,
    ConnectionLostError,
    ConnectionOptions,
    RequestTimeoutError,
    UnsupportedApiError,
    parse_address,
)
from odradek.net.listener import Listener
from odradek.ports.network import ConnectionInfo, Outcome, Reply
from odradek.ports.promise import Promise
from odradek.wire import ErrorCode, KafkaError, Message
from odradek.wire.apis import ApiKey, request_class, request_header_version, response_header_version, valid_versions
from odradek.wire.messages.api_versions import ApiVersion, ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.messages.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse
from odradek.wire.messages.find_coordinator import Coordinator, FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.headers import RequestHeader, ResponseHeader
from odradek.wire.messages.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse, MetadataResponseBroker
from tests.unit.net.conftest import Run
from tests.unit.net.harness import Node, echo, until

OPTIONS = ConnectionOptions(timeout_ms=2000, connect_timeout_ms=2000)


class FakeBroker:
    """Answers ApiVersions, and everything else with the function of its API."""

    def __init__(self, versions: dict[int, tuple[int, int]]) -> None:
        self.versions = versions
        self.answers: dict[int, Callable[[Message, int], Message | Promise[Message] | Outcome]] = {}
        self.seen: list[tuple[int, int]] = []
        self.client_ids: list[str | None] = []

    def __call__(self, _info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        key, version = int.from_bytes(frame[:2], "big"), int.from_bytes(frame[2:4], "big")
        header, position = RequestHeader.decode_prefix(frame, request_header_version(key, version))
        self.seen.append((key, version))
        self.client_ids.append(header.client_id)
        if key == ApiKey.API_VERSIONS:
            return self._api_versions(header.correlation_id, version)
        request = request_class(key).decode(frame[position:], version)
        answer = self.answers[key](request, version)
        if isinstance(answer, Outcome):
            return answer
        promise = answer if isinstance(answer, Promise) else Promise.of(answer)

        def encode(response: Message) -> Reply:
            head = ResponseHeader(correlation_id=header.correlation_id)
            return [head.encode(response_header_version(key, version)), response.encode(version)]

        return promise.then(encode)

    def _api_versions(self, correlation_id: int, version: int) -> Reply:
        lowest, highest = self.versions[ApiKey.API_VERSIONS]
        head = ResponseHeader(correlation_id=correlation_id).encode(0)
        own = ApiVersion(api_key=ApiKey.API_VERSIONS, min_version=lowest, max_version=highest)
        if not lowest <= version <= highest:
            refusal = ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, api_keys=[own])
            return [head, refusal.encode(0)]
        keys = [
            ApiVersion(api_key=key, min_version=low, max_version=high) for key, (low, high) in self.versions.items()
        ]
        return [head, ApiVersionsResponse(api_keys=keys).encode(version)]


def everything() -> dict[int, tuple[int, int]]:
    return {key: (valid_versions(key).start, valid_versions(key).stop - 1) for key in ApiKey}


async def connect(listener: Listener, options: ConnectionOptions = OPTIONS) -> Connection:
    return await Connection.open("127.0.0.1", listener.port, options)


def test_the_highest_version_that_both_know_is_used(run: Run) -> None:
    broker = FakeBroker(everything() | {ApiKey.LIST_GROUPS: (0, 3)})
    broker.answers[ApiKey.LIST_GROUPS] = lambda _request, _version: ListGroupsResponse(
        groups=[ListedGroup(group_id="g", protocol_type="consumer")]
    )

    async def scenario(node: Node) -> None:
        connection = await connect(node.listen(broker))
        response = await connection.send(ListGroupsRequest(), ListGroupsResponse)
        assert [group.group_id for group in response.groups] == ["g"]
        assert broker.seen[-1] == (ApiKey.LIST_GROUPS, 3)
        assert set(broker.client_ids) == {"odradek"}
        connection.close()

    run(scenario)


def test_an_older_broker_is_asked_again_in_its_own_version_of_api_versions(run: Run) -> None:
    broker = FakeBroker(everything() | {ApiKey.API_VERSIONS: (0, 2)})

    async def scenario(node: Node) -> None:
        connection = await connect(node.listen(broker))
        assert [version for _, version in broker.seen] == [valid_versions(ApiKey.API_VERSIONS).stop - 1, 2]
        assert connection.version(ApiVersionsRequest) == 2
        connection.close()

    run(scenario)


def test_an_api_that_the_broker_lacks_is_named(run: Run) -> None:
    versions = everything()
    del versions[ApiKey.LIST_GROUPS]
    versions[ApiKey.DESCRIBE_GROUPS] = (90, 91)

    async def scenario(node: Node) -> None:
        connection = await connect(node.listen(FakeBroker(versions)))
        with pytest.raises(UnsupportedApiError, match="LIST_GROUPS in versions none"):
            await connection.send(ListGroupsRequest(), ListGroupsResponse)
        with pytest.raises(UnsupportedApiError, match="90 to 91"):
            await connection.send(DescribeGroupsRequest(), DescribeGroupsResponse)
        connection.close()

    run(scenario)


def test_requests_are_sent_without_waiting_and_each_gets_its_own_response(run: Run) -> None:
    waiting: list[tuple[str, Promise[Message]]] = []

    def answer(request: Message, _version: int) -> Promise[Message]:
        assert isinstance(request, ListGroupsRequest)
        waiting.append((request.states_filter[0], Promise()))
        return waiting[-1][1]

    broker = FakeBroker(everything())
    broker.answers[ApiKey.LIST_GROUPS] = answer

    async def scenario(node: Node) -> None:
        connection = await connect(node.listen(broker))
        asking = [
            asyncio.ensure_future(connection.send(ListGroupsRequest(states_filter=[f"s{number}"]), ListGroupsResponse))
            for number in range(20)
        ]
        await until(lambda: len(waiting) == 20)
        for name, promise in reversed(waiting):
            promise.resolve(ListGroupsResponse(groups=[ListedGroup(group_id=name)]))
        for number, task in enumerate(asking):
            assert (await task).groups[0].group_id == f"s{number}"
        connection.close()

    run(scenario)


def test_a_response_of_many_megabytes_arrives_whole(run: Run) -> None:
    broker = FakeBroker(everything())
    broker.answers[ApiKey.LIST_GROUPS] = lambda _request, _version: ListGroupsResponse(
        groups=[ListedGroup(group_id=f"{number}" * 1000) for number in range(3000)]
    )

    async def scenario(node: Node) -> None:
        connection = await connect(node.listen(broker))
        response = await connection.send(ListGroupsRequest(), ListGroupsResponse)
        assert response.groups[-1].group_id == "2999" * 1000
        connection.close()

    run(scenario)


def test_a_time_out_names_the_request_and_the_connection_goes_on(run: Run) -> None:
    pending: list[Promise[Message]] = []

    def answer(_request: Message, _version: int) -> Promise[Message] | Message:
        if not pending:
            pending.append(Promise())
            return pending[0]
        return ListGroupsResponse(groups=[ListedGroup(group_id="second")])

    broker = FakeBroker(everything())
    broker.answers[ApiKey.LIST_GROUPS] = answer

    async def scenario(node: Node) -> None:
        connection = await connect(node.listen(broker))
        with pytest.raises(RequestTimeoutError, match="ListGroupsRequest within 50 ms"):
            await connection.send(ListGroupsRequest(), ListGroupsResponse, timeout_ms=50)
        pending[0].resolve(ListGroupsResponse(groups=[ListedGroup(group_id="too late")]))
        response = await connection.send(ListGroupsRequest(), ListGroupsResponse)
        assert response.groups[0].group_id == "second"
        connection.close()

    run(scenario)


def test_a_closed_connection_fails_every_request_that_waits_and_those_after(run: Run) -> None:
    outcomes: list[Promise[Message] | Outcome] = [Promise(), Outcome.CLOSE]
    broker = FakeBroker(everything())
    broker.answers[ApiKey.LIST_GROUPS] = lambda _request, _version: outcomes.pop(0)

    async def scenario(node: Node) -> None:
        connection = await connect(node.listen(broker))
        first = asyncio.ensure_future(connection.send(ListGroupsRequest(), ListGroupsResponse))
        await until(lambda: len(outcomes) == 1)
        await node.network.stop(0)
        with pytest.raises(ConnectionLostError):
            await first
        assert not connection.is_open
        with pytest.raises(ConnectionLostError):
            await connection.send(ListGroupsRequest(), ListGroupsResponse)

    run(scenario)


def test_a_response_is_known_by_its_id_whatever_else_its_header_says(run: Run) -> None:
    broker = FakeBroker(everything())
    broker.answers[ApiKey.LIST_GROUPS] = lambda _request, _version: ListGroupsResponse(
        groups=[ListedGroup(group_id="g")]
    )
    heads: list[Callable[[bytes], bytes]] = [lambda head: head[:4] + b"\x01\x07\x02hi", lambda head: b"\xff" + head[1:]]

    def answer(info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        reply = broker(info, frame)
        if not isinstance(reply, Promise):
            return reply
        head, *body = reply.result()  # type: ignore[misc] # chunks, and no outcome
        assert isinstance(head, bytes)
        return [heads.pop(0)(head), *body]

    async def scenario(node: Node) -> None:
        connection = await connect(node.listen(answer))
        response = await connection.send(ListGroupsRequest(), ListGroupsResponse)
        assert [group.group_id for group in response.groups] == ["g"]
        with pytest.raises(ClientError, match="cannot be read"):
            await connection.send(ListGroupsRequest(), ListGroupsResponse)
        assert not connection.is_open

    run(scenario)


def test_closing_here_fails_what_waits(run: Run) -> None:
    broker = FakeBroker(everything())
    broker.answers[ApiKey.LIST_GROUPS] = lambda _request, _version: Promise()

    async def scenario(node: Node) -> None:
        connection = await connect(node.listen(broker))
        asking = asyncio.ensure_future(connection.send(ListGroupsRequest(), ListGroupsResponse))
        await until(lambda: broker.seen[-1][0] == ApiKey.LIST_GROUPS)
        connection.close()
        with pytest.raises(ConnectionLostError, match="closed here"):
            await asking

    run(scenario)


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad Request", b"", bytes(3)])
def test_something_else_than_a_broker_is_told_from_a_broker(run: Run, reply: bytes) -> None:
    async def scenario(node: Node) -> None:
        with pytest.raises(ClientError, match="Kafka"):
            await connect(node.listen(lambda _info, _frame: [reply]))

    run(scenario)


def test_a_response_that_is_too_long_ends_the_connection(run: Run) -> None:
    broker = FakeBroker(everything())
    broker.answers[ApiKey.LIST_GROUPS] = lambda _request, _version: ListGroupsResponse(
        groups=[ListedGroup(group_id="x" * 30_000)]
    )

    async def scenario(node: Node) -> None:
        connection = await connect(node.listen(broker), ConnectionOptions(max_response_bytes=20_000))
        with pytest.raises(ConnectionLostError, match="20000"):
            await connection.send(ListGroupsRequest(), ListGroupsResponse)

    run(scenario)


def test_a_response_with_too_many_objects_is_refused(run: Run) -> None:
    broker = FakeBroker(everything())
    broker.answers[ApiKey.LIST_GROUPS] = lambda _request, _version: ListGroupsResponse(
        groups=[ListedGroup(group_id="x") for _ in range(2000)]
    )

    async def scenario(node: Node) -> None:
        connection = await connect(node.listen(broker), ConnectionOptions(max_response_objects=1000))
        with pytest.raises(ClientError, match="cannot be read"):
            await connection.send(ListGroupsRequest(), ListGroupsResponse)

    run(scenario)


def test_an_address_where_nothing_listens(run: Run) -> None:
    async def scenario(node: Node) -> None:
        listener = node.listen(echo)
        listener.close()
        with pytest.raises(ConnectError, match="is a broker running there"):
            await connect(listener)
        broker = FakeBroker(everything())
        broker.answers[ApiKey.METADATA] = lambda _request, _version: MetadataResponse(cluster_id="c")
        running = node.listen(broker)
        async with Client([f"127.0.0.1:{listener.port}", f"127.0.0.1:{running.port}"], OPTIONS) as client:
            assert (await client.metadata(None)).cluster_id == "c"
        async with Client([f"127.0.0.1:{listener.port}"], OPTIONS) as client:
            with pytest.raises(ConnectError, match=str(listener.port)):
                await client.metadata(None)

    run(scenario)


def test_requests_go_to_the_node_that_metadata_names(run: Run) -> None:
    seven = FakeBroker(everything())
    seven.answers[ApiKey.LIST_GROUPS] = lambda _request, _version: ListGroupsResponse(
        groups=[ListedGroup(group_id="7")]
    )

    async def scenario(node: Node) -> None:
        other = node.listen(seven, "SEVEN")
        first = FakeBroker(everything())
        first.answers[ApiKey.METADATA] = lambda _request, _version: MetadataResponse(
            brokers=[MetadataResponseBroker(node_id=7, host="127.0.0.1", port=other.port)]
        )
        async with Client([f"127.0.0.1:{node.listen(first).port}"], OPTIONS) as client:
            response = await client.send(ListGroupsRequest(), ListGroupsResponse, node_id=7)
            assert response.groups[0].group_id == "7"
            with pytest.raises(ClientError, match="no broker 8"):
                await client.node(8)

    run(scenario)


@pytest.mark.parametrize("version", [3, 6])
def test_a_coordinator_is_waited_for(run: Run, version: int) -> None:
    codes = [ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NONE, ErrorCode.GROUP_AUTHORIZATION_FAILED]

    def answer(request: Message, version: int) -> Message:
        assert isinstance(request, FindCoordinatorRequest)
        code = codes.pop(0)
        if version < 4:
            assert request.key == "g"
            return FindCoordinatorResponse(error_code=code, node_id=4, host="h", port=1)
        assert request.coordinator_keys == ["g"]
        return FindCoordinatorResponse(
            coordinators=[Coordinator(key="g", error_code=code, node_id=4, host="h", port=1)]
        )

    broker = FakeBroker(everything() | {ApiKey.FIND_COORDINATOR: (0, version)})
    broker.answers[ApiKey.FIND_COORDINATOR] = answer

    async def scenario(node: Node) -> None:
        async with Client([f"127.0.0.1:{node.listen(broker).port}"], OPTIONS) as client:
            assert await client.group_coordinator("g") == 4
            with pytest.raises(KafkaError) as caught:
                await client.group_coordinator("g")
            assert caught.value.code is ErrorCode.GROUP_AUTHORIZATION_FAILED

    run(scenario)


def test_metadata_asks_for_the_topics_named_or_all(run: Run) -> None:
    asked: list[list[str | None] | None] = []

    def answer(request: Message, _version: int) -> Message:
        assert isinstance(request, MetadataRequest)
        asked.append(None if request.topics is None else [topic.name for topic in request.topics])
        return MetadataResponse()

    broker = FakeBroker(everything())
    broker.answers[ApiKey.METADATA] = answer

    async def scenario(node: Node) -> None:
        async with Client([f"127.0.0.1:{node.listen(broker).port}"], OPTIONS) as client:
            await client.metadata(["a", "b"])
            await client.metadata(None)
        assert asked == [["a", "b"], None]

    run(scenario)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:9092", ("localhost", 9092)),
        (" broker ", ("broker", 9092)),
        ("[::1]:1234", ("::1", 1234)),
        ("[::1]", ("::1", 9092)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", ":", ":9092", "host:", "host:port", "host:70000", "host:-1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_address(text)
