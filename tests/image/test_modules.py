"""The container image, started as testcontainers' modules start Apache's and Confluent's: their environment, commands
and scripts, the lines that they wait for, and a client outside."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from tests.image.conftest import ROUND_TRIP
from tests.support.apache import ROOT
from tests.support.image import Container, Image, dockerfile_steps

RUNNING = "Transitioning from RECOVERY to RUNNING"
STARTED = r"\[KafkaServer id=\d+\] started"
WAIT = "while [ ! -f {script} ]; do sleep 0.1; done; {script}"
START_SCRIPT = "/tmp/testcontainers_start.sh"
COMMON = {
    "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_LOG_FLUSH_INTERVAL_MESSAGES": "9223372036854775807",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
}
KRAFT = {
    **COMMON,
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9094",
}
CLUSTER_ID = {"CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw"}
PORTS_9092 = {"KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9092,BROKER://0.0.0.0:9093,CONTROLLER://0.0.0.0:9094"}
PORTS_9093 = {"KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092,CONTROLLER://0.0.0.0:9094"}
ZOOKEEPER = {
    **COMMON,
    "KAFKA_BROKER_ID": "1",
    "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "KAFKA_ZOOKEEPER_CONNECT": "localhost:2181",
}
START_ZOOKEEPER = """\
echo 'clientPort=2181' > {file}
echo 'dataDir=/var/lib/zookeeper/data' >> {file}
echo 'dataLogDir=/var/lib/zookeeper/log' >> {file}
zookeeper-server-start {file} &
"""
FORMAT = "echo 'kafka-storage format --ignore-formatted -t {id} -c /etc/kafka/kafka.properties' >> {configure}\n"
CONFIGURE = "/etc/confluent/docker/configure"
NO_ZOOKEEPER = f"sed -i '/KAFKA_ZOOKEEPER_CONNECT/d' {CONFIGURE}\n"
NO_CHECKS = "echo '' > /etc/confluent/docker/ensure \n"


@dataclass(frozen=True)
class Module:
    """How one module of testcontainers starts an image, where the mapped port is the container's."""

    environment: Mapping[str, str]
    script: str
    """With `{host}` for the name of the container."""
    waits_for: str
    port: int
    script_path: str = START_SCRIPT
    command: Sequence[str] = field(default=("sh", "-c", WAIT.format(script=START_SCRIPT)))
    cluster_id: str | None = CLUSTER_ID["CLUSTER_ID"]


def advertised(port: int, broker_port: int) -> str:
    return (
        f"#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:{port},BROKER://{{host}}:{broker_port}\n"
    )


GO_SCRIPT = "/usr/sbin/testcontainers_start.sh"
PYTHON_SCRIPT = "/tc-start.sh"
DOTNET_SCRIPT = "/testcontainers.sh"
DOTNET = {
    **KRAFT,
    **CLUSTER_ID,
    "KAFKA_BROKER_ID": "1",
    "KAFKA_LISTENERS": "PLAINTEXT://:9092,BROKER://:9093,CONTROLLER://:9094",
}
MODULES = {
    "java": Module(
        {**KRAFT, **PORTS_9092, **CLUSTER_ID}, advertised(9092, 9093) + "/etc/kafka/docker/run \n", RUNNING, 9092
    ),
    "java-with-a-listener": Module(
        {
            **KRAFT,
            **CLUSTER_ID,
            "KAFKA_LISTENERS": PORTS_9092["KAFKA_LISTENERS"] + ",TC-0://java-with-a-listener:19092",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": f"{KRAFT['KAFKA_LISTENER_SECURITY_PROTOCOL_MAP']},TC-0:PLAINTEXT",
        },
        advertised(9092, 9093)[:-1] + ",TC-0://{host}:19092\n/etc/kafka/docker/run \n",
        RUNNING,
        19092,
    ),
    "java-confluent": Module(
        {**KRAFT, **PORTS_9092, **CLUSTER_ID}, advertised(9092, 9093) + "/etc/confluent/docker/run \n", RUNNING, 9092
    ),
    "java-old": Module(
        ZOOKEEPER,
        advertised(9093, 9092)
        + NO_CHECKS
        + START_ZOOKEEPER.format(file="/tmp/zookeeper.properties")
        + "/etc/confluent/docker/run \n",
        STARTED,
        9093,
        cluster_id="5L6g3nShT-eMCtK--X86sw",
    ),
    "java-old-kraft": Module(
        {**KRAFT, **PORTS_9093, **CLUSTER_ID, "KAFKA_BROKER_ID": "1"},
        advertised(9093, 9092)
        + NO_ZOOKEEPER
        + FORMAT.format(id='"4L6g3nShT-eMCtK--X86sw"', configure=CONFIGURE)
        + "/etc/confluent/docker/run \n",
        RUNNING,
        9093,
    ),
    "go": Module(
        {
            **KRAFT,
            **PORTS_9093,
            "KAFKA_REST_BOOTSTRAP_SERVERS": PORTS_9093["KAFKA_LISTENERS"],
            "KAFKA_BROKER_ID": "1",
        },
        "#!/bin/bash\nsource /etc/confluent/docker/bash-config\n"
        + advertised(9093, 9092).removeprefix("#!/bin/bash\n")
        + "echo Starting Kafka KRaft mode\n"
        + NO_ZOOKEEPER
        + FORMAT.format(id='"$(kafka-storage random-uuid)"', configure=CONFIGURE)
        + "echo '' > /etc/confluent/docker/ensure\n/etc/confluent/docker/configure\n/etc/confluent/docker/launch",
        RUNNING,
        9093,
        GO_SCRIPT,
        ("sh", "-c", f"while [ ! -f {GO_SCRIPT} ]; do sleep 0.1; done; bash {GO_SCRIPT}"),
        None,
    ),
    "node": Module(
        {**ZOOKEEPER, "KAFKA_CONFLUENT_SUPPORT_METRICS_ENABLE": "false"},
        advertised(9093, 9092)
        + NO_CHECKS
        + START_ZOOKEEPER.format(file="zookeeper.properties")
        + "/etc/confluent/docker/run \n",
        STARTED,
        9093,
        command=("sh", "-c", f"echo 'Waiting for script...'; {WAIT.format(script=START_SCRIPT)}"),
        cluster_id="5L6g3nShT-eMCtK--X86sw",
    ),
    "node-kraft": Module(
        {
            **KRAFT,
            **PORTS_9093,
            **CLUSTER_ID,
            "KAFKA_BROKER_ID": "1",
            "KAFKA_CONFLUENT_SUPPORT_METRICS_ENABLE": "false",
        },
        advertised(9093, 9092) + "/etc/confluent/docker/run \n",
        RUNNING,
        9093,
        command=("sh", "-c", f"echo 'Waiting for script...'; {WAIT.format(script=START_SCRIPT)}"),
    ),
    "dotnet": Module(
        DOTNET,
        "#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://127.0.0.1:9092,BROKER://127.0.0.1:9093,\n"
        "exec /etc/kafka/docker/run\n",
        RUNNING,
        9092,
        DOTNET_SCRIPT,
        ("/bin/sh", "-c", WAIT.format(script=DOTNET_SCRIPT)),
    ),
    "dotnet-zookeeper": Module(
        {
            name: value
            for name, value in {**DOTNET, "KAFKA_ZOOKEEPER_CONNECT": "localhost:2181"}.items()
            if name not in ("KAFKA_PROCESS_ROLES", "KAFKA_CONTROLLER_LISTENER_NAMES")
        },
        "#!/bin/bash\n"
        + NO_CHECKS
        + START_ZOOKEEPER.format(file="zookeeper.properties")
        + "export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://127.0.0.1:9092,BROKER://127.0.0.1:9093,\n"
        "exec /etc/confluent/docker/run\n",
        STARTED,
        9092,
        DOTNET_SCRIPT,
        ("/bin/sh", "-c", WAIT.format(script=DOTNET_SCRIPT)),
    ),
    "python": Module(
        {**KRAFT, **PORTS_9093, **CLUSTER_ID, "KAFKA_BROKER_ID": "1"},
        f"#!/bin/bash\n{NO_ZOOKEEPER}"
        + FORMAT.format(id="4L6g3nShT-eMCtK--X86sw", configure=CONFIGURE)
        + "export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9093,BROKER://$(hostname -i):9092\n"
        + ". /etc/confluent/docker/bash-config\n/etc/confluent/docker/configure\n/etc/confluent/docker/launch",
        "Kafka Server started",
        9093,
        PYTHON_SCRIPT,
        ("sh", "-c", f"while [ ! -f {PYTHON_SCRIPT} ]; do sleep 0.1; done; sh {PYTHON_SCRIPT}"),
    ),
}


@pytest.fixture(scope="module")
def started(image: Image) -> Iterator[Mapping[str, Container]]:
    """A container for each module, all started at once."""
    containers: dict[str, Container] = {}
    try:
        for name, module in MODULES.items():
            containers[name] = image.container(name, module.environment, module.command)
        for name, module in MODULES.items():
            containers[name].copy(module.script.format(host=name), module.script_path, 0o777)
        yield containers
    finally:
        for container in containers.values():
            container.close()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_of_testcontainers_finds_what_it_waits_for(started: Mapping[str, Container], name: str) -> None:
    """And a client outside can produce in a transaction, and consume as a member of a group."""
    module, container = MODULES[name], started[name]
    container.wait_for_line(module.waits_for)
    listens = container.exec("/bin/bash", "-c", f"</dev/tcp/localhost/{module.port}")
    assert listens.returncode == 0, listens.stderr
    # A listener with the container's own name is for other containers, which can resolve it.
    client = container.exec if name in module.environment["KAFKA_LISTENERS"] else container.from_outside
    done = client(sys.executable, "-c", ROUND_TRIP, f"localhost:{module.port}")
    assert done.returncode == 0, done.stderr + container.output
    value, cluster_id, addresses = json.loads(done.stdout)
    assert value == "one"
    assert cluster_id == module.cluster_id or module.cluster_id is None
    assert addresses in ([f"{host}:{module.port}"] for host in ("localhost", "127.0.0.1", name))
    assert container.exec("odradek", "container", "health").returncode == 0
    container.close()


def test_variables_that_no_broker_has_are_named(started: Mapping[str, Container]) -> None:
    started["node"].wait_for_line("are left: .*zookeeper.connect")


def test_a_plain_run_is_ready_on_port_9092_stops_with_0_and_says_when_it_is_not_healthy(image: Image) -> None:
    container = image.container(
        "plain", {"KAFKA_HEAP_OPTS": "-Xmx1g"}, ["/etc/kafka/docker/run", "KAFKA_NUM_PARTITIONS=3"]
    )
    try:
        container.wait_for_line("Kafka Server started")
        assert "num.partitions=3" in container.read("/opt/kafka/config/server.properties").splitlines()
        assert container.exec("id", "-un").stdout == "appuser\n"
        assert container.exec("odradek", "container", "health").returncode == 0
        for tool, action in (("kafka-topics", "--create"), ("/opt/kafka/bin/kafka-topics.sh", "--describe")):
            done = container.exec(tool, "--bootstrap-server", "localhost:9092", action, "--topic", "orders")
            assert done.returncode == 0, done.stdout + done.stderr
        assert "PartitionCount: 3" in done.stdout
        properties = "listeners=PLAINTEXT://localhost:1\nprocess.roles=broker\nnode.id=1\ncontroller.listener.names=C\n"
        container.copy(properties, "/opt/kafka/config/server.properties", 0o644)
        unhealthy = container.exec("odradek", "container", "health")
        assert unhealthy.returncode == 1, unhealthy.stderr
        assert container.stop() == 0
    finally:
        container.close()


def test_a_mounted_file_is_taken_and_what_is_not_spoken_is_refused(image: Image) -> None:
    mounted = "listeners=SSL://:9092\nadvertised.listeners=SSL://localhost:9092\ninter.broker.listener.name=SSL\n"
    container = image.container("refused", {}, files={"/mnt/shared/config/server.properties": mounted})
    try:
        assert container.wait() != 0
        assert "SSL" in container.output
        assert "only PLAINTEXT is supported" in container.output
    finally:
        container.close()


def test_the_dockerfile_says_how_the_image_is_run() -> None:
    steps = {step.keyword: step.text for step in dockerfile_steps()}
    assert steps["CMD"] == '["/etc/kafka/docker/run"]'
    assert steps["USER"] == "appuser"
    assert steps["EXPOSE"] == "9092"
    assert '"odradek", "container", "health"' in steps["HEALTHCHECK"]
    assert "/var/lib/kafka/data" in steps["VOLUME"]


def test_what_the_image_is_built_of_is_not_ignored() -> None:
    """The build's context has the package and what describes it, and nothing that is not in the repository."""
    ignored = (ROOT / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    wanted = [line[1:] for line in ignored if line.startswith("!")]
    assert {"odradek", "docker/files", "pyproject.toml", "README.md", "LICENSE"} == set(wanted)
    assert all((ROOT / name).exists() for name in wanted)
    assert all(path.stat().st_mode & 0o111 for path in (ROOT / "docker" / "files").rglob("*") if path.is_file())
