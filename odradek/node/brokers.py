"""How the broker of a node reaches all brokers of the cluster, itself among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from odradek.metadata.image import MetadataImage
from odradek.node.in_process import InProcess
from odradek.ports import Promise
from odradek.server.peers import Peers
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.schema import Message

Resp = TypeVar("Resp", bound=Message)


class ClusterBrokers:
    """A `BrokerClient` over the image: the handlers of this process for this broker, connections to the others.

    The address is looked up for each request, so that a broker that comes back elsewhere is found.
    """

    def __init__(
        self,
        own_id: int,
        own: InProcess,
        image: Callable[[], MetadataImage],
        listener: str,
        peers: Peers | None,
        timeout_ms: float,
    ) -> None:
        """`listener` is the inter-broker one; without `peers` only this broker can be reached."""
        self._own_id = own_id
        self._own = own
        self._image = image
        self._listener = listener
        self._peers = peers
        self._timeout_ms = timeout_ms

    def send(self, broker_id: int, request: Message, response: type[Resp]) -> Promise[Resp]:
        """The broker's answer; fails as `BrokerClient` says, NETWORK_EXCEPTION also for a broker that is unknown."""
        if broker_id == self._own_id:
            return self._own.send(request, response)
        broker = self._image().cluster.brokers.get(broker_id)
        endpoint = None if broker is None else broker.endpoints.get(self._listener)
        if endpoint is None or self._peers is None:
            reason = f"Broker {broker_id} has no listener {self._listener} that is known."
            return Promise.failed(KafkaError(ErrorCode.NETWORK_EXCEPTION, reason))
        return self._peers.send(endpoint.host, endpoint.port, request, response, timeout_ms=self._timeout_ms)

    def close(self) -> None:
        """Give the connections back; what waits for an answer fails."""
        if self._peers is not None:
            self._peers.close()
