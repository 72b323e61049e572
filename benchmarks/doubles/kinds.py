"""The doubles, each used as its own documentation has it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Protocol

from benchmarks.brokers import SETTINGS, MeasuredApache
from tests.support.apache import ROOT, VERSION, Unavailable, kafka_libs, require
from tests.support.building import CACHE, build, digest

TOPIC = "t"
TIMEOUT_S = 20.0
KFAKE = Path(__file__).with_name("kfake")


class Double(Protocol):
    """A stand-in for Kafka that is not started yet."""

    def start(self) -> None:
        """Return once it can be used, with an empty topic."""

    def clean(self) -> None:
        """Give the next test an empty topic, as its documentation or its users do it."""

    def exchange(self) -> None:
        """The test: a record is produced, and consumed; raises AssertionError."""

    def pid(self) -> int | None:
        """The process that it runs in; None for this one."""

    def stop(self) -> None:
        """End it."""


def exchange(bootstrap_servers: str, topic: str) -> None:
    """A record by clients of their own, as a test has them."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    quiet = {"bootstrap.servers": bootstrap_servers, "log_level": 0}
    producer = Producer({**quiet, "linger.ms": 0})
    producer.produce(topic, b"value", partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    consumer = Consumer({**quiet, "group.id": "g", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(TIMEOUT_S)
    consumer.close()
    assert message is not None
    assert message.error() is None
    assert message.value() == b"value"


class _Served:
    """What clients reach by an address."""

    bootstrap_servers = ""
    topic = TOPIC

    def exchange(self) -> None:
        """With confluent-kafka."""
        exchange(self.bootstrap_servers, self.topic)

    def pid(self) -> int | None:
        """This process."""
        return None


class OdradekEmbedded(_Served):
    """EmbeddedKafka in this process; `reset()` between tests."""

    def start(self) -> None:
        from odradek.testing import EmbeddedKafka

        self._kafka = EmbeddedKafka(topics=[TOPIC]).start()
        self.bootstrap_servers = self._kafka.bootstrap_servers

    def clean(self) -> None:
        self._kafka.reset()

    def stop(self) -> None:
        self._kafka.stop()


class _Process(_Served):
    """What prints its address as the last word of a line, and runs in a process of its own."""

    def start(self) -> None:
        self._process = subprocess.Popen(self._command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        self.bootstrap_servers = self._next_address()

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=TIMEOUT_S)

    def pid(self) -> int | None:
        return self._process.pid

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _next_address(self) -> str:
        line = _of(self._process.stdout).readline()
        if not line.strip():
            raise RuntimeError(f"{self._command()} did not start")
        return line.split()[-1].decode()


class OdradekServe(_Process):
    """`odradek serve --in-memory`, as for programs in other languages; a topic of its own for each test."""

    _tests = 0

    def start(self) -> None:
        super().start()
        self.clean()

    def clean(self) -> None:
        self._tests += 1
        self.topic = f"{TOPIC}-{self._tests}"
        create_topic(self.bootstrap_servers, self.topic)

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "odradek", "serve", "--listen", "127.0.0.1:0", "--in-memory"]


class Kfake(_Process):
    """A kfake cluster in a Go program, and there franz-go's client; a new cluster for each test."""

    def clean(self) -> None:
        self._do(b"clean")

    def exchange(self) -> None:
        """In Go."""
        self._do(b"exchange")

    def _do(self, what: bytes) -> None:
        stdin = _of(self._process.stdin)
        stdin.write(what + b"\n")
        stdin.flush()
        assert _of(self._process.stdout).readline() == b"done\n"

    def _command(self) -> list[str]:
        return [str(build_kfake()), TOPIC]


class LibrdkafkaMock(_Served):
    """librdkafka's mock cluster, in the handle of a producer; a new one for each test."""

    def start(self) -> None:
        from confluent_kafka import Producer

        self._handle: Producer | None = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        (broker,) = self._handle.list_topics(timeout=TIMEOUT_S).brokers.values()
        self.bootstrap_servers = f"{broker.host}:{broker.port}"

    def clean(self) -> None:
        self.stop()
        self.start()

    def stop(self) -> None:
        self._handle = None


class Mockafka:
    """mockafka-py, which takes the place of the client; its store is emptied between tests."""

    def start(self) -> None:
        self._mockafka = import_module("mockafka")
        self._topics = import_module("mockafka.admin_client").NewTopic
        self.clean()

    def clean(self) -> None:
        import_module("mockafka.kafka_store").KafkaStore(clean=True)
        self._mockafka.FakeAdminClientImpl().create_topics([self._topics(TOPIC, 1)])

    def exchange(self) -> None:
        producer = self._mockafka.FakeProducer()
        producer.produce(TOPIC, b"value", partition=0)
        producer.flush()
        consumer = self._mockafka.FakeConsumer()
        consumer.subscribe([TOPIC])
        message = consumer.poll(TIMEOUT_S)
        consumer.close()
        assert message is not None
        assert message.value(payload=None) == b"value"

    def pid(self) -> int | None:
        return None

    def stop(self) -> None:
        """There is nothing to end."""


class Apache(_Served):
    """Apache Kafka, started natively: what a container is at least; a topic of its own for each test."""

    _tests = 0

    def start(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="odradek-doubles-")
        directory = Path(self._directory.name)
        self._broker = MeasuredApache(directory, SETTINGS)
        self._broker.start()
        self.bootstrap_servers = self._broker.bootstrap
        self.clean()

    def clean(self) -> None:
        self._tests += 1
        self.topic = f"{TOPIC}-{self._tests}"
        create_topic(self.bootstrap_servers, self.topic)

    def pid(self) -> int | None:
        return self._broker.pid

    def stop(self) -> None:
        self._broker.close()
        self._directory.cleanup()


def create_topic(bootstrap_servers: str, topic: str) -> None:
    """With confluent-kafka's AdminClient."""
    from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not in the library's __all__
        AdminClient,
        NewTopic,
    )

    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(TIMEOUT_S)


def build_kfake() -> Path:
    """The Go program, built once. Raises Unavailable."""
    require("go")
    program = CACHE / f"kfake-{digest(*sorted(KFAKE.iterdir()))}"
    if not program.exists():
        build(["go", "build", "-trimpath", "-o", str(program), "."], KFAKE)
    return program


KINDS: dict[str, tuple[str, type[Double]]] = {
    "odradek": ("Odradek, embedded", OdradekEmbedded),
    "odradek-serve": ("Odradek, `odradek serve`", OdradekServe),
    "librdkafka": ("librdkafka's mock cluster", LibrdkafkaMock),
    "kfake": ("kfake (franz-go)", Kfake),
    "mockafka": ("mockafka-py", Mockafka),
    "apache": (f"Apache Kafka {VERSION}, native", Apache),
}
"""What each is called, and how it is made."""
_PACKAGES = {
    "odradek": "odradek",
    "odradek-serve": "odradek",
    "librdkafka": "confluent-kafka",
    "mockafka": "mockafka-py",
}


def missing(key: str) -> str | None:
    """What this machine lacks for one of them; None if nothing. Builds what has to be built."""
    try:
        if key == "kfake":
            build_kfake()
        elif key == "apache":
            require("java")
            kafka_libs()
    except Unavailable as reason:
        return str(reason)
    if key == "mockafka" and find_spec("mockafka") is None:
        return "mockafka-py is not installed"
    return None


def version_of(key: str) -> str:
    """The release that was measured."""
    if key == "kfake":
        return next(line.split()[-1] for line in (KFAKE / "go.mod").read_text().splitlines() if "pkg/kfake" in line)
    if key == "apache":
        return VERSION
    try:
        return version(_PACKAGES[key])
    except PackageNotFoundError:
        return "?"


def _of(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
