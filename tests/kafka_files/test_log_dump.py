"""`odradek log dump --json` says of every file what Kafka's DumpLogSegments says. Needs Java, and Maven or the jars."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, Producer

from odradek.cli import main
from odradek.net.files import OsFileSystem
from odradek.storage.log_config import LogConfig
from tests.kafka_files.test_both_ways import fill, write_everything
from tests.support.apache import ApacheKafka, Unavailable, require, tools_libs
from tests.support.odradek import Odradek
from tests.unit.storage.support import Disk

Facts = dict[str, object]
KRAFT_NAMES = {"LeaderChange": "LEADER_CHANGE", "KRaftVersion": "KRAFT_VERSION", "KRaftVoters": "KRAFT_VOTERS"}
KRAFT_NAMES |= {"SnapshotHeader": "SNAPSHOT_HEADER", "SnapshotFooter": "SNAPSHOT_FOOTER"}


@pytest.fixture(scope="module")
def tools() -> Path:
    try:
        require("java")
        return tools_libs()
    except Unavailable as error:
        pytest.skip(f"Apache Kafka's tools cannot be run: {error}")


def kafkas(libs: Path, files: Sequence[Path], *arguments: str) -> dict[str, list[Facts]]:
    """What the dump tool says, as facts by file."""
    command = ["java", "-cp", f"{libs}/*", "org.apache.kafka.tools.DumpLogSegments", "--print-data-log", *arguments]
    command += ["--files", ",".join(map(str, files))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    facts: dict[str, list[Facts]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("Dumping "):
            current = facts.setdefault(line.removeprefix("Dumping "), [])
        elif ": " in line and not line.startswith(("Log starting", "Snapshot end")):
            current.append(_record(line) if line.startswith("|") else dict(re.findall(r"(\w+): (\S+)", line)))
    return facts


def _record(line: str) -> Facts:
    found = re.match(
        r"\| offset: (\d+) CreateTime: (\d+) keySize: (\S+) valueSize: (\S+) .*?headerKeys: \[\] ?(.*)", line
    )
    assert found, line
    fields: Facts = dict(
        zip(("offset", "timestamp", "keySize", "valueSize"), map(int, found.groups()[:4]), strict=True)
    )
    rest = found[5]
    marker = re.match(r"endTxnMarker: (\w+) coordinatorEpoch: (\d+)", rest)
    kraft = re.match(r"(\w+?):? (\{.*)", rest)
    if marker:
        return {**fields, "key": marker[1], "value": {"coordinatorEpoch": int(marker[2])}}
    if kraft and kraft[1] in KRAFT_NAMES:
        return {**fields, "key": KRAFT_NAMES[kraft[1]], "value": json.loads(kraft[2])}
    key, _, value = rest.rpartition("payload: ")
    return {**fields, "key": _value(key.removeprefix("key: ").strip()), "value": _value(value)}


def _value(text: str) -> object:
    if not text or text == "<DELETE>":
        return None
    return json.loads(text) if text.startswith("{") else text


def ours(files: Sequence[Path]) -> dict[str, list[Facts]]:
    """What we say, in the same form."""
    facts: dict[str, list[Facts]] = {str(file): [] for file in files}
    result = CliRunner().invoke(main, ["log", "dump", "--json", "--records", *map(str, files)])
    assert result.exit_code == 0, result.stderr
    for line in result.stdout.splitlines():
        row = json.loads(line)
        facts[row["file"]].append(row)
    return facts


def assert_same(theirs: dict[str, list[Facts]], mine: dict[str, list[Facts]]) -> int:
    """Every fact that the tool prints; the number of lines."""
    assert theirs.keys() == mine.keys()
    count = 0
    for path, lines in theirs.items():
        assert len(lines) == len(mine[path]), path
        for line, row in zip(lines, mine[path], strict=True):
            count += 1
            if row["kind"] == "record":
                assert {name: row[name] for name in line} == line
            else:
                assert {name: _text(row, name) for name in line if name not in _UNCOMPARED} == {
                    name: value for name, value in line.items() if name not in _UNCOMPARED
                }, path
    return count


_UNCOMPARED = ("version", "firstSequence")
"""A constant, and what follows from others."""
_OUR_NAMES = {"CreateTime": "maxTimestamp", "compresscodec": "compressCodec", "isvalid": "isValid"}


def _text(row: Facts, name: str) -> str:
    if name == "timestamp" and "lastTimestamp" in row:
        name = "lastTimestamp"
    value = row[_OUR_NAMES.get(name, name)]
    if value is None:
        return "OptionalLong.empty"
    if isinstance(value, bool):
        return str(value).lower()
    return f"OptionalLong[{value}]" if name == "currentTxnFirstOffset" else str(value)


def test_a_partition_of_everything(tools: Path, tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    disk = Disk(LogConfig(segment_bytes=15_000, index_interval_bytes=500), OsFileSystem(), str(directory))
    write_everything(disk)
    disk.log.close()
    files = sorted(path for path in directory.iterdir() if path.name[:20].isdigit())
    assert {path.suffix for path in files} == {".log", ".index", ".timeindex", ".txnindex", ".snapshot"}
    assert assert_same(kafkas(tools, files), ours(files)) > 700


def test_internal_topics(tools: Path, tmp_path: Path) -> None:
    broker = Odradek(tmp_path, {"offsets.topic.num.partitions": "1", "transaction.state.log.num.partitions": "1"})
    broker.start()
    try:
        producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "id"})
        producer.init_transactions()
        producer.begin_transaction()
        producer.produce("topic", b"value")
        producer.commit_transaction()
        consumer = Consumer(
            {"bootstrap.servers": broker.bootstrap, "group.id": "group", "auto.offset.reset": "earliest"}
        )
        consumer.subscribe(["topic"])
        (message,) = consumer.consume(1, 20.0)
        consumer.commit(message=message, asynchronous=False)
        consumer.close()
        # Of a running node.
        copy = tmp_path / "copy"
        shutil.copytree(broker.data_dir, copy)
    finally:
        del producer
        broker.close()
    offsets = [copy / "__consumer_offsets-0" / "00000000000000000000.log"]
    assert assert_same(kafkas(tools, offsets, "--offsets-decoder"), ours(offsets)) > 4
    transactions = [copy / "__transaction_state-0" / "00000000000000000000.log"]
    assert assert_same(kafkas(tools, transactions, "--transaction-log-decoder"), ours(transactions)) > 4
    metadata = sorted((copy / "__cluster_metadata-0").glob("0*.checkpoint"))
    metadata += sorted((copy / "__cluster_metadata-0").glob("0*.log"))
    assert assert_same(kafkas(tools, metadata, "--cluster-metadata-decoder"), ours(metadata)) > 20


def test_what_apache_kafka_writes_is_dumped_and_verified_while_it_runs_and_afterwards(tmp_path: Path) -> None:
    try:
        node = ApacheKafka(tmp_path, {"log.index.interval.bytes": "512"})
    except Unavailable as error:
        pytest.skip(f"Apache Kafka cannot be run: {error}")
    node.start()
    try:
        fill(node.bootstrap)
        for _ in ("running", "stopped"):
            result = CliRunner().invoke(main, ["log", "verify", "--records", str(node.data_dir)])
            assert (result.exit_code, result.stdout) == (0, "")
            result = CliRunner().invoke(main, ["log", "dump", "--records", "--recursive", "--json", str(node.data_dir)])
            assert result.exit_code == 0
            rows = [json.loads(line) for line in result.stdout.splitlines()]
            assert {row["kind"] for row in rows} == {"entry", "batch", "record", "partition"}
            assert not [row for row in rows if "problem" in row]
            if node.running:
                node.stop()
    finally:
        node.close()
