"""`odradek serve --control`, as a process."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from odradek.cli.serve import serve
from tests.unit.control.conftest import Client
from tests.unit.testing.clients import consume_all, produce

ROOT = Path(__file__).resolve().parents[3]
SERVE = [sys.executable, "-m", "odradek", "serve", "--log-level", "error"]
LISTEN = ["--listen", "127.0.0.1:0"]


@contextmanager
def served(*options: str) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """Where clients connect, where the controls are, and the process."""
    command = [*SERVE, *([] if "--nodes" in options else LISTEN), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            controls = process.stdout.readline().strip().removeprefix("odradek controls on ")
            address = process.stdout.readline().strip().removeprefix("odradek ready on ")
            yield address, controls, process
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_a_node_in_memory_is_controlled_and_stops_as_without() -> None:
    with served("--in-memory", "--control", "127.0.0.1:0") as (address, controls, _process):
        assert controls.startswith("http://127.0.0.1:")
        http = Client(int(controls.rpartition(":")[2]))
        assert http.get("/nodes").json["bootstrap_servers"] == address
        http.post("/topics", {"name": "t", "config": {"retention.ms": 1000}})
        produce(address, "t", "v")
        assert [each["value"] for each in http.get("/topics/t/records", wait_for=1).json] == ["v"]
        http.post("/clock/advance", {"seconds": 2})
        assert http.get("/topics/t/records").json == []
        crash = http.post("/faults", {"fault": "crash", "node": 1}).json["id"]
        assert http.get("/health").error == (503, "BROKER_NOT_AVAILABLE")
        assert http.delete(f"/faults/{crash}").status == 204
        assert http.get("/topics").json == {"t": 1}
        assert http.post("/reset").status == 204
        assert http.get("/topics").json == {}
        produce(address, "u", "w")
        assert consume_all(address, "u") == [b"w"]


def test_several_nodes_are_controlled_one_by_one() -> None:
    with served("--in-memory", "--nodes", "3", "--set", "num.partitions=2", "--control", "127.0.0.1:0") as (
        addresses,
        controls,
        _process,
    ):
        http = Client(int(controls.rpartition(":")[2]))
        assert http.get("/nodes").json["bootstrap_servers"] == addresses
        assert [each["node_id"] for each in http.get("/nodes").json["nodes"]] == [1, 2, 3]
        http.post("/topics", {"name": "t", "replication_factor": 3})
        leader = http.get("/topics/t").json["partitions"][0]["leader"]
        http.post("/faults", {"fault": "crash", "node": leader})
        moved = http.get("/topics/t").json["partitions"][0]
        assert moved["leader"] not in (None, leader)
        assert len(moved["isr"]) == 2
        assert [each["node_id"] for each in http.get("/nodes").json["nodes"]] == sorted({1, 2, 3} - {leader})
        produce(addresses, "t", "v")
        http.delete("/faults")
        assert http.post("/clock/advance", {"days": 1}).status == 200
        assert [each["value"] for each in http.get("/topics/t/records").json] == ["v"]


def test_a_node_with_files_keeps_them(tmp_path: Path) -> None:
    options = ["--data-dir", str(tmp_path / "d"), "--control", "localhost:0", "--control-token", "secret"]
    for values in ([], ["v"]):
        with served(*options) as (address, controls, _process):
            http = Client(int(controls.rpartition(":")[2]), "secret")
            assert http.post("/reset").error == (409, "CANNOT_RESET")
            if not values:
                http.post("/topics", {"name": "t"})
                produce(address, "t", "v")
            assert [each["value"] for each in http.get("/topics/t/records").json] == ["v"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--control", "0.0.0.0:0"], "others reach this address, so that --control-token is needed"),
        (["--control", "example.org:0"], "others reach this address, so that --control-token is needed"),
        (["--control", "127.0.0.1:0", "--set", "node.id=2"], "--control is for a node alone: node.id=1"),
        (["--nodes", "3"], "--nodes needs --in-memory and --control"),
        (["--nodes", "3", "--control", "127.0.0.1:0"], "each node takes an address itself"),
        (["--control", "9090"], "--control 9090: write HOST:PORT"),
        (["--control", "127.0.0.1:0", "--control-token", " "], "the token is empty"),
    ],
)
def test_what_cannot_be_is_told(options: list[str], problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "disable", lambda: None)  # for the process of a broker, which this is not
    result = CliRunner().invoke(serve, [*LISTEN, *options])
    assert result.exit_code == 2
    assert problem in result.output


def test_an_address_that_is_taken_is_told() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        taken = f"127.0.0.1:{sock.getsockname()[1]}"
        result = subprocess.run(
            [*SERVE, *LISTEN, "--in-memory", "--control", taken],
            capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
        )  # fmt: skip
    assert result.returncode == 1
    assert f"--control {taken}: " in result.stderr
    assert "Traceback" not in result.stderr


def test_what_is_missing_is_told_with_what_to_install() -> None:
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "from odradek.cli import main\n"
        "main(['serve', '--in-memory', '--control', '127.0.0.1:0'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert result.returncode == 2
    assert "pip install 'odradek[control]'" in result.stderr


def test_a_node_without_controls_imports_none_of_it() -> None:
    code = (
        "import sys, threading\n"
        "from odradek.cli import serve\n"
        "def look(address):\n"
        "    print(sorted(name for name in sys.modules if name.split('.')[0] in ('starlette', 'uvicorn')\n"
        "                 or name.split('.')[:2] in (['odradek', 'control'], ['odradek', 'testing'])))\n"
        "    import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n"
        "serve.ready = look\n"
        "serve.serve(['--in-memory', '--listen', '127.0.0.1:0', '--log-level', 'error'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert (result.returncode, result.stdout) == (0, "[]\n"), result.stderr
