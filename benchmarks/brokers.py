"""The two brokers under measurement, started the way their users start them, on loopback."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import odradek
from benchmarks import procfs
from benchmarks.tools import JVM_OPTIONS
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from tests.support.apache import VERSION, ApacheKafka, Unavailable, kafka_libs, require
from tests.support.odradek import Odradek
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import connect, create_topic

SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "log.segment.delete.delay.ms": "100",
    "log.initial.task.delay.ms": "500",
}
"""Set on both: groups start at once, and a deleted topic's files go before they are written back. The last is the wait
before the first such deletion."""
ODRADEK_SETTINGS = {**SETTINGS, "odradek.record.validation": "header"}
"""The default, which the conformance suite's broker does not have."""
APACHE_HEAP = ("-Xmx1g", "-Xms1g")
"""The heap that Kafka's start script gives a broker."""
READY_POLL_S = 0.005
CREATION_TIMEOUT_S = 60.0
"""Apache Kafka takes a while for the files of 1,000 partitions."""
DELETION_TIMEOUT_S = 60.0


class MeasuredOdradek(Odradek):
    """Ready is what has answered a client, as below."""

    def start(self) -> None:
        """Run until it answers. Raises BrokerFailed."""
        begun_s = time.monotonic()
        super().start()
        while self.running and not answers_api_versions(self.host, self.port):
            time.sleep(READY_POLL_S)
        self.ready_after_s = time.monotonic() - begun_s


class MeasuredApache(ApacheKafka):
    """Apache Kafka with the JVM options of its own start script; formatting does not count as starting."""

    def __init__(self, directory: Path, overrides: Mapping[str, str]) -> None:
        super().__init__(directory, overrides)
        self.ready_after_s = 0.0
        self._begun_s = 0.0

    def _java(self, *arguments: str) -> list[str]:
        return with_start_script_options(super()._java(*arguments))

    def _spawn(self, argv: Sequence[str], *, pipe_stdout: bool, env: Mapping[str, str] | None = None) -> None:
        self._begun_s = time.monotonic()
        super()._spawn(argv, pipe_stdout=pipe_stdout, env=env)

    def _await_metadata(self) -> None:
        while self.running and not answers_api_versions(self.host, self.port):
            time.sleep(READY_POLL_S)
        self.ready_after_s = time.monotonic() - self._begun_s
        super()._await_metadata()


def with_start_script_options(command: Sequence[str]) -> list[str]:
    """A broker's `java` command with heap and collector as Kafka's start script sets them."""
    classpath = command.index("-cp")
    logging = [option for option in command[1:classpath] if option.startswith("-Dlog4j2")]
    return [command[0], *APACHE_HEAP, *JVM_OPTIONS, *logging, *command[classpath:]]


def answers_api_versions(host: str, port: int) -> bool:
    """Whether an ApiVersions request (version 0) is answered without an error."""
    request = struct.pack(">hhih", 18, 0, 7, -1)
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as stream:
                answer = stream.read(10)
    except OSError:
        return False
    return len(answer) == 10 and struct.unpack(">iih", answer)[2] == 0


@dataclass(frozen=True)
class Side:
    """One of the two brokers: what it is called, and how to make a fresh one that has not been started."""

    key: str
    title: str
    new: Callable[[Path], MeasuredOdradek | MeasuredApache]


ODRADEK = Side(
    "odradek", f"Odradek {odradek.__version__}", lambda directory: MeasuredOdradek(directory, ODRADEK_SETTINGS)
)
APACHE = Side("apache", f"Apache Kafka {VERSION}", lambda directory: MeasuredApache(directory, SETTINGS))
APACHE_AGAIN = Side("apache-again", f"Apache Kafka {VERSION} again", APACHE.new)


def missing() -> str | None:
    """What this machine lacks for a comparison, in a sentence; None where nothing is missing."""
    return without_proc() or without_apache()


def without_proc() -> str | None:
    """Why nothing can be measured here, in a sentence; None where it can."""
    if not sys.platform.startswith("linux") or not procfs.available():
        return "CPU time and memory are read from Linux's /proc, which is not here"
    return None


def without_apache() -> str | None:
    """Why Apache Kafka cannot be run here, in a sentence; None where it can."""
    try:
        require("java")
        kafka_libs()
    except Unavailable as reason:
        return f"Apache Kafka cannot be run here: {reason}"
    return None


@contextmanager
def running(
    side: Side, directory: Path, settings: Mapping[str, str] | None = None
) -> Iterator[MeasuredOdradek | MeasuredApache]:
    """A broker in a new directory, with more settings, ended by its process id at the exit. Raises BrokerFailed."""
    directory.mkdir(parents=True)
    broker = side.new(directory)
    broker.overrides.update(settings or {})
    try:
        broker.start()
        yield broker
        if broker.running:
            broker.stop()
    finally:
        broker.close()


@contextmanager
def topic(broker: BrokerProcess, name: str, partitions: int = 1) -> Iterator[str]:
    """A topic; deleted at the exit, when its files are waited for."""
    try:
        with connect(broker) as connection:
            create_topic(connection, name, partitions, timeout_s=CREATION_TIMEOUT_S)
        yield name
    finally:
        if broker.running:
            delete_topic(broker, name)


def delete_topic(broker: BrokerProcess, name: str) -> None:
    """Delete a topic and wait until its files are gone. Raises TimeoutError."""
    with connect(broker) as connection:
        request = DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], timeout_ms=30_000)
        connection.call(request, DeleteTopicsResponse)
    wait_for(
        lambda: not any(broker.data_dir.glob(f"{name}-*")) and not any(broker.data_dir.glob(f"{name}.*-delete")),
        f"the files of {name} are deleted",
        DELETION_TIMEOUT_S,
    )
