"""How a broker finds the active controller: here, elsewhere, nowhere, and when it moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import pytest

from odradek.metadata.delta import MetadataDelta
from odradek.metadata.image import MetadataImage
from odradek.node.brokers import ClusterBrokers
from odradek.node.controller_channel import ChannelOptions, ControllerChannel
from odradek.node.in_process import InProcess
from odradek.node.ports import Ports
from odradek.ports import Promise, Turns
from odradek.ports.network import ConnectionInfo
from odradek.security.acl import AllowAll, Operation, ResourceType
from odradek.security.principal import Principal
from odradek.server.context import RequestContext
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import CloseConnection, Handler, erase
from odradek.storage.memory_files import MemoryFileSystem
from odradek.wire.apis import ApiKey
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.allocate_producer_ids import AllocateProducerIdsRequest, AllocateProducerIdsResponse
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from odradek.wire.messages.create_topics import CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.envelope import EnvelopeRequest, EnvelopeResponse
from odradek.wire.messages.headers import ResponseHeader
from odradek.wire.messages.list_groups import ListGroupsRequest, ListGroupsResponse
from odradek.wire.messages.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse
from odradek.wire.persistent.metadata.register_broker_record import BrokerEndpoint, RegisterBrokerRecord
from odradek.wire.schema import Message
from tests.unit.fakes import FakeWorld

Resp = TypeVar("Resp", bound=Message)
Address = tuple[str, int]
FIRST, SECOND = ("a", 1), ("b", 2)
UNREGISTER = UnregisterBrokerRequest(broker_id=5)
HEARTBEAT = BrokerHeartbeatRequest(broker_id=1)


class Wire:
    """Other nodes: what was sent to whom for which purpose, and what they answer."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Address, Message]] = []
        self.answers: dict[Address, Callable[[Message], Message | KafkaError]] = {}
        self.timeouts_ms: list[float] = []
        self.closed: list[str] = []

    def new_peers(self, listener: str, purpose: str) -> _Purpose:
        return _Purpose(self, f"{listener}/{purpose}")


class _Purpose:
    def __init__(self, wire: Wire, name: str) -> None:
        self._wire = wire
        self._name = name

    def send(self, host: str, port: int, request: Message, response: type[Resp], *, timeout_ms: float) -> Promise[Resp]:
        self._wire.sent.append((self._name, (host, port), request))
        self._wire.timeouts_ms.append(timeout_ms)
        known = self._wire.answers.get((host, port))
        answer = KafkaError(ErrorCode.NETWORK_EXCEPTION) if known is None else known(request)
        if isinstance(answer, KafkaError):
            return Promise.failed(answer)
        assert isinstance(answer, response)
        return Promise.of(answer)

    def close(self) -> None:
        self._wire.closed.append(self._name)


class Scene:
    """A node, in a quorum whose leader the test names."""

    def __init__(self, local: Message | KafkaError | None = None) -> None:
        self.world = FakeWorld()
        self.wire = Wire()
        self.is_leader = False
        self.endpoint: Address | None = None
        self.local = local
        self.handled: list[Message] = []
        ports = Ports(self.world, self.world, self.world, self.world, MemoryFileSystem())

        def handle(_context: RequestContext, request: Message) -> Message:
            self.handled.append(request)
            if isinstance(self.local, KafkaError):
                raise self.local
            return cast("Message", self.local)

        handlers = [
            erase(Handler(each, handle, Operation.ALTER, ResourceType.CLUSTER))
            for each in (UnregisterBrokerRequest, BrokerHeartbeatRequest, ListGroupsRequest)
        ]
        self.in_process = InProcess("controller", ports, HandlerTable(handlers))
        self.channel = ControllerChannel(
            self, self.in_process, self.wire.new_peers, self.world, self.world, ChannelOptions("CONTROLLER")
        )

    def leader_endpoint(self, listener: str) -> Address | None:
        assert listener == "CONTROLLER"
        return self.endpoint

    def client(self, request: Message) -> RequestContext:
        connection = ConnectionInfo("1", "PLAINTEXT", "PLAINTEXT", "10.1.2.3", 5000, "10.0.0.2", 9092)
        key, principal = ApiKey(cast("int", request.API_KEY)), Principal("User", "alice")
        return RequestContext(key, 0, 77, "c", connection, principal, AllowAll(), Turns(self.world, self.world))


def wrapped(response: Message, correlation_id: int = 77) -> EnvelopeResponse:
    header = ResponseHeader(correlation_id=correlation_id).encode(1)
    return EnvelopeResponse(response_data=header + response.encode(0))


def error_of(promise: Promise[Resp]) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        promise.result()
    return caught.value.code


def test_the_controller_of_this_process_is_asked_without_a_connection() -> None:
    scene = Scene(UnregisterBrokerResponse(error_message="here"))
    scene.is_leader = True
    assert scene.channel.send(UNREGISTER, UnregisterBrokerResponse).result().error_message == "here"
    assert scene.channel.send(UNREGISTER, UnregisterBrokerResponse, scene.client(UNREGISTER)).done
    assert scene.wire.sent == []


def test_a_clients_request_goes_to_the_leader_in_an_envelope_and_the_brokers_own_as_it_is() -> None:
    scene = Scene()
    scene.endpoint = FIRST
    scene.wire.answers[FIRST] = lambda request: (
        wrapped(UnregisterBrokerResponse(error_message="there"))
        if isinstance(request, EnvelopeRequest)
        else BrokerHeartbeatResponse(is_fenced=False)
    )
    forwarded = scene.channel.send(UNREGISTER, UnregisterBrokerResponse, scene.client(UNREGISTER))
    assert forwarded.result().error_message == "there"
    assert not scene.channel.send(HEARTBEAT, BrokerHeartbeatResponse).result().is_fenced
    (purpose, _, envelope), (own_purpose, _, own) = scene.wire.sent
    assert isinstance(envelope, EnvelopeRequest)
    assert envelope.client_host_address == bytes((10, 1, 2, 3))
    assert (purpose, own_purpose) == ("CONTROLLER/forwarding", "CONTROLLER/heartbeat")
    assert own == HEARTBEAT
    assert scene.handled == []


def test_a_request_follows_the_controller_to_another_node() -> None:
    scene = Scene()
    scene.endpoint = FIRST
    scene.wire.answers[FIRST] = lambda _request: EnvelopeResponse(error_code=ErrorCode.NOT_CONTROLLER)
    scene.wire.answers[SECOND] = lambda _request: wrapped(UnregisterBrokerResponse(error_message="second"))
    answer = scene.channel.send(UNREGISTER, UnregisterBrokerResponse, scene.client(UNREGISTER))
    scene.world.advance(500)
    assert not answer.done
    scene.endpoint = SECOND
    scene.channel.leader_changed()
    assert answer.result().error_message == "second"


def test_a_request_waits_until_there_is_a_controller_and_one_that_begins_to_lead_here_is_found() -> None:
    scene = Scene(UnregisterBrokerResponse(error_message="here"))
    answer = scene.channel.send(UNREGISTER, UnregisterBrokerResponse, scene.client(UNREGISTER))
    scene.world.advance(1_000)
    assert not answer.done
    assert scene.wire.sent == []
    scene.is_leader = True
    scene.world.advance(50)
    assert answer.result().error_message == "here"


@pytest.mark.parametrize("code", [ErrorCode.NETWORK_EXCEPTION, ErrorCode.REQUEST_TIMED_OUT])
def test_a_connection_that_is_lost_is_no_answer(code: ErrorCode) -> None:
    scene = Scene()
    scene.endpoint = FIRST
    scene.wire.answers[FIRST] = lambda _request: KafkaError(code)
    answer = scene.channel.send(UNREGISTER, UnregisterBrokerResponse)
    scene.world.advance(500)
    assert not answer.done
    assert 5 <= len(scene.wire.sent) <= 11
    scene.wire.answers[FIRST] = lambda _request: UnregisterBrokerResponse(error_message="now")
    scene.world.advance(50)
    assert answer.result().error_message == "now"


def test_patience_ends_a_minute_after_a_clients_request_and_with_the_session_for_heartbeats() -> None:
    scene = Scene()
    forwarded = scene.channel.send(UNREGISTER, UnregisterBrokerResponse, scene.client(UNREGISTER))
    heartbeat = scene.channel.send(HEARTBEAT, BrokerHeartbeatResponse)
    scene.world.advance(8_900)
    assert not heartbeat.done
    scene.world.advance(200)
    assert error_of(heartbeat) is ErrorCode.REQUEST_TIMED_OUT
    scene.world.advance(50_000)
    assert not forwarded.done
    scene.world.advance(1_000)
    assert error_of(forwarded) is ErrorCode.REQUEST_TIMED_OUT


def test_one_answer_may_take_as_long_as_the_socket_time_out() -> None:
    scene = Scene()
    scene.endpoint = FIRST
    scene.wire.answers[FIRST] = lambda _request: UnregisterBrokerResponse()
    assert scene.channel.send(UNREGISTER, UnregisterBrokerResponse).done
    scene.wire.answers[FIRST] = lambda _request: BrokerHeartbeatResponse()
    assert scene.channel.send(HEARTBEAT, BrokerHeartbeatResponse).done
    assert scene.wire.timeouts_ms == [30_000, 9_000]


def test_errors_that_are_answers_are_handed_over() -> None:
    scene = Scene()
    scene.endpoint = FIRST
    scene.wire.answers[FIRST] = lambda _request: AllocateProducerIdsResponse(error_code=ErrorCode.STALE_BROKER_EPOCH)
    answer = scene.channel.send(AllocateProducerIdsRequest(), AllocateProducerIdsResponse)
    assert answer.result().error_code == ErrorCode.STALE_BROKER_EPOCH
    scene.wire.answers[FIRST] = lambda _request: KafkaError(ErrorCode.UNSUPPORTED_VERSION)
    refused = scene.channel.send(AllocateProducerIdsRequest(), AllocateProducerIdsResponse)
    assert error_of(refused) is ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize(
    "says_so",
    [
        CreateTopicsResponse(topics=[CreatableTopicResult(name="t", error_code=ErrorCode.NOT_CONTROLLER)]),
        AllocateProducerIdsResponse(error_code=ErrorCode.NOT_CONTROLLER),
    ],
    ids=["for a topic", "at the top"],
)
def test_a_node_that_does_not_decide_is_not_taken_for_the_controller(says_so: Message) -> None:
    scene = Scene()
    scene.endpoint = FIRST
    scene.wire.answers[FIRST] = lambda _request: says_so
    request = CreateTopicsRequest() if isinstance(says_so, CreateTopicsResponse) else AllocateProducerIdsRequest()
    answer = scene.channel.send(request, type(says_so))
    assert not answer.done
    scene.world.advance(100)
    assert len(scene.wire.sent) == 3


def test_a_controller_here_that_does_not_decide_yet_is_asked_again() -> None:
    scene = Scene(KafkaError(ErrorCode.NOT_CONTROLLER))
    scene.is_leader = True
    answer = scene.channel.send(UNREGISTER, UnregisterBrokerResponse, scene.client(UNREGISTER))
    assert not answer.done
    scene.local = UnregisterBrokerResponse(error_message="active")
    scene.world.advance(50)
    assert answer.result().error_message == "active"


def test_a_version_that_the_controller_does_not_know_costs_the_clients_connection() -> None:
    scene = Scene()
    scene.endpoint = FIRST
    scene.wire.answers[FIRST] = lambda _request: EnvelopeResponse(error_code=ErrorCode.UNSUPPORTED_VERSION)
    answer = scene.channel.send(UNREGISTER, UnregisterBrokerResponse, scene.client(UNREGISTER))
    with pytest.raises(CloseConnection):
        answer.result()


def test_what_waits_when_the_node_stops_is_told_and_nothing_more_is_sent() -> None:
    scene = Scene(UnregisterBrokerResponse())
    scene.endpoint = FIRST
    waiting = scene.channel.send(UNREGISTER, UnregisterBrokerResponse)
    sent = len(scene.wire.sent)
    scene.channel.close()
    assert error_of(waiting) is ErrorCode.NOT_CONTROLLER
    scene.is_leader = True
    assert error_of(scene.channel.send(UNREGISTER, UnregisterBrokerResponse)) is ErrorCode.NOT_CONTROLLER
    scene.world.advance(1_000)
    assert len(scene.wire.sent) == sent
    assert scene.wire.closed == ["CONTROLLER/requests"]


def test_brokers_are_reached_at_their_address_in_the_image_and_this_one_without_a_connection() -> None:
    scene = Scene(ListGroupsResponse(error_code=7))
    image = [MetadataImage.empty()]
    brokers = ClusterBrokers(
        1, scene.in_process, lambda: image[0], "INSIDE", scene.wire.new_peers("INSIDE", "markers"), 1234
    )
    request = ListGroupsRequest()
    assert brokers.send(1, request, ListGroupsResponse).result().error_code == 7
    assert error_of(brokers.send(2, request, ListGroupsResponse)) is ErrorCode.NETWORK_EXCEPTION
    assert scene.wire.sent == []
    for port in (1, 2):
        delta = MetadataDelta(image[0])
        points = [BrokerEndpoint(name="OUTSIDE", host="x", port=9), BrokerEndpoint(name="INSIDE", host="h", port=port)]
        delta.replay(RegisterBrokerRecord(broker_id=2, broker_epoch=port, end_points=points))
        image[0] = delta.apply(port, 1, 0)
        scene.wire.answers["h", port] = lambda _request: ListGroupsResponse()
        assert brokers.send(2, request, ListGroupsResponse).result().error_code == 0
    assert [address for _, address, _ in scene.wire.sent] == [("h", 1), ("h", 2)]
    assert scene.wire.timeouts_ms == [1234, 1234]
    brokers.close()
    assert scene.wire.closed == ["INSIDE/markers"]
