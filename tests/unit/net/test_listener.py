"""Listening, the limits on connections, idle connections, and stopping."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from functools import partial

import pytest

from odradek.net.channel import Channel
from odradek.net.files import RESERVED_DESCRIPTORS, connections_limit, kept_files_limit
from odradek.net.limits import NetworkLimits
from odradek.net.listener import Endpoint, bound_socket
from odradek.net.memory import SLOW_SENDER_CHECKS
from odradek.ports.network import ConnectionInfo, Reply
from odradek.ports.promise import Promise
from tests.unit.net.conftest import Run
from tests.unit.net.harness import Node, ParkingHandler, Peer, echo, framed, settle_down, until

MIB = 1024 * 1024


def test_a_port_can_be_had_before_there_is_a_network(run: Run) -> None:
    async def scenario(node: Node) -> None:
        sock = bound_socket("127.0.0.1", 0)
        port = sock.getsockname()[1]
        endpoint = Endpoint("PLAINTEXT", "PLAINTEXT", "127.0.0.1", port)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        listener = node.network.bind(endpoint, "", sock)
        listener.start(echo)
        assert listener.port == port
        peer = await node.connect(listener)
        assert await peer.ask(b"x") == b"x"
        await node.network.stop(0)
        assert sock.fileno() == -1

    run(scenario)


def test_a_handler_is_told_whose_bytes_these_are(run: Run) -> None:
    infos: list[ConnectionInfo] = []

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply:
        infos.append(info)
        return echo(info, frame)

    async def scenario(node: Node) -> None:
        listener = node.listen(handler, "INTERNAL")
        first, second = await node.connect(listener), await node.connect(listener)
        await first.ask(b"x")
        await second.ask(b"x")
        info = infos[0]
        assert (info.listener, info.security_protocol) == ("INTERNAL", "PLAINTEXT")
        assert (info.peer_host, info.peer_port) == first.sock.getsockname()
        assert (info.local_host, info.local_port) == ("127.0.0.1", listener.port)
        assert infos[0].id != infos[1].id

    run(scenario)


def test_all_addresses_are_listened_on_if_no_host_is_given(run: Run) -> None:
    infos: list[ConnectionInfo] = []

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply:
        infos.append(info)
        return echo(info, frame)

    async def scenario(node: Node) -> None:
        listener = node.network.bind(Endpoint("PLAINTEXT", "PLAINTEXT", "", 0))
        listener.start(handler)
        assert await (await node.connect(listener)).ask(b"x") == b"x"
        assert infos[0].peer_host == "127.0.0.1"

    run(scenario)


def test_a_port_in_use_is_an_error(run: Run) -> None:
    async def scenario(node: Node) -> None:
        listener = node.listen(echo)
        with pytest.raises(OSError, match=rf"127.0.0.1:{listener.port} .*in use"):
            node.network.bind(Endpoint("OTHER", "PLAINTEXT", "127.0.0.1", listener.port))

    run(scenario)


def test_connections_wait_until_the_listener_is_started(run: Run) -> None:
    async def scenario(node: Node) -> None:
        listener = node.network.bind(Endpoint("PLAINTEXT", "PLAINTEXT", "127.0.0.1", 0))
        peer = await node.connect(listener)
        await peer.send(framed(b"early"))
        await settle_down()
        listener.start(echo)
        assert await peer.reply() == b"early"

    run(scenario)


def test_counters(run: Run) -> None:
    async def scenario(node: Node) -> None:
        listener = node.listen(echo)
        peer = await node.connect(listener)
        await peer.ask(b"12345")
        await peer.ask(b"123")
        peer.sock.close()
        await until(lambda: node.network.connections == 0)
        counters = node.network.counters()
        assert (counters.requests, counters.received_bytes, counters.sent_bytes) == (2, 16, 16)
        assert (counters.connections_opened, counters.connections_closed) == (1, 1)
        assert len(node.disconnected) == 1

    run(scenario)


def test_a_connection_that_has_ended_leaves_nothing_behind(run: Run) -> None:
    async def scenario(node: Node) -> None:
        listener = node.listen(echo)
        for _ in range(5):
            peer = await node.connect(listener)
            await peer.ask(b"x")
            peer.sock.close()
        await until(lambda: node.network.connections == 0)
        await settle_down()
        gc.collect()
        assert sum(isinstance(each, Channel) for each in gc.get_objects()) == 0

    run(scenario)


def test_beyond_max_connections_per_ip_a_connection_is_closed_at_once(run: Run) -> None:
    async def scenario(node: Node) -> None:
        listener = node.listen(echo)
        allowed = [await node.connect(listener) for _ in range(2)]
        for peer in allowed:
            await peer.ask(b"x")
        assert await (await node.connect(listener)).is_closed()
        assert listener.counters.connections_refused == 1
        allowed[0].sock.close()
        await until(lambda: node.network.connections == 1)
        assert await (await node.connect(listener)).ask(b"again") == b"again"
        node.network.update_limits(NetworkLimits(max_connections_per_ip=2))
        assert await (await node.connect(listener)).is_closed()

    run(scenario, NetworkLimits(max_connections_per_ip=1, max_connections_per_ip_overrides={"127.0.0.1": 2}))


def test_beyond_max_connections_a_client_waits_until_another_leaves(run: Run) -> None:
    async def scenario(node: Node) -> None:
        listener = node.listen(echo)
        first, second = await node.connect(listener), await node.connect(listener)
        await first.ask(b"x")
        await second.ask(b"x")
        waiting = await node.connect(listener)
        await waiting.send(framed(b"patience"))
        await settle_down()
        assert node.network.connections == 2
        first.sock.close()
        assert await waiting.reply() == b"patience"
        assert await second.ask(b"still here") == b"still here"

    run(scenario, NetworkLimits(max_connections=2))


def test_raising_max_connections_lets_waiting_clients_in(run: Run) -> None:
    async def scenario(node: Node) -> None:
        listener = node.listen(echo)
        await (await node.connect(listener)).ask(b"x")
        waiting = await node.connect(listener)
        await settle_down()
        assert node.network.connections == 1
        node.network.update_limits(NetworkLimits(max_connections=2))
        assert await waiting.ask(b"in") == b"in"
        node.network.update_limits(NetworkLimits(max_connections=1))
        assert node.network.connections == 1

    run(scenario, NetworkLimits(max_connections=1))


def test_brokers_get_in_when_clients_fill_the_node(run: Run) -> None:
    async def scenario(node: Node) -> None:
        clients, brokers = node.listen(echo, "CLIENTS"), node.listen(echo, "BROKERS")
        idle, busy = await node.connect(clients), await node.connect(clients)
        await until(lambda: node.network.connections == 2)
        await until(lambda: node.network.context.tick > 1, "a tick")
        await busy.ask(b"x")
        broker = await node.connect(brokers)
        assert await broker.ask(b"b") == b"b"
        assert await idle.is_closed()
        assert await busy.ask(b"y") == b"y"
        assert clients.counters.connections_evicted == 1

    limits = NetworkLimits(max_connections=2, connections_max_idle_ms=5000)
    run(scenario, limits, inter_broker_listener="BROKERS")


def test_connections_of_broker_and_controller_are_counted_apart(run: Run) -> None:
    async def scenario(node: Node) -> None:
        brokers, controllers = node.listen(echo, "CLIENTS", "broker"), node.listen(echo, "CONTROLLER", "controller")
        client = await node.connect(brokers)
        assert await client.ask(b"a") == b"a"
        admin = await node.connect(controllers)
        assert await admin.ask(b"b") == b"b"
        waiting = await node.connect(controllers)
        await node.connect(brokers)
        await waiting.send(framed(b"c"))
        await settle_down()
        assert node.network.connections == 2
        admin.sock.close()
        assert await waiting.reply() == b"c"
        assert await client.ask(b"d") == b"d"

    run(scenario, NetworkLimits(max_connections=1), inter_broker_listener="CLIENTS")


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(run: Run) -> None:
    async def scenario(node: Node) -> None:
        listener = node.listen(echo)
        idle, busy = await node.connect(listener), await node.connect(listener)
        started = time.monotonic()
        while time.monotonic() - started < 0.6:
            await busy.ask(b"x")
            await asyncio.sleep(0.02)
        assert await idle.is_closed()
        assert await busy.ask(b"x") == b"x"
        assert listener.counters.connections_expired == 1

    run(scenario, NetworkLimits(connections_max_idle_ms=200))


def test_stopping_sends_the_replies_in_flight_and_takes_no_more(run: Run) -> None:
    handler = ParkingHandler()

    async def scenario(node: Node) -> None:
        listener = node.listen(handler)
        busy, idle = await node.connect(listener), await node.connect(listener)
        await busy.send(framed(b"in flight"))
        await until(lambda: len(handler.requests) == 1 and node.network.connections == 2)
        stopping = asyncio.ensure_future(node.network.stop(5000))
        assert await idle.is_closed()
        await busy.send(framed(b"too late"))
        await settle_down()
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the platform has it
            await node.connect(listener)
        handler.requests[0].answer()
        assert await busy.reply() == b"in flight"
        await asyncio.wait_for(stopping, 1)
        assert len(handler.requests) == 1

    run(scenario)


def test_stopping_does_not_wait_longer_than_its_grace(run: Run) -> None:
    handler = ParkingHandler()

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler))
        await peer.send(framed(b"never answered"))
        await until(lambda: len(handler.requests) == 1)
        started = time.monotonic()
        await node.network.stop(100)
        assert time.monotonic() - started < 2
        assert await peer.is_closed()
        assert node.network.connections == 0

    run(scenario)


def test_many_announced_frames_take_no_memory(run: Run) -> None:
    async def scenario(node: Node) -> None:
        listener = node.listen(echo)
        peers = [await node.connect(listener) for _ in range(450)]
        tracemalloc.start()
        try:
            for peer in peers:
                await peer.send((100 * MIB).to_bytes(4, "big") + b"x" * 2000)
            await until(lambda: listener.counters.received_bytes == 450 * 2004)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 450 * 16 * 1024
        assert await (await node.connect(listener)).ask(b"quick") == b"quick"

    run(scenario)


def test_frames_far_beyond_the_budget_all_arrive_one_after_the_other(run: Run) -> None:
    peak = 0

    async def scenario(node: Node) -> None:
        memory = node.network.context.memory

        def handler(_info: ConnectionInfo, frame: memoryview) -> Reply:
            nonlocal peak
            peak = max(peak, memory.held_bytes)
            return (bytes(frame[-10:]),)

        listener = node.listen(handler)
        peers = [await node.connect(listener) for _ in range(30)]

        async def send_slowly(number: int, peer: Peer) -> bytes:
            data = framed(b"x" * (MIB - 10) + b"%010d" % number)
            for start in range(0, len(data), 50_000):
                await peer.send(data[start : start + 50_000])
                await asyncio.sleep(0)
            return await peer.reply()

        replies = await asyncio.gather(*(send_slowly(number, peer) for number, peer in enumerate(peers)))
        assert replies == [b"%010d" % number for number in range(30)]
        assert memory.held_bytes == 0
        assert peak <= 4 * MIB

    run(scenario, NetworkLimits(queued_max_request_bytes=2 * MIB, socket_request_max_bytes=2 * MIB))


def test_senders_that_stall_on_a_full_budget_lose_their_connection_and_others_do_not(run: Run) -> None:
    async def scenario(node: Node) -> None:
        memory = node.network.context.memory
        listener = node.listen(echo)
        stalled = [await node.connect(listener) for _ in range(8)]
        for peer in stalled:
            await peer.send(framed(b"x" * MIB)[: 600 * 1024])
        await until(lambda: memory.waiting > 0)
        await settle_down()
        assert await (await node.connect(listener)).ask(b"small") == b"small"
        honest = await node.connect(listener)
        await honest.send(framed(b"h" * MIB)[: 64 * 1024])
        asking = asyncio.ensure_future(honest.send(framed(b"h" * MIB)[64 * 1024 :]))
        for _ in range(8 * SLOW_SENDER_CHECKS):
            await settle_down(5)
            memory.check_progress()
        assert await honest.reply() == b"h" * MIB
        await asking
        assert listener.counters.connections_evicted >= 1
        assert memory.evicted == listener.counters.connections_evicted

    run(scenario, NetworkLimits(queued_max_request_bytes=2 * MIB, socket_request_max_bytes=2 * MIB))


def test_parked_requests_fill_the_budget_and_only_their_own_connection_waits(run: Run) -> None:
    parking = ParkingHandler()

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        return parking(info, frame) if frame[0] == ord("p") else echo(info, frame)

    async def scenario(node: Node) -> None:
        listener = node.listen(handler)
        hog = await node.connect(listener)

        def has_parked(number: int) -> bool:
            return len(parking.requests) > number

        sending = asyncio.ensure_future(hog.send(framed(b"p" * 50_000) * 100))
        await until(lambda: node.network.context.memory.exhausted)
        await settle_down()
        parked = len(parking.requests)
        assert parked < 30
        assert await (await node.connect(listener)).ask(b"small") == b"small"
        for number in range(100):
            await until(partial(has_parked, number))
            parking.requests[number].answer(b"")
        await sending
        assert await hog.read(400) == bytes(400)
        assert node.network.context.memory.held_bytes == 0

    run(scenario, NetworkLimits(queued_max_request_bytes=MIB))


def test_limits_that_stay_keep_connections(run: Run) -> None:
    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(echo))
        await peer.ask(b"x")
        node.network.update_limits(node.network.context.limits._replace(connections_max_idle_ms=100))
        assert await peer.ask(b"y") == b"y"
        assert await peer.is_closed()

    run(scenario)


def test_connections_leave_descriptors_to_files(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odradek.net.files._descriptors", lambda: 2 * (RESERVED_DESCRIPTORS + 18))
    assert (kept_files_limit(), connections_limit()) == (RESERVED_DESCRIPTORS + 18, 18)

    async def scenario(node: Node) -> None:
        listener = node.listen(echo)
        peers = [await node.connect(listener) for _ in range(18)]
        for peer in peers:
            assert await peer.ask(b"x") == b"x"
        waiting = await node.connect(listener)
        await waiting.send(framed(b"later"))
        await settle_down()
        assert node.network.connections == 18
        peers[0].sock.close()
        assert await waiting.reply() == b"later"

    run(scenario)
