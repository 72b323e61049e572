"""`KafkaContainer` takes the place of testcontainers' class: programs for that one run, and nobody misses Docker."""

from __future__ import annotations

import gc
import inspect
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not in the library's __all__
    AdminClient,
    ConfigResource,
)

from odradek.testing import ConfigError, KafkaContainer, StartError
from odradek.testing.defaults import HOST
from tests.unit.testing.leaks import nothing_left

TIMEOUT_S = 20
ROOT = Path(__file__).resolve().parents[3]
NEEDS_A_CONTAINER = {
    "exec": ("ls",),
    "get_docker_client": (),
    "get_container_id": (),
    "get_container_info": (),
    "wait": (),
    "with_copy_into_container": (b"x", "/x"),
    "copy_into_container": (b"x", "/x"),
    "copy_from_container": ("/x", Path("x")),
    "create_file": (b"x", "/x"),
    "tc_start": (),
}
PROGRAM = """
import pytest
from confluent_kafka import Consumer, Producer
from testcontainers.kafka import KafkaContainer


class OneTopicWithThreePartitions(KafkaContainer):
    def __init__(self, image="confluentinc/cp-kafka:7.6.0", **kwargs):
        super().__init__(image, **kwargs)
        self.with_env("KAFKA_NUM_PARTITIONS", "3")

    def configure(self):
        super().configure()
        self.with_env("KAFKA_LOG_RETENTION_HOURS", 1)


@pytest.fixture(scope="module")
def kafka():
    container = OneTopicWithThreePartitions(port=9888).with_kraft().with_name("broker").with_kwargs(mem_limit="1g")
    with container.with_env("KAFKA_HEAP_OPTS", "-Xmx512m") as running:
        yield running


def test_a_record_comes_back(kafka):
    producer = Producer({"bootstrap.servers": kafka.get_bootstrap_server()})
    producer.produce("orders", b"one")
    producer.flush(20)
    consumer = Consumer({"bootstrap.servers": kafka.get_bootstrap_server(), "group.id": "g",
                         "auto.offset.reset": "earliest"})
    consumer.subscribe(["orders"])
    (message,) = consumer.consume(1, 20)
    assert message.value() == b"one"
    assert len(consumer.list_topics("orders", 20).topics["orders"].partitions) == 3
    consumer.close()


def test_host_and_port(kafka):
    host, port = kafka.get_container_host_ip(), kafka.get_exposed_port(9888)
    assert kafka.get_bootstrap_server() == f"{host}:{port}"
    out, err = kafka.get_logs()
    assert b"Kafka Server started" in out


def test_start_and_stop():
    container = KafkaContainer("confluentinc/cp-kafka:7.6.0")
    container.start()
    try:
        assert container.status == "running"
    finally:
        container.stop()
"""


@pytest.fixture(autouse=True, scope="module")
def _clients_are_gone() -> Iterator[None]:
    """A client that is garbage still tries to connect, to whoever has its port next."""
    yield
    gc.collect()


def cluster_id(container: KafkaContainer) -> str:
    client = AdminClient({"bootstrap.servers": container.get_bootstrap_server()})
    return str(client.describe_cluster().result(TIMEOUT_S).cluster_id)


def broker_config(container: KafkaContainer) -> dict[str, str]:
    client, resource = (
        AdminClient({"bootstrap.servers": container.get_bootstrap_server()}),
        ConfigResource("broker", "1"),
    )
    entries = client.describe_configs([resource])[resource].result(TIMEOUT_S)
    return {name: entry.value for name, entry in entries.items()}


def test_a_program_for_testcontainers_runs_when_one_line_is_changed(tmp_path: Path) -> None:
    changed = PROGRAM.replace("from testcontainers.kafka import", "from odradek.testing import")
    assert changed != PROGRAM
    (tmp_path / "test_program.py").write_text(changed)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_program.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_it_has_the_methods_arguments_and_attributes_of_testcontainers_class() -> None:
    community = pytest.importorskip("testcontainers.community.kafka", reason="testcontainers is not installed")
    theirs = community.KafkaContainer
    missing, different = [], {}
    for name, member in inspect.getmembers(theirs):
        if name.startswith("_") and name not in ("__init__", "__enter__", "__exit__"):
            continue
        ours = getattr(KafkaContainer, name, None)
        if ours is None or callable(ours) != callable(member):
            missing.append(name)
        elif callable(member) and shape(ours) != shape(member):
            different[name] = (shape(ours), shape(member))
    assert missing == []
    assert different == {}
    source = inspect.getsource(theirs.__init__)
    attributes = set(re.findall(r"self\.([a-z]\w*)(?::[^=]+)? =", source)) | {
        "env",
        "image",
        "ports",
        "volumes",
        "tmpfs",
    }
    assert {"port", "cluster_id", "kraft_enabled", "listeners"} <= attributes
    assert [name for name in sorted(attributes) if not hasattr(KafkaContainer(), name)] == []


def shape(function: Callable[..., object]) -> list[tuple[str, object, object]]:
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in parameters]


def test_variables_are_properties_and_those_that_no_broker_has_are_left() -> None:
    container = KafkaContainer(env={"KAFKA_MESSAGE_MAX_BYTES": "2000"}).with_envs(
        KAFKA_NUM_PARTITIONS="5", KAFKA_AUTO_CREATE_TOPICS_ENABLE="false", KAFKA_ZOOKEEPER_CONNECT="zookeeper:2181"
    )
    with container:
        config = broker_config(container)
    assert (config["num.partitions"], config["message.max.bytes"]) == ("5", "2000")
    assert config["auto.create.topics.enable"] == "false"
    assert config["group.initial.rebalance.delay.ms"] == "0"
    assert config["log.flush.interval.messages"] == "10000000"


def test_what_a_class_of_the_users_configures_counts() -> None:
    class Configured(KafkaContainer):
        def configure(self) -> None:
            super().configure()
            self.with_env("KAFKA_NUM_PARTITIONS", "3")

    with Configured() as container:
        assert broker_config(container)["num.partitions"] == "3"


def test_variables_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "kafka.env"
    file.write_text("# ours\nKAFKA_NUM_PARTITIONS=7\n\nexport KAFKA_LOG_RETENTION_MS='60000'\n")
    container = KafkaContainer().with_env_file(file)
    assert container.env["KAFKA_NUM_PARTITIONS"] == "7"
    assert container.env["KAFKA_LOG_RETENTION_MS"] == "60000"
    assert not any(name.startswith("#") for name in container.env)


def test_the_cluster_has_the_id_that_it_is_given() -> None:
    with KafkaContainer().with_cluster_id("5L6g3nShT-eMCtK--X86sw").with_kraft() as container:
        assert cluster_id(container) == "5L6g3nShT-eMCtK--X86sw"
    with KafkaContainer().with_kraft() as first, KafkaContainer() as second:
        assert cluster_id(first) == first.cluster_id == "MkU3OEVBNTcwNTJENDM2Qk"
        assert cluster_id(second) != second.cluster_id


def test_the_port_may_be_bound_to_one_of_the_host() -> None:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    with KafkaContainer().with_bind_ports("9093/tcp", port) as container:
        assert container.get_bootstrap_server() == f"127.0.0.1:{port}"
        with pytest.raises(StartError, match=str(port)), KafkaContainer().with_bind_ports(9093, port):
            pass


def test_data_is_kept_in_a_volume_for_the_log_directory(tmp_path: Path) -> None:
    volume = (str(tmp_path / "data"), "/var/lib/kafka/data", "rw")
    with KafkaContainer(volumes=[volume]) as container:
        container.kafka  # noqa: B018 - it runs
        AdminClient({"bootstrap.servers": container.get_bootstrap_server()}).list_topics("kept", TIMEOUT_S)
        before = cluster_id(container)
    with KafkaContainer().with_volume_mapping(*volume) as container:
        topics = AdminClient({"bootstrap.servers": container.get_bootstrap_server()}).list_topics(timeout=TIMEOUT_S)
        assert cluster_id(container) == before
    assert (tmp_path / "data" / "meta.properties").exists()
    assert topics.brokers
    with pytest.raises(NotImplementedError, match="/etc/kafka/secrets"):
        KafkaContainer().with_volume_mapping(str(tmp_path), "/etc/kafka/secrets")


def test_a_protocol_that_is_not_spoken_is_refused() -> None:
    with pytest.raises(ConfigError, match="SASL_PLAINTEXT"):
        KafkaContainer(security_protocol="SASL_PLAINTEXT").start()
    with pytest.raises(ConfigError, match="SSL"):
        KafkaContainer().with_env("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "BROKER:PLAINTEXT,PLAINTEXT:SSL").start()
    with pytest.raises(ValueError, match="Use `port`"):
        KafkaContainer(port_to_expose=9093)


@pytest.mark.parametrize("name", NEEDS_A_CONTAINER)
def test_what_needs_a_container_says_so(name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"{name}: there is no container; .+"):
        getattr(KafkaContainer(), name)(*NEEDS_A_CONTAINER[name])


def test_before_the_start_and_for_other_ports_the_errors_are_those_of_testcontainers() -> None:
    exceptions = pytest.importorskip("testcontainers.core.exceptions", reason="testcontainers is not installed")
    container = KafkaContainer()
    for ask in (container.get_bootstrap_server, container.get_logs, container.get_wrapped_container):
        with pytest.raises(exceptions.ContainerStartException, match="not started"):
            ask()
    with container, pytest.raises(exceptions.NoSuchPortExposed, match="9092"):
        container.get_exposed_port(9092)


def test_a_wait_strategy_is_asked() -> None:
    asked = []

    class Strategy:
        def wait_until_ready(self, container: KafkaContainer) -> None:
            asked.append((container.status, container.get_exposed_port(9093)))

    with KafkaContainer().waiting_for(Strategy()) as container:
        assert asked == [("running", int(container.get_bootstrap_server().rpartition(":")[2]))]


def test_testcontainers_own_wait_for_logs_works() -> None:
    waiting = pytest.importorskip("testcontainers.core.wait_strategies", reason="testcontainers is not installed")
    for pattern in (r".*\[KafkaServer id=\d+\] started.*", r".*Kafka Server started.*"):
        with KafkaContainer().waiting_for(waiting.LogMessageWaitStrategy(re.compile(pattern)).with_startup_timeout(5)):
            pass


def test_nothing_is_left_and_stopping_twice_is_no_error() -> None:
    with nothing_left():
        container = KafkaContainer().start()
        container.stop()
        container.stop()
    assert container.status == "exited"
    assert b"active controller" in container.get_logs()[0]


def test_a_start_that_fails_leaves_nothing() -> None:
    class Strategy:
        def wait_until_ready(self, container: KafkaContainer) -> None:
            raise TimeoutError("never")

    with nothing_left(), pytest.raises(TimeoutError), KafkaContainer().waiting_for(Strategy()):
        pass
