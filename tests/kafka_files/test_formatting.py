"""Directories that one formats and the other serves, and what Apache Kafka's own tool writes of the same options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from odradek.net.real import SystemRandom
from odradek.wire.messages.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from odradek.wire.uuids import uuid_from_string, uuid_to_string
from tests.kafka_files.nodes import OdradekOver
from tests.support.apache import ApacheKafka, Unavailable
from tests.support.batches import batch
from tests.support.odradek import ROOT
from tests.support.requests import code, connect, create_topic, list_offset, produce

CLUSTER = "4L6g3nShT-eMCtK--X86sw"
VOTERS = f"1@localhost:9093:{uuid_to_string(SystemRandom().uuid())},2@b:9094:{uuid_to_string(SystemRandom().uuid())}"
ROLES = {
    "combined": {
        "process.roles": "broker,controller",
        "listeners": "PLAINTEXT://localhost:9092,CONTROLLER://:9093",
    },
    "controller": {"process.roles": "controller", "listeners": "CONTROLLER://localhost:9093"},
    "broker": {"process.roles": "broker", "listeners": "PLAINTEXT://localhost:9092"},
}
DYNAMIC = {"controller.quorum.bootstrap.servers": "localhost:9093"}
STATIC = {"controller.quorum.voters": "1@localhost:9093,2@b:9094"}
SCRAM = 'SCRAM-SHA-512=[name=alice,password=secret,salt="N3E=",iterations=5000]'
NOT_COVERED_OR_OF_THE_TIME = ((17, 21), (27, 43))
"""Of a batch: the checksum, and the timestamps."""


class Formatted(ApacheKafka):
    """A node of Apache Kafka over a directory that somebody formats with these options."""

    def __init__(self, directory: Path, *options: str, ours: bool) -> None:
        super().__init__(directory, {})
        self.options = options
        self.ours = ours

    def formatter(self, *arguments: str) -> list[str]:
        tool = [sys.executable, "-m", "odradek", "storage"] if self.ours else self._java("kafka.tools.StorageTool")
        return [*tool, "format", "-t", CLUSTER, "-c", str(self._properties), *arguments]

    def _format(self) -> None:
        super()._format()
        for path in self.data_dir.rglob("*"):
            if path.is_file():
                path.unlink()
        options = [option.replace("PORT", str(self.controller_port)) for option in self.options]
        subprocess.run(self.formatter(*options), check=True, timeout=60, cwd=ROOT, stdout=subprocess.DEVNULL)


def node_or_skip(directory: Path, *options: str, ours: bool) -> Formatted:
    try:
        return Formatted(directory, *options, ours=ours)
    except Unavailable as error:
        pytest.skip(f"Apache Kafka cannot be run: {error}")


HOW = {
    "standalone": ("--standalone",),
    "initial controllers": ("--initial-controllers", "1@127.0.0.1:PORT:aUARLskQTCW4qCZDtS_cwA"),
}


@pytest.fixture(params=HOW)
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return HOW[request.param]


def use(node: ApacheKafka | OdradekOver) -> None:
    with connect(node) as connection:
        assert connection.call(DescribeClusterRequest(), DescribeClusterResponse).cluster_id == CLUSTER
        create_topic(connection, "topic", 1)
        assert code(produce(connection, "topic", batch([b"kept"])).error_code) == "NONE"


def test_kafka_serves_what_we_format_and_then_we_do(tmp_path: Path, options: tuple[str, ...]) -> None:
    kafka = node_or_skip(tmp_path, *options, ours=True)
    try:
        kafka.start()
        use(kafka)
        assert kafka.stop() in (0, 143)
        odradek = OdradekOver(kafka)
        try:
            odradek.start()
            with connect(odradek) as connection:
                assert list_offset(connection, "topic", -1).offset == 1
        finally:
            odradek.close()
    finally:
        kafka.close()


def test_we_serve_what_kafka_formats(tmp_path: Path, options: tuple[str, ...]) -> None:
    kafka = node_or_skip(tmp_path, *options, ours=False)
    kafka._format()
    odradek = OdradekOver(kafka)
    try:
        odradek.start()
        use(odradek)
    finally:
        odradek.close()


@pytest.mark.parametrize("release", ["3.3-IV3", "4.0-IV0"])
def test_kafka_goes_on_from_what_we_wrote_under_an_older_metadata_version(tmp_path: Path, release: str) -> None:
    kafka = node_or_skip(tmp_path, "--standalone", "--release-version", release, ours=True)
    kafka._format()
    odradek = OdradekOver(kafka)
    try:
        odradek.start()
        use(odradek)
        assert odradek.stop() == 0
        kafka.start()
        with connect(kafka) as connection:
            assert list_offset(connection, "topic", -1).offset == 1
            create_topic(connection, "theirs", 1)
        assert kafka.stop() in (0, 143)
        odradek.start()
        with connect(odradek) as connection:
            assert list_offset(connection, "theirs", -1).offset == 0
    finally:
        odradek.close()
        kafka.close()


@pytest.mark.parametrize(
    ("role", "quorum", "options"),
    [
        ("combined", DYNAMIC, ["--standalone", "--add-scram", SCRAM]),
        ("combined", DYNAMIC, ["--initial-controllers", VOTERS, "--release-version", "3.9"]),
        ("controller", DYNAMIC, ["--no-initial-controllers", "--feature", "share.version=1"]),
        ("combined", STATIC, []),
        ("broker", DYNAMIC, ["--ignore-formatted"]),
    ],
)
def test_both_write_the_same_files(tmp_path: Path, role: str, quorum: dict[str, str], options: list[str]) -> None:
    properties = {**ROLES[role], **quorum, "node.id": "1", "controller.listener.names": "CONTROLLER"}
    written = []
    for ours in (True, False):
        directory = tmp_path / str(ours)
        directory.mkdir()
        node = node_or_skip(directory, ours=ours)
        dirs = {"log.dirs": f"{directory}/one,{directory}/two"}
        node._properties.write_text("".join(f"{key}={value}\n" for key, value in {**properties, **dirs}.items()))
        done = subprocess.run(
            node.formatter(*options), capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
        )
        ids = directory_ids(directory)
        files = {
            str(path.relative_to(directory)): without_times(path.read_bytes(), ids)
            for folder in (directory / "one", directory / "two")
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        # Kafka's order of directories is that of hashes.
        lines = {line.replace(str(directory), "") for line in done.stdout.splitlines() if "Bootstrap" not in line}
        written.append((files, lines))
    assert written[0] == written[1]


def directory_ids(directory: Path) -> list[bytes]:
    """The ids that were drawn, as they stand in files and in records."""
    found = []
    for path in sorted(directory.rglob("meta.properties")):
        (line,) = (line for line in path.read_text().splitlines() if line.startswith("directory.id="))
        text = line.partition("=")[2]
        if text not in VOTERS:
            found += [text.encode(), uuid_from_string(text)]
    return found


def without_times(content: bytes, ids: list[bytes]) -> bytes:
    """What does not depend on when, and by whose dice, a file was written."""
    for each in ids:
        content = content.replace(each, bytes(len(each)))
    if content.startswith(b"#"):
        return b"\n".join(sorted(line for line in content.splitlines() if not line.startswith(b"#")))
    batches = b""
    while content:
        size = 12 + int.from_bytes(content[8:12], "big")
        one = bytearray(content[:size])
        for start, end in NOT_COVERED_OR_OF_THE_TIME:
            one[start:end] = bytes(end - start)
        batches += one
        content = content[size:]
    # The header's record repeats the time.
    header = 12 + int.from_bytes(batches[8:12], "big")
    at = batches.index(b"\x00\x00\x00\x08\x00\x00\x00\x03\x16\x00\x00", 0, header) + 11
    return batches[:at] + bytes(8) + batches[at + 8 :]
