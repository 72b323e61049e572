"""The node of a `Cluster` as faults see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odradek.ports.network import ConnectionInfo
from odradek.server.handlers import AnyHandler
from odradek.wire.apis import ApiKey
from odradek.wire.uuids import Uuid

if TYPE_CHECKING:
    from odradek.node.node import Node
    from odradek.testing.cluster import Cluster


class ClusterNode:
    """Implements `NodeView`, also while the node does not run."""

    def __init__(self, cluster: Cluster, node_id: int) -> None:
        self._cluster = cluster
        self._node_id = node_id

    @property
    def node_id(self) -> int:
        """`node.id`."""
        return self._node_id

    def topic_name(self, topic_id: Uuid) -> str | None:
        """The name of a topic id; None for one that the node does not know."""
        node = self._node
        topic = None if node is None else node.quorum.loader.image.topics.by_id.get(topic_id)
        return None if topic is None else topic.name

    def handler(self, key: ApiKey) -> AnyHandler | None:
        """Who answers an API; None for one that is not served."""
        node = self._node
        return None if node is None else node.broker_handlers.get(key) or node.controller_handlers.get(key)

    def fetched(self, session_id: int) -> list[tuple[str | Uuid, int]]:
        """The partitions of a fetch session."""
        node = self._node
        return [] if node is None else node.broker.fetch_sessions.partitions(session_id)

    def half_close(self, connection: ConnectionInfo) -> None:
        """Send nothing more over a connection."""
        running = self._cluster.nodes.get(self._node_id)
        if running is not None:
            running.half_close(connection.id)

    @property
    def _node(self) -> Node | None:
        running = self._cluster.nodes.get(self._node_id)
        return None if running is None else running.node
