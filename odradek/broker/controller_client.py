"""How a broker reaches the active controller."""

from __future__ import annotations

from typing import Protocol, TypeVar

from odradek.ports import Promise
from odradek.server.context import RequestContext
from odradek.wire.schema import Message

Resp = TypeVar("Resp", bound=Message)


class ControllerClient(Protocol):
    """Sends requests to the active controller: in this process, or over the wire in an Envelope (KIP-590)."""

    def send(self, request: Message, response: type[Resp], context: RequestContext | None = None) -> Promise[Resp]:
        """The controller's answer; `context` is the client's for whom it is forwarded, None for the broker's own.

        Fails with KafkaError NOT_CONTROLLER or REQUEST_TIMED_OUT where no controller can be reached.
        """
        ...
