"""`odradek container` in a folder that looks as the image does, as ordinary processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from odradek.config import parse_properties

TIMEOUT_S = 20
CLUSTER_ID = "MYwKGPhXQZidgd0qMv8Mkw"
READY = "odradek ready on "
Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("mnt/shared/config", "opt/kafka/config", "var/lib/kafka"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def run(root: Path) -> Iterator[Run]:
    """Starts a command of the image: ``run("configure", {"KAFKA_NODE_ID": "1"})``."""
    processes = []

    def start(command: str, environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "odradek", "container", command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "ODRADEK_ROOT": str(root), **environment},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def properties(root: Path) -> dict[str, str]:
    return parse_properties((root / "opt/kafka/config/server.properties").read_text())


def lines_until_ready(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith(READY):
            return lines
    raise AssertionError((lines, process.communicate()[1]))


def failure(process: subprocess.Popen[str]) -> str:
    _out, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode != 0
    assert len(errors.splitlines()) == 1
    return errors


def test_a_node_is_formatted_once_goes_on_and_stops_with_0(root: Path, run: Run) -> None:
    environment = {"CLUSTER_ID": CLUSTER_ID, "KAFKA_LISTENERS": "PLAINTEXT://127.0.0.1:0"}
    first = run("run", environment)
    lines = lines_until_ready(first)
    assert any(line.startswith("Formatting ") for line in lines)
    assert any("Transitioning from RECOVERY to RUNNING" in line for line in lines)
    first.send_signal(signal.SIGTERM)
    assert first.wait(TIMEOUT_S) == 0
    assert f"cluster.id={CLUSTER_ID}" in (root / "var/lib/kafka/data/meta.properties").read_text().splitlines()

    again = run("run", environment)
    assert "All of the log directories are already formatted." in lines_until_ready(again)
    again.send_signal(signal.SIGTERM)
    assert again.wait(TIMEOUT_S) == 0

    assert CLUSTER_ID in failure(run("run", {**environment, "CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw"}))
    # Whoever formats by himself, as scripts for Confluent's images do, has said which cluster it is.
    lines_until_ready(run("launch", {"CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw"}))


def test_arguments_come_before_the_environment_and_that_before_a_mounted_file(root: Path, run: Run) -> None:
    (root / "mnt/shared/config/server.properties").write_text(
        "num.partitions=2\nlog.retention.hours=3\nmin.insync.replicas=1"
    )
    environment = {
        "KAFKA_LISTENERS": "PLAINTEXT://127.0.0.1:0",
        "KAFKA_NUM_PARTITIONS": "4",
        "KAFKA_LOG_RETENTION_HOURS": "5",
        "KAFKA_NO_SUCH": "x",
    }
    lines = lines_until_ready(run("run", environment, "KAFKA_NUM_PARTITIONS=6"))
    assert "These are no properties of a broker, and are left: no.such" in lines
    told = properties(root)
    assert (told["num.partitions"], told["log.retention.hours"], told["min.insync.replicas"]) == ("6", "5", "1")


def test_health_says_whether_the_node_answers(root: Path, run: Run) -> None:
    port = lines_until_ready(run("run", {"KAFKA_LISTENERS": "PLAINTEXT://127.0.0.1:0"}))[-1].rpartition(":")[2]
    # The port that was free has to be in the file, as in an image, where ports are known.
    (root / "opt/kafka/config/server.properties").write_text(
        f"process.roles=broker\nnode.id=1\ncontroller.listener.names=C\nlisteners=PLAINTEXT://127.0.0.1:{port}\n"
        "controller.quorum.bootstrap.servers=localhost:1\n"
    )
    healthy = run("health", {})
    assert healthy.wait(TIMEOUT_S) == 0
    (root / "opt/kafka/config/server.properties").unlink()
    assert "server.properties" in failure(run("health", {}))


def test_what_is_no_broker_is_not_healthy(root: Path, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        (root / "opt/kafka/config/server.properties").write_text(
            "process.roles=broker\nnode.id=1\ncontroller.listener.names=C\n"
            f"listeners=PLAINTEXT://127.0.0.1:{server.getsockname()[1]}\n"
            "controller.quorum.bootstrap.servers=localhost:1\n"
        )
        asked = run("health", {})
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 400 Bad Request")
    assert "does not answer as a broker does" in failure(asked)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"KAFKA_NUM_PARTITIONS": "many"}, "num.partitions"),
        ({"KAFKA_PROCESS_ROLES": "broker"}, "node.id"),
        (
            {"KAFKA_PROCESS_ROLES": "controller", "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://localhost:9092"},
            "KAFKA_ADVERTISED_LISTENERS",
        ),
    ],
)
def test_what_makes_no_node_is_one_line(run: Run, environment: Mapping[str, str], says: str) -> None:
    assert says in failure(run("configure", environment))


def test_a_controller_and_a_broker_of_their_own_make_a_cluster(
    root: Path, run: Run, free_ports: tuple[int, int]
) -> None:
    """As the nodes of Apache's examples for docker compose, with a folder of their own each."""
    controller_port, port = free_ports
    common = {
        "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@127.0.0.1:{controller_port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "CLUSTER_ID": CLUSTER_ID,
    }
    for name in ("controller", "broker"):
        (root / name / "opt/kafka/config").mkdir(parents=True)
    controller = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "controller",
        "KAFKA_LISTENERS": f"CONTROLLER://127.0.0.1:{controller_port}",
        "ODRADEK_ROOT": str(root / "controller"),
    }
    broker = {
        "KAFKA_NODE_ID": "2",
        "KAFKA_PROCESS_ROLES": "broker",
        "KAFKA_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "ODRADEK_ROOT": str(root / "broker"),
    }
    lines = lines_until_ready(run("run", {**common, **controller}))
    assert not any("RUNNING" in line for line in lines)
    lines = lines_until_ready(run("run", {**common, **broker}))
    assert lines[-1] == f"{READY}127.0.0.1:{port}"
    assert any("RUNNING" in line for line in lines)
