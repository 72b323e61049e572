"""Apache Kafka's own command line tools: what their users type, and what they are told."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.apache import Unavailable, require, tools_libs
from tests.support.targets import Target

TOOL_TIMEOUT_S = 60
JVM_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m")
"""Tools live for half a second: no time to compile much."""
Run = Callable[..., str]
Unique = Callable[[str], str]


pytestmark = pytest.mark.client("tools")


@pytest.fixture(scope="module")
def libs() -> Path:
    try:
        require("java")
        return tools_libs()
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka's tools cannot be run: {missing}")


@pytest.fixture
def run(libs: Path, target: Target) -> Run:
    """What a tool writes on stdout: ``run("TopicCommand", "--list")``."""

    def tool(name: str, *arguments: str) -> str:
        command = ["java", *JVM_OPTIONS, "-cp", f"{libs}/*", f"org.apache.kafka.tools.{name}"]
        command += ["--bootstrap-server", target.bootstrap, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        return done.stdout

    return tool


def rows(table: str) -> list[list[str]]:
    """The lines of a tool's table, without its heading."""
    lines = [line.split() for line in table.splitlines() if line.strip()]
    return lines[1:]


def test_topics_from_creation_to_deletion(run: Run, unique: Unique) -> None:
    topic = unique("topic")
    created = run(
        "TopicCommand", "--create", "--topic", topic, "--partitions", "2", "--config", "retention.ms=86400000"
    )
    assert created == f"Created topic {topic}.\n"
    run("TopicCommand", "--alter", "--topic", topic, "--partitions", "3")
    head, *partitions = run("TopicCommand", "--describe", "--topic", topic).splitlines()
    assert f"Topic: {topic}\t" in head
    assert "PartitionCount: 3\tReplicationFactor: 1\t" in head
    assert "retention.ms=86400000" in head
    assert re.findall(r"Partition: (\d)\tLeader: \d\tReplicas: \d\tIsr: \d", "\n".join(partitions)) == ["0", "1", "2"]
    described = run("LogDirsCommand", "--describe", "--topic-list", topic).splitlines()[-1]
    (directory,) = json.loads(described)["brokers"][0]["logDirs"]
    replicas = [(found["partition"], found["size"], found["isFuture"]) for found in directory["partitions"]]
    assert sorted(replicas) == [(f"{topic}-{index}", 0, False) for index in range(3)]
    assert "No partition reassignments found" in run("reassign.ReassignPartitionsCommand", "--list")
    run("TopicCommand", "--delete", "--topic", topic)
    assert topic not in run("TopicCommand", "--list").splitlines()


def test_records_and_the_group_that_reads_them(run: Run, unique: Unique, tmp_path: Path) -> None:
    topic, group = unique("topic"), unique("group")
    run("TopicCommand", "--create", "--topic", topic, "--partitions", "2")
    numbers = ["--record-size", "100", "--num-records", "2000", "--throughput", "-1"]
    assert run("ProducerPerformance", "--topic", topic, *numbers).startswith("2000 records sent")
    ends = [line.split(":") for line in run("GetOffsetShell", "--topic", topic).splitlines()]
    assert [(name, partition) for name, partition, _ in ends] == [(topic, "0"), (topic, "1")]
    assert sum(int(offset) for _, _, offset in ends) == 2000
    (read,) = rows(run("ConsumerPerformance", "--topic", topic, "--group", group, "--num-records", "2000"))
    assert "2000," in read

    groups = "consumer.group.ConsumerGroupCommand"
    described = rows(run(groups, "--describe", "--group", group))
    assert [row[:6] for row in described] == [
        [group, topic, partition, offset, offset, "0"] for _, partition, offset in ends
    ]
    assert [group, "Empty"] in rows(run(groups, "--list", "--state"))
    reset = run(groups, "--reset-offsets", "--to-earliest", "--group", group, "--topic", topic, "--execute")
    assert [row[-1] for row in rows(reset)] == ["0", "0"]

    before = {"topic": topic, "partition": 0, "offset": 1}
    (tmp_path / "offsets.json").write_text(json.dumps({"version": 1, "partitions": [before]}))
    assert "low_watermark: 1" in run("DeleteRecordsCommand", "--offset-json-file", str(tmp_path / "offsets.json"))
    assert run("GetOffsetShell", "--topic-partitions", f"{topic}:0", "--time", "-2") == f"{topic}:0:1\n"
    assert "was successful" in run(groups, "--delete", "--group", group)


def test_the_cluster(run: Run, target: Target) -> None:
    quorum = dict(line.split(":", 1) for line in run("MetadataQuorumCommand", "describe", "--status").splitlines())
    assert [voter["id"] for voter in json.loads(quorum["CurrentVoters"])] == [int(quorum["LeaderId"])]
    assert quorum["CurrentObservers"].strip() == "[]"
    levels = r"^Feature: (\S+)\s.*FinalizedVersionLevel: (.*?)\s+Epoch"
    features = dict(re.findall(levels, run("FeatureCommand", "describe"), re.MULTILINE))
    assert features["kraft.version"] == "1"
    assert features["transaction.version"] == "2"
    assert "33" in features["metadata.version"]
    versions = run("BrokerApiVersionsCommand")
    assert versions.startswith(f"{target.bootstrap} (id: {int(quorum['LeaderId'])} rack: null isFenced: false) -> (\n")
    assert "\tProduce(0): 0 to 13 [usable: 13],\n" in versions
