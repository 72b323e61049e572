"""`Host.call`: what runs where the nodes are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress

import pytest

from odradek.testing.cluster import Cluster
from odradek.testing.host import Host, ThreadHost
from odradek.testing.options import Options
from odradek.testing.process import ProcessHost
from odradek.wire.errors import ErrorCode, KafkaError

TIMEOUT_S = 20


async def node_ids(cluster: Cluster, *, plus: int) -> list[int]:
    await asyncio.sleep(0)
    return [node_id + plus for node_id in cluster.nodes]


async def fail(_cluster: Cluster, error: Exception) -> None:
    raise error


async def thread(_cluster: Cluster) -> object:
    return threading.current_thread()


async def wait(_cluster: Cluster) -> None:
    await asyncio.Event().wait()


class OddError(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


@pytest.fixture(params=["thread", "process"], scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    options = Options.of(1, (), None, None, False)
    host: Host = (ThreadHost if request.param == "thread" else ProcessHost)(options, lambda _line: None)
    host.start()
    host.ready.result(TIMEOUT_S)
    yield host
    host.request_stop()
    host.join()


def test_what_it_comes_to_and_what_it_raises(host: Host) -> None:
    calls = [host.call(node_ids, plus=number) for number in range(3)]
    assert [call.result(TIMEOUT_S) for call in calls] == [[1], [2], [3]]
    with pytest.raises(KafkaError, match="no such thing") as raised:
        host.call(fail, KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, "no such thing")).result(TIMEOUT_S)
    assert raised.value.code is ErrorCode.GROUP_ID_NOT_FOUND


def test_errors_that_cannot_cross_are_told_in_words() -> None:
    host = ProcessHost(Options.of(1, (), None, None, False), lambda _line: None)
    host.start()
    host.ready.result(TIMEOUT_S)
    with pytest.raises(TypeError, match="cannot pickle"):
        host.call(thread).result(TIMEOUT_S)
    with pytest.raises(RuntimeError, match="OddError: ab"):
        host.call(fail_oddly).result(TIMEOUT_S)
    assert host.call(node_ids, plus=0).result(TIMEOUT_S) == [1]
    waiting = host.call(wait)
    host.request_stop()
    host.stopped.result(TIMEOUT_S)
    with pytest.raises(RuntimeError, match="stopped meanwhile"):
        waiting.result(TIMEOUT_S)
    with pytest.raises(RuntimeError, match="no nodes run"):
        host.call(wait)
    host.join()


async def fail_oddly(_cluster: Cluster) -> None:
    raise OddError("a", "b")


async def call_again(_cluster: Cluster) -> str:
    with pytest.raises(RuntimeError, match="own thread") as raised:
        HOSTS[0].call(wait)
    return str(raised.value)


HOSTS: list[ThreadHost] = []


def test_a_call_that_waits_ends_with_the_nodes() -> None:
    host = ThreadHost(Options.of(1, (), None, None, False), lambda _line: None)
    with pytest.raises(RuntimeError, match="no nodes run"):
        host.call(wait)
    host.start()
    host.ready.result(TIMEOUT_S)
    HOSTS.append(host)
    assert "cannot wait for itself" in host.call(call_again).result(TIMEOUT_S)
    HOSTS.clear()
    waiting = host.call(wait)
    host.request_stop()
    with pytest.raises(RuntimeError, match="stopped meanwhile"):
        waiting.result(TIMEOUT_S)
    host.join()
    with pytest.raises(RuntimeError, match="no nodes run"):
        host.call(wait)


def test_no_call_is_forgotten_however_late_it_comes() -> None:
    for _ in range(5):
        host = ThreadHost(Options.of(1, (), None, None, False), lambda _line: None)
        host.start()
        host.ready.result(TIMEOUT_S)
        host.request_stop()
        calls: list[Future[None]] = []
        with suppress(RuntimeError):  # in the end no nodes run
            while True:
                calls.append(host.call(wait))
        for call in calls:
            with pytest.raises(RuntimeError, match="stopped meanwhile"):
                call.result(TIMEOUT_S)
        host.join()
