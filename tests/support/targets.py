"""What the conformance suite talks to, chosen by ``--target``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.apache import ApacheKafka, Unavailable, kafka_libs, require
from tests.support.container import ApacheContainer
from tests.support.odradek import Odradek
from tests.support.process import BrokerProcess

FAST_SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "200",
    "group.max.size": "6",
    "group.consumer.assignment.interval.ms": "0",
    "group.consumer.heartbeat.interval.ms": "200",
    "group.consumer.max.size": "6",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.min.session.timeout.ms": "500",
    "offset.metadata.max.bytes": "4096",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.num.partitions": "5",
    "log.segment.delete.delay.ms": "1000",
    "log.initial.task.delay.ms": "3600000",
    "log.retention.check.interval.ms": "3600000",
}
"""Set on both brokers, so that cases take seconds, limits are within reach, and records of years ago stay."""


class Target(Protocol):
    """A broker to talk to, owned by this session or not."""

    name: str
    host: str
    port: int
    overrides: dict[str, str]

    @property
    def bootstrap(self) -> str: ...

    def log_tail(self, lines: int = 40) -> str: ...


class ExternalBroker:
    """A broker that somebody else runs: its settings are not known, and it cannot be restarted."""

    name = "external"

    def __init__(self, address: str) -> None:
        self.host, _, port = address.rpartition(":")
        if not self.host or not port.isdecimal():
            raise pytest.UsageError(f"--target takes odradek, apache or HOST:PORT, not {address!r}")
        self.port = int(port)
        self.overrides: dict[str, str] = {}

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"

    def log_tail(self, lines: int = 40) -> str:
        return "(the log of a broker that this session did not start)"


def docker_works() -> bool:
    if shutil.which("docker") is None:
        return False
    done = subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False)
    return done.returncode == 0


def new_broker(kind: str, directory: Path, overrides: Mapping[str, str]) -> BrokerProcess:
    """A broker of a kind (``odradek`` or ``apache``), not started yet. Raises Unavailable."""
    if kind == "odradek":
        return Odradek(directory, overrides)
    try:
        require("java")
        kafka_libs()
    except Unavailable as without_java:
        if docker_works():
            return ApacheContainer(directory, overrides)
        raise Unavailable(f"{without_java}; and no Docker engine that runs") from without_java
    return ApacheKafka(directory, overrides)
