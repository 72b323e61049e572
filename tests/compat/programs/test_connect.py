"""Kafka Connect, distributed: a file source and a file sink go on where they were when their worker comes back."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.drain import read_committed
from tests.support.process import HOST, free_port, wait_for
from tests.support.program import Program
from tests.support.targets import Target

LINES = 3000
START_S = 60.0


class Worker:
    """One Connect worker and its REST interface."""

    def __init__(self, program: Program, port: int) -> None:
        self.program = program
        self._address = f"http://{HOST}:{port}"

    def call(self, method: str, path: str, body: object = None) -> Any:
        """What the worker answers, as JSON. Raises URLError and OSError while it cannot."""
        request = urllib.request.Request(
            self._address + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or "null")

    def put(self, connector: str, config: Mapping[str, str]) -> None:
        """Create a connector, as soon as the worker is ready for it."""

        def created() -> bool:
            self.program.check()
            try:
                self.call("PUT", f"/connectors/{connector}/config", config)
            except (urllib.error.URLError, OSError):
                return False
            return True

        wait_for(created, f"Connect takes the connector {connector}", START_S, 0.2)

    def wait_until_running(self, *connectors: str) -> None:
        """Wait until each connector and its task run."""

        def running() -> bool:
            self.program.check()
            try:
                status = [self.call("GET", f"/connectors/{connector}/status") for connector in connectors]
            except (urllib.error.URLError, OSError):
                return False
            parts = [part["state"] for each in status for part in (each["connector"], *each["tasks"])]
            assert "FAILED" not in parts, status
            return parts == ["RUNNING"] * (2 * len(connectors))

        wait_for(running, f"{connectors} run", START_S, 0.2)


@pytest.fixture
def worker(
    target: Target,
    new_topic: Callable[..., str],
    unique: Callable[[str], str],
    start_java: Callable[..., Program],
    tmp_path: Path,
) -> Worker:
    port, group = free_port(), unique("connect")
    properties = tmp_path / "connect.properties"
    properties.write_text(
        f"""\
bootstrap.servers={target.bootstrap}
group.id={group}
listeners=http://{HOST}:{port}
config.storage.topic={group}-configs
config.storage.replication.factor=1
offset.storage.topic={group}-offsets
offset.storage.replication.factor=1
offset.storage.partitions=3
status.storage.topic={group}-status
status.storage.replication.factor=1
status.storage.partitions=2
exactly.once.source.support=enabled
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
plugin.discovery=service_load
offset.flush.interval.ms=500
session.timeout.ms=3000
heartbeat.interval.ms=500
scheduled.rebalance.max.delay.ms=0
producer.transaction.timeout.ms=5000
consumer.isolation.level=read_committed
consumer.auto.offset.reset=earliest
consumer.session.timeout.ms=3000
consumer.heartbeat.interval.ms=500
"""
    )
    options = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    main = "org.apache.kafka.connect.cli.ConnectDistributed"
    return Worker(start_java(main, str(properties), name="connect", options=options), port)


def test_files_go_through_a_topic_to_files_once_whatever_becomes_of_the_worker(
    target: Target, worker: Worker, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    """Offsets and configurations are in the worker's internal topics: after a stop and after a kill it knows them."""
    topic, source, sink = new_topic(1), tmp_path / "source.txt", tmp_path / "sink.txt"
    lines = [f"line {number}" for number in range(LINES)]
    parts = [lines[: LINES // 3], lines[LINES // 3 : 2 * LINES // 3], lines[2 * LINES // 3 :]]

    def add(part: list[str]) -> None:
        with source.open("a") as file:
            file.write("".join(f"{line}\n" for line in part))

    def arrived(count: int) -> Callable[[], bool]:
        def enough() -> bool:
            worker.program.check()
            return sink.exists() and len(set(sink.read_text().split("\n")[:-1])) >= count

        return enough

    add(parts[0])
    connectors = {
        "source": {"connector.class": "FileStreamSource", "file": str(source), "topic": topic, "batch.size": "100"},
        "sink": {"connector.class": "FileStreamSink", "file": str(sink), "topics": topic},
    }
    for name, config in connectors.items():
        worker.put(name, {"tasks.max": "1", **config})
    wait_for(arrived(LINES // 3), "the first lines came through", START_S)
    worker.wait_until_running("source", "sink")

    assert worker.program.stop() in (0, 143)
    add(parts[1])
    worker.program.start()
    wait_for(arrived(2 * LINES // 3), "lines written while the worker was stopped came through", START_S)
    assert sink.read_text().splitlines() == parts[0] + parts[1], "after a clean stop, nothing is delivered twice"

    add(parts[2][: LINES // 6])
    wait_for(arrived(2 * LINES // 3 + 1), "the worker is in the midst of it", START_S)
    # A transaction that it leaves open holds up the next worker, which reads to the end, until it times out.
    worker.program.kill()
    add(parts[2][LINES // 6 :])
    worker.program.start()
    wait_for(arrived(LINES), "lines written while the worker was dead came through", START_S)
    worker.wait_until_running("source", "sink")
    # A sink delivers again what it had not committed; the topic, written in transactions, has each line once.
    assert list(dict.fromkeys(sink.read_text().splitlines())) == lines
    committed = read_committed(target.bootstrap, topic, 1, lambda found: len(found) >= LINES)
    assert [record.value for record in committed] == lines
    assert worker.call("GET", "/connectors/source/offsets") == {
        "offsets": [{"partition": {"filename": str(source)}, "offset": {"position": source.stat().st_size}}]
    }
    (place,) = worker.call("GET", "/connectors/sink/offsets")["offsets"]
    assert place["partition"] == {"kafka_topic": topic, "kafka_partition": 0}
