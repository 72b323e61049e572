"""A client that sends what it is told, for looking at single answers."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self, TypeVar

from odradek.net.connection import Connection, ConnectionOptions
from odradek.testing import EmbeddedKafka
from odradek.wire.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from odradek.wire.records.batch import build_batch
from odradek.wire.records.record import Record
from odradek.wire.schema import Message

R = TypeVar("R", bound=Message)
NAMES_TOPICS = 12
"""The last version of Produce and Fetch that does."""


class Wire:
    """One connection to a node, for tests that are not asynchronous themselves."""

    def __init__(self, kafka: EmbeddedKafka, node: int = 1, client_id: str = "wire", timeout_ms: float = 5_000) -> None:
        """Raises ConnectError."""
        host, _, port = kafka.bootstrap_servers.split(",")[node - 1].partition(":")
        options = ConnectionOptions(client_id=client_id, timeout_ms=timeout_ms)
        self._loop = asyncio.new_event_loop()
        try:
            self._connection = self._loop.run_until_complete(Connection.open(host, int(port), options))
        except BaseException:
            self._loop.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def send(self, request: Message, response: type[R], version: int | None = None) -> R:
        """Raises ConnectionLostError, RequestTimeoutError."""
        return self._loop.run_until_complete(self._connection.send(request, response, version=version))

    def produce_all(self, *requests: ProduceRequest) -> list[int]:
        """Send them all before the first answer is there; the base offsets."""

        async def run() -> list[int]:
            sends = [self._connection.send(each, ProduceResponse, version=NAMES_TOPICS) for each in requests]
            return [each.responses[0].partition_responses[0].base_offset for each in await asyncio.gather(*sends)]

        return self._loop.run_until_complete(run())

    def produce(self, *topics: str, value: bytes = b"v", partition: int = 0, acks: int = -1) -> dict[str, int]:
        """The error code of each topic."""
        response = self.send(
            produce_request(*topics, value=value, partition=partition, acks=acks), ProduceResponse, NAMES_TOPICS
        )
        return {each.name: each.partition_responses[0].error_code for each in response.responses}


def produce_request(*topics: str, value: bytes = b"v", partition: int = 0, acks: int = -1) -> ProduceRequest:
    batch = build_batch([Record(0, 0, None, value)])
    return ProduceRequest(
        acks=acks,
        timeout_ms=5_000,
        topic_data=[
            TopicProduceData(name=topic, partition_data=[PartitionProduceData(index=partition, records=batch)])
            for topic in topics
        ],
    )
