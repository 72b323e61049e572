"""Processes that are run together, with programs in place of nodes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from odradek.cli import supervisor
from odradek.cli.supervisor import NodeCommand, Supervisor

TIMEOUT_S = 20
READY = "import os, sys; print('odradek ready on host:' + sys.argv[1], flush=True);"
UNTIL_STOPPED = READY + "sys.stdin.read(); open(sys.argv[2], 'w').close()"
"""A node that leaves a file behind when it has stopped cleanly."""
ONCE_ALL_ARE_READY = READY + "import time\nwhile not os.path.exists(sys.argv[3]): time.sleep(0.01)\n"
"""A node that then does what follows."""


class Cluster:
    """Nodes that run programs, and what was heard of them."""

    def __init__(self, directory: Path, *programs: str, restart: bool = False) -> None:
        self.directory = directory
        self.all_ready = directory / "all-ready"
        self.programs = programs
        self.restart = restart
        self.ready: list[Sequence[str]] = []
        self.lines: list[str] = []
        self.stop = asyncio.Event()
        self.on_ready: Callable[[], None] = self.stop.set
        self.stop_at = ""

    def run(self) -> bool:
        """Run until `stop`, which is set when all are ready unless a test says otherwise."""
        commands = [
            NodeCommand(
                node_id,
                [sys.executable, "-S", "-c", program, str(node_id), str(self.file(node_id)), str(self.all_ready)],
            )
            for node_id, program in enumerate(self.programs, start=1)
        ]

        async def whole() -> bool:
            supervised = Supervisor(commands, restart=self.restart, on_ready=self._is_ready, on_line=self._heard)
            return await asyncio.wait_for(supervised.run(self.stop), TIMEOUT_S)

        return asyncio.run(whole())

    def file(self, node_id: int) -> Path:
        return self.directory / f"stopped-{node_id}"

    def _is_ready(self, addresses: Sequence[str]) -> None:
        self.ready.append(addresses)
        self.all_ready.touch()
        self.on_ready()

    def _heard(self, line: bytes) -> None:
        self.lines.append(line.decode())
        if self.stop_at and self.stop_at in self.lines[-1]:
            self.stop.set()


def nothing() -> None:
    pass


def test_nodes_are_ready_together_and_stop_together(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, UNTIL_STOPPED, "import time; time.sleep(0.2);" + UNTIL_STOPPED, UNTIL_STOPPED)
    assert cluster.run()
    assert cluster.ready == [["host:1", "host:2", "host:3"]]
    assert all(cluster.file(node_id).exists() for node_id in (1, 2, 3))
    assert cluster.lines == []


def test_what_nodes_say_has_their_id_in_front(tmp_path: Path) -> None:
    long = "x" * 3_000_000
    cluster = Cluster(
        tmp_path,
        f"import sys; sys.stderr.write('one\\n' + 'x' * {len(long)} + '\\nlast'); print('odd', flush=True);"
        + UNTIL_STOPPED,
    )
    assert cluster.run()
    assert "node 1: odd" in cluster.lines
    said = [line.removeprefix("node 1: ") for line in cluster.lines if line != "node 1: odd"]
    assert said[0] == "one"
    assert "".join(said[1:-1]) == long
    assert said[-1] == "last"
    assert max(map(len, said)) < len(long)


def test_a_node_that_does_not_come_up_ends_all(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, UNTIL_STOPPED, "import sys; sys.exit('no disk')", restart=True)
    assert not cluster.run()
    assert cluster.ready == []
    assert {"node 2: no disk", "odradek: node 2 has ended with exit code 1"} <= set(cluster.lines)
    assert "odradek: node 2 was not ready before it ended: all are stopped" in cluster.lines


def test_a_stop_may_come_before_nodes_are_ready(tmp_path: Path) -> None:
    program = "import sys; sys.stderr.write('starting\\n'); sys.stdin.read(); open(sys.argv[2], 'w').close()"
    cluster = Cluster(tmp_path, program)
    cluster.stop_at = "starting"
    assert cluster.run()
    assert cluster.ready == []
    assert cluster.file(1).exists()


def test_a_stop_may_come_before_there_are_processes(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, UNTIL_STOPPED, UNTIL_STOPPED)
    cluster.stop.set()
    assert cluster.run()
    assert cluster.ready == []


def test_the_others_go_on_when_a_node_dies(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, UNTIL_STOPPED, ONCE_ALL_ARE_READY + "os._exit(9)")
    cluster.on_ready = nothing
    cluster.stop_at = "odradek: node 2 has ended with exit code 9"
    assert cluster.run()
    assert cluster.ready == [["host:1", "host:2"]]
    assert cluster.file(1).exists()


def test_it_is_over_when_no_node_is_left(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, ONCE_ALL_ARE_READY + "sys.exit(0)", ONCE_ALL_ARE_READY + "os._exit(9)")
    cluster.on_ready = nothing
    assert not cluster.run()
    assert "odradek: node 1 has ended with exit code 0" in cluster.lines


def test_a_node_that_dies_is_started_again_where_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_RESTART_SECONDS", 0.01)
    runs = tmp_path / "runs"
    mortal = f"open({str(runs)!r}, 'a').write('x'); os.path.getsize({str(runs)!r}) < 4 and os._exit(9);"
    cluster = Cluster(
        tmp_path, UNTIL_STOPPED, ONCE_ALL_ARE_READY + mortal + UNTIL_STOPPED.removeprefix(READY), restart=True
    )
    cluster.on_ready = lambda: None

    def look(line: bytes) -> None:
        cluster.lines.append(line.decode())
        if cluster.lines.count("node 2: odradek ready on host:2") == 3:
            cluster.stop.set()

    cluster._heard = look  # type: ignore[method-assign]  # stop at the third time that it is ready again
    assert cluster.run()
    assert cluster.ready == [["host:1", "host:2"]]
    delays = [line for line in cluster.lines if "is started again" in line]
    assert delays == [f"odradek: node 2 is started again in {each} s" for each in ("0.01", "0.02", "0.04")]
    assert cluster.file(2).exists()


def test_a_node_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.2)
    cluster = Cluster(tmp_path, READY + "import time; time.sleep(60)", UNTIL_STOPPED)
    assert not cluster.run()
    assert "odradek: node 1 does not stop and is killed" in cluster.lines
    assert cluster.file(2).exists()
