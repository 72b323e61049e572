"""Every raw workload, for a moment, against a broker of ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks import brokers, procfs
from benchmarks.load.produce import generate
from benchmarks.workloads import connections, mixed, produce
from benchmarks.workloads.base import QUICK
from benchmarks.workloads.connections import ManyConnections
from benchmarks.workloads.mixed import Mixed
from benchmarks.workloads.produce import RawLoad
from tests.support.process import BrokerProcess
from tests.support.requests import connect, create_topic, list_offset

LATEST = -1
RAW = [workload for workload in produce.workloads(None, QUICK) if isinstance(workload, RawLoad)]
MANY = [workload for workload in connections.workloads(None, QUICK) if isinstance(workload, ManyConnections)]
LONG = [workload for workload in mixed.workloads(None, QUICK) if isinstance(workload, Mixed)]

pytestmark = pytest.mark.skipif(not procfs.available(), reason="no /proc here")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with brokers.running(brokers.ODRADEK, tmp_path_factory.mktemp("bench") / "odradek") as started:
        yield started


def end_offset(broker: BrokerProcess, topic: str) -> int:
    with connect(broker) as connection:
        return list_offset(connection, topic, LATEST).offset


@pytest.mark.parametrize("workload", RAW, ids=lambda workload: workload.name)
def test_what_a_raw_load_reports_is_in_the_log(broker: BrokerProcess, workload: RawLoad) -> None:
    with connect(broker) as connection:
        create_topic(connection, workload.name)
    load = replace(workload.load, host=broker.host, port=broker.port, topic=workload.name, max_batches=70, seconds=20.0)
    result = generate(load)
    assert result.records == end_offset(broker, workload.name) == result.requests * load.records_per_batch
    assert result.requests - 70 == (load.connections if load.acks == 0 else 0)


def test_connections_are_held_by_a_process_of_their_own(broker: BrokerProcess) -> None:
    with connect(broker) as connection:
        create_topic(connection, "held")
    held = replace(MANY[0].held, connections=30, interval_s=0.1, seconds=0.2, settle_s=0.0)
    result = replace(MANY[0], held=held).run(broker, "held")
    assert result.records == end_offset(broker, "held") == 20
    assert result.bytes_per_connection is not None
    assert result.resident_series_bytes


def test_producing_and_consuming_at_once_is_sampled(broker: BrokerProcess) -> None:
    with connect(broker) as connection:
        create_topic(connection, "mixed", LONG[0].partitions)
    workload = replace(LONG[0], tail=replace(LONG[0].tail, batches=100))
    workload.prepare(broker, "mixed")
    result = workload.run(broker, "mixed")
    assert result.records == 100 * 100 * 2
    assert len(result.resident_series_bytes) > 20
    assert min(result.resident_series_bytes) > 10 << 20
