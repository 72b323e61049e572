"""Which nodes of an embedded cluster reach each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

REPLICA_FETCHER = "replica-fetcher-"
"""What the purposes of connections begin with by which followers copy."""


class Links:
    """All links between the nodes, and between what is cut."""

    def __init__(self) -> None:
        self._nodes: dict[int, int] = {}
        """By the ports that they listen at."""
        self._cuts: dict[str, frozenset[int]] = {}
        self._idle_followers: dict[str, int] = {}

    def know(self, ports: Sequence[Mapping[str, int]]) -> None:
        """Which ports each node listens at, from node 1 on, by listener."""
        self._nodes = {port: node_id for node_id, each in enumerate(ports, 1) for port in each.values()}

    def cut_off(self, cut: str, nodes: frozenset[int]) -> None:
        """Let these nodes reach each other only, and the others likewise."""
        self._cuts[cut] = nodes

    def stop_fetching(self, cut: str, node_id: int) -> None:
        """Let this node copy from nobody."""
        self._idle_followers[cut] = node_id

    def mend(self, cut: str) -> None:
        """Undo a cut; one that is none is fine."""
        self._cuts.pop(cut, None)
        self._idle_followers.pop(cut, None)

    def mend_all(self) -> None:
        """Undo all of them."""
        self._cuts.clear()
        self._idle_followers.clear()

    def is_off(self, node_id: int) -> bool:
        """Whether a node is one of those that were cut off."""
        return any(node_id in nodes for nodes in self._cuts.values())

    def is_cut(self, node_id: int, port: int, purpose: str) -> bool:
        """Whether what a node sends to a port for a purpose is lost."""
        if purpose.startswith(REPLICA_FETCHER) and node_id in self._idle_followers.values():
            return True
        other = self._nodes.get(port)
        return any((node_id in nodes) is not (other in nodes) for nodes in self._cuts.values())
