"""How a broker reaches the brokers of its cluster, itself among them."""

from __future__ import annotations

from typing import Protocol, TypeVar

from odradek.ports import Promise
from odradek.wire.schema import Message

Resp = TypeVar("Resp", bound=Message)


class BrokerClient(Protocol):
    """Sends requests to brokers, in the latest version that both sides know."""

    def send(self, broker_id: int, request: Message, response: type[Resp]) -> Promise[Resp]:
        """The broker's answer. Fails with KafkaError NETWORK_EXCEPTION or REQUEST_TIMED_OUT where there is none."""
        ...
