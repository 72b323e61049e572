"""`odradek cluster start`: real nodes that come up together, and that nothing leaves behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.odradek import ROOT, first_line
from tests.support.process import START_TIMEOUT_S, STOP_TIMEOUT_S, serves_metadata, wait_for

READY = re.compile(rb"odradek ready on ((?:127\.0\.0\.1:\d+,?)+)\n")
NODES = 3
QUICK_RETURN = ("--set", "broker.session.timeout.ms=2000", "--set", "broker.heartbeat.interval.ms=300")
"""A broker that did not take its leave is let in again once its session is over."""


SESSION_S = 50
LONG_SESSIONS = ("--set", f"broker.session.timeout.ms={1000 * SESSION_S}")


class LocalCluster:
    """The command, and the processes that it runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log_path = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.nodes: list[int] = []

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def start(self, *options: str, nodes: int = NODES) -> list[int]:
        """The ports on which clients are served."""
        argv = [sys.executable, "-m", "odradek", "cluster", "start"]
        argv += [
            "--nodes",
            str(nodes),
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            str(self.directory / "data"),
            *QUICK_RETURN,
            *options,
        ]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        assert self.process.stdout is not None
        line = first_line(self.process.stdout, START_TIMEOUT_S)
        match = READY.fullmatch(line)
        assert match is not None, self.log_path.read_text()
        self.nodes = self.children()
        ports = [int(address.rpartition(b":")[2]) for address in match[1].split(b",")]
        assert len(self.nodes) == len(ports) == nodes
        return ports

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self, number: signal.Signals) -> int:
        """Send a signal to the command alone; its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(STOP_TIMEOUT_S)
        assert self.process.stdout is not None
        assert self.process.stdout.read() == b""
        self.process.stdout.close()
        return code

    def await_nobody(self) -> None:
        wait_for(lambda: not any(map(runs, self.nodes)), "all nodes are gone", STOP_TIMEOUT_S)

    def clean_stops(self) -> int:
        return len(list((self.directory / "data").glob("node-*/.kafka_cleanshutdown")))

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    if sys.platform != "linux":
        pytest.skip("which processes are there is asked of /proc")
    running = LocalCluster(tmp_path)
    yield running
    running.close()


def test_the_others_go_on_when_a_node_dies_and_stop_cleanly_together(cluster: LocalCluster) -> None:
    ports = cluster.start()
    assert all(serves_metadata("127.0.0.1", port) for port in ports)
    (victim, *others) = cluster.nodes
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: "has ended with exit code" in cluster.log_path.read_text(), "it is gone")
    assert not runs(victim)
    assert sum(serves_metadata("127.0.0.1", port) for port in ports) == NODES - 1
    assert all(map(runs, others))
    assert cluster.clean_stops() == 0
    assert cluster.end(signal.SIGTERM) == 0, cluster.log_path.read_text()
    assert not any(map(runs, cluster.nodes))
    assert cluster.clean_stops() == NODES - 1
    said = cluster.log_path.read_text()
    for node_id in range(1, NODES + 1):
        assert re.search(rf"^node {node_id}: .", said, re.MULTILINE)


def test_nodes_stop_cleanly_when_their_parent_is_killed_and_start_again_at_once(cluster: LocalCluster) -> None:
    cluster.start(*LONG_SESSIONS)
    begun_s = time.monotonic()
    cluster.end(signal.SIGKILL)
    cluster.await_nobody()
    assert cluster.clean_stops() == NODES
    ports = cluster.start(*LONG_SESSIONS)
    assert time.monotonic() - begun_s < SESSION_S, "no broker has to wait until its last session is over"
    assert all(serves_metadata("127.0.0.1", port) for port in ports)
    assert cluster.end(signal.SIGINT) == 0
    assert not any(map(runs, cluster.nodes))


def test_a_node_that_dies_is_started_again_where_that_is_wanted(cluster: LocalCluster) -> None:
    (port,) = cluster.start("--restart", nodes=1)
    (victim,) = cluster.nodes
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(set(cluster.children()) - {victim}) == 1, "there is another node")
    cluster.nodes = cluster.children()
    wait_for(lambda: serves_metadata("127.0.0.1", port), "it serves clients", START_TIMEOUT_S)
    assert cluster.end(signal.SIGTERM) == 0
    assert not any(map(runs, cluster.nodes))
    assert f"odradek: node 1 has ended with exit code {-signal.SIGKILL}\n" in cluster.log_path.read_text()
