"""One node of each broker, and connections to both at once."""

from __future__ import annotations

import select
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from odradek.wire.apis import response_class
from odradek.wire.errors import ProtocolError
from odradek.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
)
from odradek.wire.messages.describe_transactions import DescribeTransactionsRequest, DescribeTransactionsResponse
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.schema import Message
from tests.support.process import wait_for
from tests.support.requests import TOPIC, alter_configs, await_coordinator, create_topic
from tests.support.targets import FAST_SETTINGS, new_broker
from tests.support.wire import Closed, Connection

SETTINGS = {
    **FAST_SETTINGS,
    "group.max.size": "4",
    "group.consumer.max.size": "4",
    "group.min.session.timeout.ms": "6000",
    "controller.quorum.append.linger.ms": "0",
}
"""What `tests/compat` sets, but nobody's session may run out; and the controller answers at once."""
ANSWER_S = 6.0


class Broker(Protocol):
    """Where a broker is."""

    host: str
    port: int


class Closing(NamedTuple):
    """The connection was closed instead of an answer."""


class Silence(NamedTuple):
    """No answer for as long as anybody would wait."""


Answer = Message | Closing | Silence


class Channel:
    """A connection to each broker, over which the same is asked."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._open: list[Connection] = []

    def send(self, ours: Message, theirs: Message, version: int) -> None:
        """Send the request to both."""
        if not self._open:
            self._open = self._nodes.connect()
        self._waiting = [
            connection.send(request, version) for connection, request in zip(self._open, (ours, theirs), strict=True)
        ]

    def answered(self, timeout_s: float = 0.0) -> bool:
        """Whether one of the brokers has answered, or has hung up."""
        return bool(select.select([connection.socket for connection in self._open], [], [], timeout_s)[0])

    def receive(self, api_key: int, version: int) -> tuple[Answer, Answer]:
        """The answers of both; after anything but answers the next request goes over new connections."""
        found = [
            self._received(connection, number, api_key, version)
            for connection, number in zip(self._open, self._waiting, strict=True)
        ]
        if not all(isinstance(answer, Message) for answer in found):
            self.close()
        return found[0], found[1]

    def close(self) -> None:
        """Hang up on both."""
        for connection in self._open:
            connection.close()
        self._open = []

    def _received(self, connection: Connection, number: int, api_key: int, version: int) -> Answer:
        try:
            frame = connection.receive_frame()
        except Closed:
            return Closing()
        except TimeoutError:
            return Silence()
        if struct.unpack_from(">i", frame)[0] != number:
            raise ProtocolError("an answer with a foreign correlation id")
        response = response_class(api_key)
        has_tags = version in response.FLEXIBLE and api_key != 18
        return response.decode(frame[5 if has_tags else 4 :], version)


@dataclass
class Nodes:
    """Two running nodes, Odradek first."""

    ours: Broker
    theirs: Broker
    names: str = "d"
    """What all names that are used begin with."""
    _controls: list[Connection] = field(default_factory=list)
    _written: int = 0

    @property
    def _anchor(self) -> str:
        return f"{self.names}-anchor"

    def connect(self) -> list[Connection]:
        """A new connection to each."""
        return [Connection(broker.host, broker.port, ANSWER_S) for broker in (self.ours, self.theirs)]

    def prepare(self) -> None:
        """Let both have their internal topics, and the topic that `settle` writes to."""
        self._controls = [Connection(broker.host, broker.port, 60.0) for broker in (self.ours, self.theirs)]
        for connection in self._controls:
            create_topic(connection, self._anchor)
            await_coordinator(connection, "any")
            _await_producer_ids(connection)
        self.settle()

    def settle(self) -> None:
        """Wait until both brokers act by all metadata that their controllers have committed.

        A broker takes up one change after the other: when the second of two writes is visible, it is done with all that
        came before the first.
        """
        for _ in range(2):
            self._written += 1
            value = str(1_000_000 + self._written)
            for connection in self._controls:
                alter_configs(connection, TOPIC, self._anchor, {"retention.ms": value})
            for connection in self._controls:
                _await_retention(connection, self._anchor, value)

    def end_transactions(self, transactional_ids: list[str]) -> None:
        """Wait until no decided transaction of these has markers to be written."""
        for connection in self._controls:
            request = DescribeTransactionsRequest(transactional_ids=transactional_ids)

            def ended(at: Connection = connection, asked: DescribeTransactionsRequest = request) -> bool:
                answer = at.call(asked, DescribeTransactionsResponse)
                return not any(state.transaction_state.startswith("Prepare") for state in answer.transaction_states)

            wait_for(ended, "transactions are complete", 30, 0.001)

    def close(self) -> None:
        """Hang up; the nodes go on."""
        for connection in self._controls:
            connection.close()


@contextmanager
def started(directory: Path, settings: Mapping[str, str] = SETTINGS) -> Iterator[Nodes]:
    """Both nodes, started for this block. Raises tests.support.apache.Unavailable where Kafka cannot be run."""
    brokers = [new_broker(kind, directory / kind, settings) for kind in ("odradek", "apache")]
    for broker in brokers:
        broker.directory.mkdir(parents=True)
    try:
        for broker in brokers:
            broker.start()
        nodes = Nodes(brokers[0], brokers[1])
        nodes.prepare()
        try:
            yield nodes
        finally:
            nodes.close()
    finally:
        for broker in brokers:
            broker.close()


def _await_retention(connection: Connection, topic: str, value: str) -> None:
    resource = DescribeConfigsResource(resource_type=TOPIC, resource_name=topic, configuration_keys=["retention.ms"])
    request = DescribeConfigsRequest(resources=[resource])

    def visible() -> bool:
        configs = connection.call(request, DescribeConfigsResponse).results[0].configs
        return bool(configs) and configs[0].value == value

    wait_for(visible, "a change is visible", 30, 0.001)


def _await_producer_ids(connection: Connection) -> None:
    where = FindCoordinatorRequest(key_type=1, coordinator_keys=["anchor"])
    request = InitProducerIdRequest(transactional_id="anchor", transaction_timeout_ms=60_000)

    def given() -> bool:
        coordinator = connection.call(where, FindCoordinatorResponse).coordinators[0]
        return not coordinator.error_code and connection.call(request, InitProducerIdResponse).error_code == 0

    wait_for(given, "transactions can begin", 30)
