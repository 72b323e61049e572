"""Figures of whole processes: a run of pytest, and a broker up to its first record."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.brokers import APACHE, running

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60.0

_TESTS = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_something({fixture}, number):
    pass
"""
_READY = "odradek ready on "


class Begun(NamedTuple):
    """Seconds since the process of a broker was started."""

    ready: float
    first_record: float
    """Until a record that was produced then has been consumed."""


def pytest_run(directory: Path, count: int, *, fixture: bool) -> float:
    """The seconds of a run of so many tests, with `kafka_broker` or another fixture of function scope."""
    (directory / "test_many.py").write_text(
        _TESTS.format(count=count, fixture="kafka_broker" if fixture else "request")
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "odradek.testing.plugin", "-p", "no:cacheprovider"]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    begun_s = time.perf_counter()
    subprocess.run(command, cwd=directory, env=env, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S)
    return time.perf_counter() - begun_s


def odradek_from_start(directory: Path) -> Begun:
    """`odradek serve` with a new data directory."""
    command = [sys.executable, "-m", "odradek", "serve", "--listen", "127.0.0.1:0", "--data-dir", str(directory)]
    begun_s = time.perf_counter()
    with subprocess.Popen([*command, "--log-level", "error"], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip().removeprefix(_READY)
            ready_s = time.perf_counter() - begun_s
            return Begun(ready_s, ready_s + send_and_receive(address))
        finally:
            process.terminate()


def apache_from_start(directory: Path) -> Begun:
    """Apache Kafka with a new data directory, whose formatting does not count."""
    with running(APACHE, directory) as broker:
        ready_s = broker.ready_after_s
        return Begun(ready_s, ready_s + send_and_receive(f"{broker.host}:{broker.port}"))


def send_and_receive(bootstrap_servers: str) -> float:
    """Produce a record to a topic that does not exist yet, and consume it by `assign`: how many seconds that takes.

    Raises RuntimeError.
    """
    begun_s = time.perf_counter()
    producer = Producer({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    producer.produce("first", b"v")
    if producer.flush(TIMEOUT_S):
        raise RuntimeError("the record was not delivered")
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "g", "log_level": 0})
    consumer.assign([TopicPartition("first", 0, 0)])
    message = consumer.poll(TIMEOUT_S)
    took_s = time.perf_counter() - begun_s
    if message is None or message.value() != b"v":
        raise RuntimeError("the record was not received")
    consumer.close()
    return took_s
