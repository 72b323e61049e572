"""Who leads, for clients that asked the wrong broker (KIP-951)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from odradek.metadata.image import MetadataImage


class LeaderEndpoint(NamedTuple):
    """Where a client of one listener reaches a broker."""

    node_id: int
    host: str
    port: int
    rack: str | None


def leader_endpoints(image: MetadataImage, listener: str, leaders: Iterable[int]) -> list[LeaderEndpoint]:
    """Each of the brokers once, without those that are unknown or do not have the listener."""
    found = []
    for leader in dict.fromkeys(leaders):
        broker = image.cluster.brokers.get(leader)
        endpoint = None if broker is None else broker.endpoints.get(listener)
        if broker is not None and endpoint is not None:
            found.append(LeaderEndpoint(leader, endpoint.host, endpoint.port, broker.rack))
    return found
