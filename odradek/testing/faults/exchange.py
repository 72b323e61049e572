"""One request on its way through the faults of a node."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

from odradek.ports import Promise
from odradek.ports.network import ConnectionInfo, FrameHandler, Reply
from odradek.server.handlers import AnyHandler
from odradek.testing.faults.matching import Place
from odradek.testing.faults.places import places_of
from odradek.testing.interception import RequestHead
from odradek.wire.apis import ApiKey, request_class, request_header_version
from odradek.wire.budget import Budget
from odradek.wire.errors import ProtocolError
from odradek.wire.messages.fetch import FetchRequest
from odradek.wire.messages.headers import RequestHeader
from odradek.wire.schema import Message
from odradek.wire.uuids import Uuid


class NodeView(Protocol):
    """What faults of requests need of the node that they are asked of."""

    @property
    def node_id(self) -> int:
        """`node.id`."""
        ...

    def topic_name(self, topic_id: Uuid) -> str | None:
        """The name of a topic id; None for one that the node does not know."""
        ...

    def handler(self, key: ApiKey) -> AnyHandler | None:
        """Who answers an API; None for one that is not served."""
        ...

    def fetched(self, session_id: int) -> list[tuple[str | Uuid, int]]:
        """The partitions, by topic name or id, of a fetch session; none for one that does not exist."""
        ...

    def half_close(self, connection: ConnectionInfo) -> None:
        """Send nothing more over a connection, and go on to read."""
        ...


class Exchange:
    """A request, and the way on to the node's handlers."""

    def __init__(
        self,
        node: NodeView,
        connection: ConnectionInfo,
        head: RequestHead,
        frame: memoryview,
        forward: FrameHandler,
    ) -> None:
        self.node = node
        self.connection = connection
        self.head = head
        self._frame = frame
        self._forward = forward

    @cached_property
    def request(self) -> Message | None:
        """The typed request; None for bytes that are none."""
        head, kind = self.head, request_class(self.head.key)
        try:
            # A copy, for handlers write to the frame.
            return kind.decode_prefix(bytes(self._frame), head.version, head.body_at, Budget())[0]
        except ProtocolError:
            return None

    @cached_property
    def places(self) -> list[Place]:
        """The topics and partitions that it is about, those of its fetch session included."""
        if self.request is None:
            return []
        places = places_of(self.request, self.node.topic_name)
        if isinstance(self.request, FetchRequest):
            places += self.session_places(self.request.session_id)
        return places

    def session_places(self, session_id: int) -> list[Place]:
        """The topics and partitions of a fetch session."""
        places: list[Place] = []
        for topic, partition in self.node.fetched(session_id):
            name = topic if isinstance(topic, str) else self.node.topic_name(topic)
            if name is not None:
                places.append((name, partition))
        return places

    def answer(self) -> Reply | Promise[Reply]:
        """What the node's handlers answer."""
        return self._forward(self.connection, self._frame)

    def answer_to(self, request: Message) -> Reply | Promise[Reply]:
        """What the node's handlers answer to another request in place of this one."""
        head = self.head
        header = RequestHeader(
            request_api_key=head.key,
            request_api_version=head.version,
            correlation_id=head.correlation_id,
            client_id=head.client_id,
        ).encode(request_header_version(head.key, head.version))
        return self._forward(self.connection, memoryview(bytearray(header + request.encode(head.version))))
