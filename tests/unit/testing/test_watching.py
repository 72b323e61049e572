"""What is kept of requests, and how much of it."""

from __future__ import annotations

import asyncio

import pytest

from odradek.ports import Promise
from odradek.ports.network import ConnectionInfo, Outcome, Reply, RunHandler
from odradek.testing import watching
from odradek.testing.interception import Interception
from odradek.testing.watching import Selection, Watch
from odradek.wire.apis import ApiKey
from odradek.wire.messages.headers import RequestHeader
from odradek.wire.messages.metadata import MetadataRequest

CONNECTION = ConnectionInfo("c", "PLAINTEXT", "PLAINTEXT", "127.0.0.1", 1, "127.0.0.1", 2)


def frame(client_id: str = "client", more: bytes = b"") -> memoryview:
    header = RequestHeader(
        request_api_key=ApiKey.METADATA, request_api_version=9, correlation_id=1, client_id=client_id
    )
    return memoryview(bytearray(header.encode(2) + MetadataRequest().encode(9) + more))


class Node:
    def __init__(self, watch: Watch) -> None:
        self.interception = Interception()
        watch.add_node(1, self.interception)
        self.reply: Reply | Promise[Reply] = [b"\0\0\0\1\0"]

    def ask(self, request: memoryview, connection: ConnectionInfo = CONNECTION) -> None:
        handler, _ = self.interception.frames((lambda _connection, _frame: self.reply, None))
        handler(connection, request)

    @property
    def is_watched(self) -> bool:
        """Frames that arrive together go to their own handler while nobody looks."""
        _, run = self.interception.frames(
            (lambda _connection, _frame: [], RunHandler(lambda _connection, _frames: ([b"run"],), lambda *_: None))
        )
        assert run is not None
        return not run.answer(CONNECTION, [frame(), frame()])


def clients(watch: Watch) -> list[str | None]:
    return [each.head.client_id for each in watch.requests]


def test_the_oldest_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_REQUESTS", 3)
    watch = Watch()
    node = Node(watch)
    for number in range(5):
        node.ask(frame(str(number)))
    assert clients(watch) == ["2", "3", "4"]


def test_the_oldest_go_when_they_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_BYTES", 1000)
    watch = Watch()
    node = Node(watch)
    node.ask(frame("a", bytes(400)))
    node.ask(frame("b", bytes(400)))
    assert clients(watch) == ["a", "b"]
    node.reply = [bytes(300)]
    node.ask(frame("c"))
    assert clients(watch) == ["b", "c"], "responses count, too"
    node.reply = [b""]
    node.ask(frame("d", bytes(2000)))
    assert clients(watch) == ["b", "c", "d"]
    assert watch.requests[-1].body is None
    for _ in range(100):
        node.ask(frame("e", bytes(100)))
        assert sum(each.size_bytes for each in watch.requests) <= 1000


def test_late_answers_of_what_is_forgotten_count_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_BYTES", 1000)
    watch = Watch()
    node = Node(watch)
    late: list[Promise[Reply]] = []
    for _ in range(50):
        late.append(Promise())
        node.reply = late[-1]
        node.ask(frame())
    watch.clear()
    node.reply = [b"\0\0\0\1\0"]
    node.ask(frame("new"))
    for promise in late:
        promise.resolve([bytes(900)])
    node.ask(frame("newer"))
    assert clients(watch) == ["new", "newer"]


def test_a_request_is_kept_as_it_came_though_its_memory_is_used_again() -> None:
    watch = Watch()
    node = Node(watch)
    request = frame()
    node.ask(request)
    request[:] = bytes(len(request))
    assert watch.requests[0].body == MetadataRequest().encode(9)


def test_what_became_of_it() -> None:
    watch = Watch()
    node = Node(watch)
    promise: Promise[Reply] = Promise()
    node.reply = promise
    node.ask(frame())
    (request,) = watch.requests
    assert (request.reply, request.outcome, request.duration_ms) == (None, None, None)
    promise.resolve([memoryview(b"ab"), b"c"])
    assert request.reply == [b"ab", b"c"]
    assert request.duration_ms is not None
    node.reply = Outcome.NO_REPLY
    node.ask(frame())
    node.reply = Promise.failed(RuntimeError())
    node.ask(frame())
    assert [each.outcome for each in watch.requests] == [None, Outcome.NO_REPLY, Outcome.CLOSE]


def test_controllers_nodes_and_noise_are_left_out() -> None:
    watch = Watch()
    node = Node(watch)
    node.ask(frame("odradek-1-fetcher"))
    node.ask(frame("odradek-fan"))
    node.ask(memoryview(b"GET /"))
    node.ask(memoryview(b""))
    node.ask(frame("admin"), ConnectionInfo("c", "CONTROLLER", "PLAINTEXT", "127.0.0.1", 1, "127.0.0.1", 2))
    assert clients(watch) == ["odradek-fan"]


def test_which_ones() -> None:
    watch = Watch()
    node = Node(watch)
    node.ask(frame("a"))
    (request,) = watch.requests
    assert Selection().has(request)
    assert Selection(ApiKey.METADATA, "a").has(request)
    assert not Selection(ApiKey.PRODUCE, "a").has(request)
    assert not Selection(None, "b").has(request)
    assert Selection(since=request.number).has(request)
    assert not Selection(since=request.number + 1).has(request)


def test_nothing_looks_while_nobody_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LINGER_S", 0.001)
    monkeypatch.setattr(watching, "LOOK_S", 10)

    async def use() -> None:
        watch = Watch()
        node = Node(watch)
        assert node.is_watched
        watch.record(False)
        assert not node.is_watched
        later = Node(watch)
        assert not later.is_watched
        waiting = asyncio.ensure_future(watch.next(watch.happened, 10))
        await asyncio.sleep(0.005)
        assert later.is_watched
        later.ask(frame())
        seen = await waiting
        assert later.is_watched, "who looks whether it is there may wait again"
        later.ask(frame())
        assert await watch.next(seen, 10) == watch.happened != seen
        await asyncio.sleep(0.005)
        assert not later.is_watched
        assert list(watch.requests) == []

    asyncio.run(use())


def test_news_wakes_those_who_wait() -> None:
    async def use() -> None:
        watch = Watch()
        node = Node(watch)
        promise: Promise[Reply] = Promise()
        node.reply = promise
        seen = watch.happened
        assert await watch.next(seen - 1, 10) == seen, "something new is there already"
        waiting = asyncio.ensure_future(watch.next(seen, 10))
        await asyncio.sleep(0)
        node.ask(frame())
        asked = await waiting
        assert asked != seen
        promise.resolve([b""])
        assert await watch.next(asked, 10) != asked
        last = watch.happened
        assert await watch.next(last, 10) == last, "what timers do is noticed, too, a little later"

    asyncio.run(use())
