"""`odradek storage` as scripts call it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from odradek.cli import main
from odradek.wire.uuids import uuid_from_string

CLUSTER = "4L6g3nShT-eMCtK--X86sw"
TIMEOUT_S = 20


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["storage", *map(str, arguments)])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A node's server.properties, of which nothing is formatted."""
    path = tmp_path / "server.properties"
    path.write_text(
        "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://localhost:0,CONTROLLER://localhost:0\n"
        "controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=localhost:9093\n"
        f"log.dirs={tmp_path}/one,{tmp_path}/two\n"
    )
    return path


def test_a_node_is_formatted_once(config: Path, tmp_path: Path) -> None:
    assert run("info", "-c", config).exit_code == 1
    done = run("format", "-c", config, "-t", CLUSTER, "-s")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == [
        f"Formatting dynamic metadata voter directory {tmp_path}/one with metadata.version 4.4-IV2.",
        f"Formatting data directory {tmp_path}/two with metadata.version 4.4-IV2.",
    ]
    assert f"cluster.id={CLUSTER}" in run("info", "--config", config).stdout
    assert run("info", "--config", config).exit_code == 0
    again = run("format", "--config", config, "--cluster-id", CLUSTER, "--standalone")
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr == (
        f"odradek: error: Log directory {tmp_path}/one is already formatted. Use --ignore-formatted to ignore this "
        "directory and format the others.\n"
    )
    ignoring = run("format", "-c", config, "-t", CLUSTER, "-s", "-g")
    assert (ignoring.exit_code, ignoring.stdout) == (0, "All of the log directories are already formatted.\n")


def test_a_file_in_place_of_a_directory_is_named(config: Path, tmp_path: Path) -> None:
    (tmp_path / "two").touch()
    done = run("format", "-c", config, "-t", CLUSTER, "-s")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (
        0,
        f"I/O error trying to read log directory {tmp_path}/two. Ignoring...",
    )
    said = run("info", "-c", config)
    assert (said.exit_code, f"  {tmp_path}/two is not a directory" in said.stdout) == (1, True)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "Missing option '--config' / '-c'"),
        (["-c", "/does/not/exist", "-t", CLUSTER], "--config /does/not/exist: No such file or directory"),
        (["-c", "CONFIG"], "Missing option '--cluster-id' / '-t'"),
        (["-c", "CONFIG", "-t", CLUSTER, "--no-such"], "No such option"),
        (
            ["-c", "CONFIG", "-t", CLUSTER, "-s", "-N"],
            "argument --no-initial-controllers/-N: not allowed with argument --standalone/-s",
        ),
        (
            ["-c", "CONFIG", "-t", CLUSTER, "-N", "-I", "x"],
            "argument --initial-controllers/-I: not allowed with argument --no-initial-controllers/-N",
        ),
        (["-c", "CONFIG", "-t", CLUSTER], "you must specify one of the following"),
        (["-c", "CONFIG", "-t", CLUSTER, "-s", "-f", "group.version=9"], "No feature:group.version with feature level"),
    ],
)
def test_what_cannot_be_done_ends_with_1_as_in_kafka(
    config: Path, tmp_path: Path, options: list[str], problem: str
) -> None:
    done = run("format", *(str(config) if option == "CONFIG" else option for option in options))
    assert (done.exit_code, done.stdout) == (1, "")
    assert problem in done.stderr
    assert not (tmp_path / "one").exists()


def test_a_configuration_that_is_none_ends_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    done = run("info", "-c", tmp_path / "empty")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "process.roles" in done.stderr


def test_ids_are_random() -> None:
    ids = {run("random-uuid").stdout.strip() for _ in range(3)}
    assert len({uuid_from_string(text) for text in ids}) == 3


def test_features_of_a_release_are_listed() -> None:
    latest = run("version-mapping")
    assert latest.stdout == run("version-mapping", "-r", "4.4-IV2").stdout
    assert latest.stdout == (
        "metadata.version=33 (4.4-IV2)\nkraft.version=1\ntransaction.version=2\ngroup.version=1\n"
        "eligible.leader.replicas.version=1\nshare.version=2\nstreams.version=1\n"
    )
    assert run("version-mapping", "-r", "3.3").stdout.startswith("metadata.version=7 (3.3)\nkraft.version=0\n")
    assert run("version-mapping", "-r", "x").exit_code == 1


def test_dependencies_of_features_are_listed() -> None:
    done = run("feature-dependencies", "-f", "eligible.leader.replicas.version=1", "-f", "metadata.version=7")
    assert done.stdout == (
        "eligible.leader.replicas.version=1 requires:\n    metadata.version=23 (4.0-IV1)\n"
        "metadata.version=7 (3.3-IV3) has no dependencies.\n"
    )
    assert run("feature-dependencies", "-f", "group.version=1").stdout == "group.version=1 has no dependencies.\n"
    for text, problem in {
        "x": "Invalid feature format: x. Expected format: 'feature=version' (e.g. 'group.version=1')",
        "x=1": "Unknown feature: x",
        "group.version=y": "Invalid version format: y for feature group.version",
        "group.version=9": "Feature level 9 is not supported for feature group.version",
        "metadata.version=99": "Unknown metadata.version 99",
    }.items():
        refused = run("feature-dependencies", "-f", text)
        assert (refused.exit_code, refused.stderr) == (1, f"odradek: error: {problem}\n")


def serve(config: Path, *options: str) -> str:
    """The first line that `odradek serve` prints, on stdout or stderr."""
    command = [sys.executable, "-m", "odradek", "serve", "--config", str(config), "--log-level", "error", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        return process.stdout.readline()
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)


def test_a_node_with_a_file_serves_what_was_formatted(config: Path, tmp_path: Path) -> None:
    said = serve(config)
    assert said.startswith(f"odradek: error: {tmp_path}/one is not formatted")
    assert "run `odradek storage format` first" in said
    assert run("format", "-c", config, "-t", CLUSTER, "-s").exit_code == 0
    assert serve(config).startswith("odradek ready on localhost:")


def test_a_node_with_a_file_and_nothing_on_disk_needs_no_formatting(config: Path, tmp_path: Path) -> None:
    assert serve(config, "--in-memory").startswith("odradek ready on localhost:")
    assert not (tmp_path / "one").exists()
