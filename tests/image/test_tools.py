"""`kafka-topics` of the image prints what Apache Kafka's prints, and exits as it does; both ask the same broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from odradek.cli import main
from tests.support.apache import Unavailable
from tests.support.kafka_tools import KafkaTools
from tests.support.odradek import Odradek

MINE, THEIRS = "mine", "kafka"
STEPS = [
    "--create --topic {} --partitions 3 --replication-factor 1 --config retention.ms=1000",
    "--create --topic {} --partitions 3",
    "--create --topic {} --if-not-exists",
    "--create --topic {}-other --config cleanup.policy=compact --config max.message.bytes=2000",
    "--create --topic {}-wrong --config no.such=1",
    "--create --topic {}-wrong --replication-factor 7",
    "--list",
    "--list --topic {}.*",
    "--list --topic nothing",
    "--list --exclude-internal",
    "--describe --topic {}",
    "--describe --topic {}.*",
    "--describe",
    "--describe --topic no-such",
    "--describe --topic no-such --if-exists",
    "--delete --topic {}-other",
    "--delete --topic no-such",
    "--delete --topic no-such --if-exists",
    "--list",
]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odradek]:
    broker = Odradek(tmp_path_factory.mktemp("broker"), {})
    broker.start()
    try:
        yield broker
    finally:
        broker.close()


def in_order(described: list[str]) -> list[str]:
    """Topics by name, with their properties by name: Kafka's tool has them as they come."""
    topics: list[list[str]] = []
    for line in described:
        if line.startswith("Topic: "):
            head, _, configs = line.rpartition(": ")
            topics.append([f"{head}: {','.join(sorted(configs.split(',')))}"])
        elif topics:
            topics[-1].append(line)
        else:
            return described
    return [line for topic in sorted(topics, key=lambda lines: lines[0].split("\t")[0]) for line in topic]


def test_every_step_of_a_script_says_the_same(broker: Odradek) -> None:
    try:
        tools = KafkaTools()
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka's tools cannot be run: {missing}")
    with tools:
        for step in STEPS:
            arguments = ["--bootstrap-server", broker.bootstrap, *step.format(MINE).split()]
            ours = CliRunner().invoke(main, ["container", "kafka-topics", *arguments])
            # What only reads asks for the same topic, and what changes something has one of its own.
            reads = step.startswith(("--list", "--describe"))
            name = MINE if reads else THEIRS
            theirs = tools.run("TopicCommand", "--bootstrap-server", broker.bootstrap, *step.format(name).split())
            expected = (theirs.out if reads else theirs.out.replace(THEIRS, MINE)).splitlines()
            if theirs.code:
                del expected[1:]  # the trace of where in Kafka it was
            if step.startswith("--describe"):
                expected = in_order(expected)
            assert (step, ours.exit_code, ours.stdout.splitlines()) == (step, theirs.code, expected), theirs.err


def test_the_broker_must_be_there_and_something_must_be_asked_for(broker: Odradek, tmp_path: Path) -> None:
    nobody = CliRunner().invoke(main, ["container", "kafka-topics", "--bootstrap-server", "127.0.0.1:1", "--list"])
    assert nobody.exit_code == 1
    for arguments in ([], ["--create"], ["--create", "--topic", "x", "--config", "novalue"]):
        wrong = CliRunner().invoke(
            main, ["container", "kafka-topics", "--bootstrap-server", broker.bootstrap, *arguments]
        )
        assert wrong.exit_code == 1
