"""Where tests look at requests, and meddle with them: between the listeners of an embedded node and its handlers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from odradek.node.running import Frames
from odradek.ports import Promise
from odradek.ports.network import ConnectionInfo, FrameHandler, Reply
from odradek.wire.apis import ApiKey, request_header_version
from odradek.wire.errors import ProtocolError
from odradek.wire.messages.headers import RequestHeader

Interceptor = Callable[[ConnectionInfo, memoryview, FrameHandler], Reply | Promise[Reply]]
"""Answers one frame, as a `FrameHandler` does, by the handler that it is given or in its place.

That handler may write to the frame's memory: whoever wants to keep bytes of it copies them first.
"""


_OF_A_NODE = re.compile(r"odradek-\d+-")
"""The client ids of the connections between nodes begin like this."""


class RequestHead(NamedTuple):
    """The header of a request."""

    key: ApiKey
    version: int
    correlation_id: int
    client_id: str | None
    body_at: int
    """Where the body begins in the frame."""


def request_head(frame: memoryview) -> RequestHead | None:
    """The header of a frame; None for what is no request that a node could answer."""
    try:
        key, version = ApiKey(int.from_bytes(frame[:2], "big", signed=True)), int.from_bytes(frame[2:4], "big")
        header, body_at = RequestHeader.decode_prefix(frame, request_header_version(key, version))
    except (ProtocolError, ValueError):
        return None
    return RequestHead(key, version, header.correlation_id, header.client_id, body_at)


def is_of_a_node(client_id: str | None) -> bool:
    """Whether a request is one of another node, and not of a client."""
    return client_id is not None and _OF_A_NODE.match(client_id) is not None


class Interception:
    """The interceptors of one node, for its `Surroundings`. Belongs to the thread of its loop.

    While there are none, frames go to the handlers as if this were not there. While there are some, each frame passes
    them one by one, also those that arrive together.
    """

    def __init__(self) -> None:
        self._interceptors: tuple[Interceptor, ...] = ()

    def observe(self, observer: Interceptor) -> None:
        """Have all frames pass this one first, so that it sees what a client sends and what it gets in the end."""
        self._interceptors = (observer, *self._interceptors)

    def add(self, interceptor: Interceptor) -> None:
        """Have all frames pass this one, behind those that there are."""
        self._interceptors = (*self._interceptors, interceptor)

    def remove(self, interceptor: Interceptor) -> None:
        """Take one out again; one that is not there is fine."""
        self._interceptors = tuple(each for each in self._interceptors if each != interceptor)

    def frames(self, frames: Frames) -> Frames:
        """What a listener is given in place of these handlers."""
        handler, run_handler = frames

        def handle(connection: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
            return _passed(self._interceptors, handler, connection, frame)

        return handle, None if run_handler is None else run_handler.only_while(lambda: not self._interceptors)


def _passed(
    interceptors: Sequence[Interceptor], handler: FrameHandler, connection: ConnectionInfo, frame: memoryview
) -> Reply | Promise[Reply]:
    if not interceptors:
        return handler(connection, frame)

    def forward(connection: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        return _passed(interceptors[1:], handler, connection, frame)

    return interceptors[0](connection, frame, forward)
