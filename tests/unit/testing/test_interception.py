"""What stands between listeners and handlers."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.ports import Promise
from odradek.ports.network import ConnectionInfo, FrameHandler, Outcome, Reply, RunHandler, UniformReplies
from odradek.testing.interception import Interception, RequestHead, request_head
from odradek.wire.apis import ApiKey, request_header_version
from odradek.wire.messages.headers import RequestHeader

HERE = ConnectionInfo("c", "PLAINTEXT", "PLAINTEXT", "127.0.0.1", 1, "127.0.0.1", 2)


def frame_of(key: ApiKey, version: int, client_id: str | None = "me", body: bytes = b"body") -> memoryview:
    header = RequestHeader(
        request_api_key=key, request_api_version=version, correlation_id=7, client_id=client_id
    ).encode(request_header_version(key, version))
    return memoryview(bytearray(header + body))


class Node:
    """Handlers that say what they were asked."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.interception = Interception()
        self.handle, self.handle_run = self.interception.frames(
            (self._handle, RunHandler(self._answer, self._answer_uniform))
        )

    def _handle(self, _connection: ConnectionInfo, frame: memoryview) -> Reply:
        self.seen.append(bytes(frame))
        return [b"answer"]

    def _answer(self, _connection: ConnectionInfo, frames: Sequence[memoryview]) -> list[Reply]:
        return [[b"together"] for _ in frames]

    def _answer_uniform(self, _connection: ConnectionInfo, _stretch: memoryview) -> UniformReplies:
        return UniformReplies(2, b"uniform")


def adding(text: bytes) -> object:
    def intercept(connection: ConnectionInfo, frame: memoryview, forward: FrameHandler) -> Reply | Promise[Reply]:
        reply = forward(connection, memoryview(bytes(frame) + text))
        assert not isinstance(reply, (Promise, Outcome))
        return [*reply, text]

    return intercept


def test_frames_pass_observers_first_and_then_the_others_in_the_order_they_came() -> None:
    node = Node()
    first, second, observer = adding(b"1"), adding(b"2"), adding(b"0")
    node.interception.add(first)  # type: ignore[arg-type]
    node.interception.add(second)  # type: ignore[arg-type]
    node.interception.observe(observer)  # type: ignore[arg-type]
    assert node.handle(HERE, memoryview(b"f")) == [b"answer", b"2", b"1", b"0"]
    node.interception.remove(first)  # type: ignore[arg-type]
    node.interception.remove(first)  # type: ignore[arg-type]
    assert node.handle(HERE, memoryview(b"f")) == [b"answer", b"2", b"0"]
    assert node.seen == [b"f012", b"f02"]


def test_frames_that_arrive_together_go_the_short_way_only_while_nobody_intercepts() -> None:
    node = Node()
    frames = [memoryview(b"a"), memoryview(b"b")]
    assert node.handle_run is not None
    assert node.handle_run.answer(HERE, frames) == [[b"together"], [b"together"]]
    assert node.handle_run.answer_uniform(HERE, memoryview(b"ab")) == (2, b"uniform")
    interceptor = adding(b"1")
    node.interception.add(interceptor)  # type: ignore[arg-type]
    assert node.handle_run.answer(HERE, frames) == ()
    assert node.handle_run.answer_uniform(HERE, memoryview(b"ab")) is None
    node.interception.remove(interceptor)  # type: ignore[arg-type]
    assert node.handle_run.answer(HERE, frames) == [[b"together"], [b"together"]]
    assert node.handle_run.answer_uniform(HERE, memoryview(b"ab")) == (2, b"uniform")


def test_a_head_is_read_in_every_form_of_it() -> None:
    for version in (0, 12):
        for client_id in ("me", None):
            frame = frame_of(ApiKey.METADATA, version, client_id)
            head = request_head(frame)
            assert head == RequestHead(ApiKey.METADATA, version, 7, client_id, len(frame) - 4)


def test_what_is_no_request_has_no_head() -> None:
    assert request_head(memoryview(b"")) is None
    assert request_head(memoryview(b"\x00\x03\x00\x01\x00")) is None
    assert request_head(memoryview(b"\x7f\xff\x00\x01" + bytes(20))) is None
