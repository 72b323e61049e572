"""A thousand connections at once."""

from __future__ import annotations

import asyncio
import resource
import statistics
import struct
import time
from collections.abc import Callable

import pytest

from odradek.wire.messages.fetch import FetchResponse
from odradek.wire.messages.produce import ProduceResponse
from tests.support.batches import batch
from tests.support.process import BrokerProcess
from tests.support.requests import code, connect, create_topic, fetch_request, only_partition, produce_request
from tests.support.wire import encode_request, framed

pytestmark = pytest.mark.owns_broker

CONNECTIONS = 1000
PARTITIONS = 10
ROUNDS = 5
INTERVAL_S = 1.0
"""Each busy connection makes one request in this time: load, but not saturation."""
PRODUCE_P99_S = 0.100
"""A promise of this project's; Apache Kafka's figure is reported beside it."""


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, number: int) -> bytes:
    writer.write(framed(request))
    await writer.drain()
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    payload = await reader.readexactly(size)
    assert struct.unpack_from(">i", payload)[0] == number
    return payload[5:]


async def produce_now_and_then(broker: BrokerProcess, topic: str, worker: int, latencies_s: list[float]) -> None:
    reader, writer = await asyncio.open_connection(broker.host, broker.port)
    try:
        await asyncio.sleep(INTERVAL_S * worker / CONNECTIONS)
        for number in range(ROUNDS):
            request = produce_request(topic, batch([b"x" * 100]), partition=worker % PARTITIONS)
            data = encode_request(request, 12, number)
            begun = time.perf_counter()
            payload = await exchange(reader, writer, data, number)
            latencies_s.append(time.perf_counter() - begun)
            answer = ProduceResponse.decode(payload, 12).responses[0].partition_responses[0]
            assert code(answer.error_code) == "NONE"
            await asyncio.sleep(INTERVAL_S)
    finally:
        writer.close()


async def fetch_now_and_then(broker: BrokerProcess, topic: str, worker: int) -> None:
    reader, writer = await asyncio.open_connection(broker.host, broker.port)
    try:
        await asyncio.sleep(INTERVAL_S * worker / CONNECTIONS)
        for number in range(ROUNDS):
            request = fetch_request(topic, 0, partition=worker % PARTITIONS, max_wait_ms=0, partition_max_bytes=4096)
            payload = await exchange(reader, writer, encode_request(request, 12, number), number)
            assert code(only_partition(FetchResponse.decode(payload, 12)).error_code) == "NONE"
            await asyncio.sleep(INTERVAL_S)
    finally:
        writer.close()


async def run(broker: BrokerProcess, topic: str) -> list[float]:
    idle = [await asyncio.open_connection(broker.host, broker.port) for _ in range(CONNECTIONS // 2)]
    latencies_s: list[float] = []
    quarter = CONNECTIONS // 4
    await asyncio.gather(
        *(produce_now_and_then(broker, topic, worker, latencies_s) for worker in range(quarter)),
        *(fetch_now_and_then(broker, topic, worker) for worker in range(quarter)),
    )
    for _, writer in idle:
        assert not writer.is_closing()
        writer.close()
    return latencies_s


def test_a_thousand_connections_half_of_them_busy(
    own_broker: Callable[..., BrokerProcess],
    unique: Callable[[str], str],
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No client sees an error, and 99 of 100 produces are answered within 100 ms; memory is reported."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4 * CONNECTIONS:
        if hard != resource.RLIM_INFINITY and hard < 4 * CONNECTIONS:
            pytest.skip(f"only {hard} files may be open here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (4 * CONNECTIONS, hard))
    broker, topic = own_broker(), unique("topic")
    with connect(broker) as connection:
        create_topic(connection, topic, PARTITIONS)
        before = broker.resident_bytes()
        for number in range(500 if broker.name == "apache" else 0):  # the JVM compiles what is called often
            warm = produce_request(topic, batch([b"x" * 100]), partition=number % PARTITIONS)
            connection.call(warm, ProduceResponse, 12)
    latencies_s = asyncio.run(run(broker, topic))
    p99_s = statistics.quantiles(latencies_s, n=100)[98]
    after = broker.resident_bytes()
    report = f"p99 of Produce {p99_s * 1000:.1f} ms; resident {before >> 20} MiB before, {after >> 20} MiB after"
    record_property("report", report)
    with capsys.disabled():
        print(f"\n{broker.name}, {CONNECTIONS} connections: {report}")  # noqa: T201  # the figure is the point
    assert len(latencies_s) == ROUNDS * CONNECTIONS // 4
    if broker.name == "odradek":
        assert p99_s <= PRODUCE_P99_S
