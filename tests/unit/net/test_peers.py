"""Connections to other nodes, over real sockets: what comes back, and what happens when nobody answers."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import TypeVar

import pytest

from odradek.net.listener import Endpoint, Listener
from odradek.net.peers import LoopPeers, PeerLimits
from odradek.ports.clock import Timing
from odradek.ports.network import ConnectionInfo, Outcome, Reply
from odradek.ports.promise import Promise
from odradek.wire import ErrorCode, KafkaError, Message
from odradek.wire.apis import ApiKey
from odradek.wire.messages.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse
from odradek.wire.messages.vote import VoteRequest, VoteRequestPartitionData, VoteRequestTopicData, VoteResponse
from tests.unit.fakes import FakeWorld
from tests.unit.net.conftest import Run
from tests.unit.net.harness import Node, until
from tests.unit.net.test_client import FakeBroker, everything

T = TypeVar("T")
TIMEOUT_MS = 5_000.0


class Scene:
    """Peers, and the errors and values that their promises came to."""

    def __init__(
        self,
        limits: PeerLimits = PeerLimits(reconnect_backoff_ms=20, reconnect_backoff_max_ms=80),  # noqa: B008 - a tuple
        timing: Timing | None = None,
    ) -> None:
        self.peers = LoopPeers(asyncio.get_running_loop(), "node-1", limits, timing)

    def ask(self, port: int, name: str = "", timeout_ms: float = TIMEOUT_MS) -> Promise[ListGroupsResponse]:
        request = ListGroupsRequest(states_filter=[name])
        return self.peers.send("127.0.0.1", port, request, ListGroupsResponse, timeout_ms=timeout_ms)


async def settled(promise: Promise[T]) -> T:
    await until(lambda: promise.done, "an answer")
    return promise.result()


async def error_of(promise: Promise[T]) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        await settled(promise)
    return caught.value.code


async def ask_once_connected(scene: Scene, port: int, name: str = "") -> Promise[ListGroupsResponse]:
    """Ask until the back-off is over, during which requests are refused without being sent."""
    answer = scene.ask(port, name)
    while answer.done:
        assert await error_of(answer) is ErrorCode.NETWORK_EXCEPTION
        await asyncio.sleep(0.005)
        answer = scene.ask(port, name)
    return answer


def group_of(response: ListGroupsResponse) -> str:
    return response.groups[0].group_id


def echoing() -> FakeBroker:
    """Answers with a group that has the name of the state that is asked for."""

    def answer(request: Message, _version: int) -> Message:
        assert isinstance(request, ListGroupsRequest)
        return ListGroupsResponse(groups=[ListedGroup(group_id=request.states_filter[0])])

    broker = FakeBroker(everything())
    broker.answers[ApiKey.LIST_GROUPS] = answer
    return broker


def silent() -> tuple[FakeBroker, list[Promise[Message]]]:
    """Never answers but when the test does."""
    waiting: list[Promise[Message]] = []

    def answer(_request: Message, _version: int) -> Promise[Message]:
        waiting.append(Promise())
        return waiting[-1]

    broker = FakeBroker(everything())
    broker.answers[ApiKey.LIST_GROUPS] = answer
    return broker, waiting


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def count_connections(broker: FakeBroker) -> int:
    return sum(key == ApiKey.API_VERSIONS for key, _version in broker.seen)


def scenario_with(run: Run, body: Callable[[Node, Scene], object], limits: PeerLimits | None = None) -> None:
    async def whole(node: Node) -> None:
        scene = Scene(limits) if limits is not None else Scene()
        try:
            await body(node, scene)  # type: ignore[misc] # an async def
        finally:
            scene.peers.close()

    run(whole)


def test_requests_share_a_connection_and_each_gets_its_own_answer(run: Run) -> None:
    broker = echoing()

    async def body(node: Node, scene: Scene) -> None:
        port = node.listen(broker).port
        answers = [scene.ask(port, str(number)) for number in range(50)]
        assert [group_of(await settled(each)) for each in answers] == [str(number) for number in range(50)]
        assert group_of(await settled(scene.ask(port, "later"))) == "later"
        assert count_connections(broker) == 1
        assert set(broker.client_ids) == {"node-1"}

    scenario_with(run, body)


def test_each_address_has_its_own_connection_and_one_that_is_down_does_not_disturb_another(run: Run) -> None:
    async def body(node: Node, scene: Scene) -> None:
        port, down = node.listen(echoing()).port, closed_port()
        refused, answered = scene.ask(down, "a"), scene.ask(port, "b")
        assert await error_of(refused) is ErrorCode.NETWORK_EXCEPTION
        assert group_of(await settled(answered)) == "b"

    scenario_with(run, body)


def test_a_peer_that_is_down_is_left_alone_for_a_while_that_grows(run: Run) -> None:
    """Accepts nothing but counts who comes: a listener that closes at once."""
    attempts: list[float] = []

    def closing(_info: ConnectionInfo, _frame: memoryview) -> Reply:
        attempts.append(asyncio.get_running_loop().time())
        return Outcome.CLOSE

    async def body(node: Node, scene: Scene) -> None:
        port = node.listen(closing).port
        until_s = asyncio.get_running_loop().time() + 0.5
        while asyncio.get_running_loop().time() < until_s:
            assert await error_of(scene.ask(port)) is ErrorCode.NETWORK_EXCEPTION
            await asyncio.sleep(0.001)
        gaps_ms = [(later - earlier) * 1000 for earlier, later in itertools.pairwise(attempts)]
        assert 3 <= len(attempts) <= 8
        assert min(gaps_ms) >= 19
        assert all(gap_ms >= 79 for gap_ms in gaps_ms[2:])

    scenario_with(run, body)


def test_a_peer_that_comes_up_is_found(run: Run) -> None:
    async def body(node: Node, scene: Scene) -> None:
        port = closed_port()
        assert await error_of(scene.ask(port)) is ErrorCode.NETWORK_EXCEPTION
        node.network.bind(Endpoint("PLAINTEXT", "PLAINTEXT", "127.0.0.1", port), "").start(echoing())
        answer = await ask_once_connected(scene, port, "up")
        assert group_of(await settled(answer)) == "up"

    scenario_with(run, body)


def test_a_late_answer_costs_the_connection_and_what_waits_behind_it(run: Run) -> None:
    broker, waiting = silent()

    async def body(node: Node, scene: Scene) -> None:
        port = node.listen(broker).port
        first, second = scene.ask(port, timeout_ms=100), scene.ask(port, timeout_ms=TIMEOUT_MS)
        await until(lambda: len(waiting) == 2)
        assert await error_of(first) is ErrorCode.REQUEST_TIMED_OUT
        assert await error_of(second) is ErrorCode.NETWORK_EXCEPTION
        again = await ask_once_connected(scene, port)
        await until(lambda: len(waiting) == 3)
        waiting[2].resolve(ListGroupsResponse(groups=[ListedGroup(group_id="now")]))
        assert group_of(await settled(again)) == "now"

    scenario_with(run, body)


def test_who_is_late_is_known_by_the_clock_that_is_given(run: Run) -> None:
    broker, waiting = silent()
    world = FakeWorld()

    async def body(node: Node, _scene: Scene) -> None:
        scene = Scene(timing=Timing(world, world))
        answer = scene.ask(node.listen(broker).port, timeout_ms=3_600_000)
        await until(lambda: len(waiting) == 1)
        world.advance(3_599_999)
        assert not answer.done
        world.advance(1)
        assert await error_of(answer) is ErrorCode.REQUEST_TIMED_OUT
        scene.peers.close()

    scenario_with(run, body)


def test_the_time_out_holds_while_the_connection_is_being_made(run: Run) -> None:
    """A peer that hangs accepts connections, for its kernel does, and says nothing."""

    async def body(_node: Node, scene: Scene) -> None:
        with socket.socket() as hung:
            hung.bind(("127.0.0.1", 0))
            hung.listen()
            port = int(hung.getsockname()[1])
            slow, slower = scene.ask(port, timeout_ms=150), scene.ask(port, timeout_ms=50)
            assert await error_of(slower) is ErrorCode.REQUEST_TIMED_OUT
            assert not slow.done
            assert await error_of(slow) is ErrorCode.REQUEST_TIMED_OUT

    scenario_with(run, body)


def test_what_is_under_way_fails_when_the_peer_ends_the_connection(run: Run) -> None:
    broker, waiting = silent()

    async def body(node: Node, scene: Scene) -> None:
        listener: Listener = node.listen(broker)
        answers = [scene.ask(listener.port) for _ in range(3)]
        await until(lambda: len(waiting) == 3)
        await node.network.stop(0)
        assert [await error_of(each) for each in answers] == [ErrorCode.NETWORK_EXCEPTION] * 3

    scenario_with(run, body)


def test_an_api_that_the_peer_lacks_is_said_and_the_connection_goes_on(run: Run) -> None:
    broker = echoing()
    del broker.versions[ApiKey.LIST_GROUPS]

    async def body(node: Node, scene: Scene) -> None:
        port = node.listen(broker).port
        assert await error_of(scene.ask(port)) is ErrorCode.UNSUPPORTED_VERSION
        assert await error_of(scene.ask(port)) is ErrorCode.UNSUPPORTED_VERSION
        assert count_connections(broker) == 1

    scenario_with(run, body)


def test_what_has_no_place_in_the_versions_of_a_peer_is_said_and_the_connection_goes_on(run: Run) -> None:
    """Such as a pre-vote, which voters of before Kafka 4.0 do not know (KIP-996)."""
    broker = echoing()
    broker.versions[ApiKey.VOTE] = (0, 1)
    partition = VoteRequestPartitionData(pre_vote=True)
    request = VoteRequest(topics=[VoteRequestTopicData(topic_name="t", partitions=[partition])])

    async def body(node: Node, scene: Scene) -> None:
        port = node.listen(broker).port
        answer = scene.peers.send("127.0.0.1", port, request, VoteResponse, timeout_ms=1000)
        assert await error_of(answer) is ErrorCode.UNSUPPORTED_VERSION
        assert group_of(await settled(scene.ask(port, "a"))) == "a"
        assert count_connections(broker) == 1

    scenario_with(run, body)


def test_only_so_many_requests_wait_for_one_peer(run: Run) -> None:
    broker, waiting = silent()

    async def body(node: Node, scene: Scene) -> None:
        port, other = node.listen(broker).port, node.listen(echoing()).port
        answers = [scene.ask(port) for _ in range(4)]
        assert await error_of(scene.ask(port)) is ErrorCode.NETWORK_EXCEPTION
        assert group_of(await settled(scene.ask(other, "other"))) == "other"
        await until(lambda: len(waiting) == 4)
        waiting[0].resolve(ListGroupsResponse(groups=[ListedGroup(group_id="first")]))
        assert group_of(await settled(answers[0])) == "first"
        fifth = scene.ask(port)
        await until(lambda: len(waiting) == 5)
        assert not fifth.done

    scenario_with(run, body, PeerLimits(max_unanswered_requests=4))


def test_after_close_everything_fails(run: Run) -> None:
    broker, waiting = silent()

    async def body(node: Node, scene: Scene) -> None:
        port = node.listen(broker).port
        sent, never_sent = scene.ask(port), scene.ask(closed_port())
        await until(lambda: len(waiting) == 1)
        connecting = scene.ask(node.listen(broker).port)
        scene.peers.close()
        assert not sent.done  # nobody is called back within their own close
        for promise in (sent, never_sent, connecting, scene.ask(port)):
            assert await error_of(promise) is ErrorCode.NETWORK_EXCEPTION
        waiting[0].resolve(ListGroupsResponse())
        await until(lambda: len(node.disconnected) >= 1)

    scenario_with(run, body)
