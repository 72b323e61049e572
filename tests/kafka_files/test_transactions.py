"""Transactions that go from one broker to the other in the middle, in the files. Needs Java, and Maven or the jars."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kafka_files.test_both_ways import dump
from tests.support.apache import ApacheKafka, Unavailable, require, tools_libs
from tests.support.odradek import Odradek
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import code, connect, create_topic, wait_for_topic
from tests.support.transactions import RawTransactions, await_coordinator, describe, values

SETTINGS = {"transaction.state.log.num.partitions": "1", "offsets.topic.num.partitions": "1"}
TOPIC, TX = "t", "tx"


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[tuple[ApacheKafka, Odradek]]:
    """One of each; they take turns over the same directory."""
    try:
        require("java")
        tools_libs()
        for name in ("kafka", "ours"):
            (tmp_path / name).mkdir()
        apache = ApacheKafka(tmp_path / "kafka", SETTINGS)
    except Unavailable as error:
        pytest.skip(f"Apache Kafka cannot be run: {error}")
    with ExitStack() as stack:
        ours = Odradek(tmp_path / "ours", SETTINGS)
        stack.callback(apache.close)
        stack.callback(ours.close)
        yield apache, ours


def move(source: BrokerProcess, target: BrokerProcess) -> None:
    """Stop one broker, and start the other with its data."""
    source.kill()
    shutil.rmtree(target.data_dir, ignore_errors=True)
    shutil.copytree(source.data_dir, target.data_dir)
    target.start()


@pytest.mark.parametrize("is_v2", [False, True], ids=["v1", "v2"])
def test_a_transaction_goes_to_us_and_back(brokers: tuple[ApacheKafka, Odradek], is_v2: bool) -> None:
    apache, ours = brokers
    apache.start()
    with connect(apache) as connection:
        create_topic(connection, TOPIC)
        await_coordinator(connection, TX)
        producer = RawTransactions(connection, TX, is_v2=is_v2)
        producer.init()
        producer.write(TOPIC, b"one")
        producer.finish(commit=True)
        producer.write(TOPIC, b"lost")
        producer.finish(commit=False)
        producer.write(TOPIC, b"two")
        before = describe(connection, TX)
    move(apache, ours)
    with connect(ours) as connection:
        wait_for_topic(connection, TOPIC, 1)
        await_coordinator(connection, TX)
        producer.connection = connection
        assert describe(connection, TX) == before
        assert values(connection, TOPIC, committed=True) == [b"one"]
        producer.write(TOPIC, b"three")
        assert code(producer.end(commit=True).error_code) == "NONE"
        producer.await_complete()
        assert values(connection, TOPIC, committed=True) == [b"one", b"two", b"three"]
        producer.write(TOPIC, b"four")
    move(ours, apache)
    with connect(apache) as connection:
        wait_for_topic(connection, TOPIC, 1)
        await_coordinator(connection, TX)
        producer.connection = connection
        producer.init()
        wait_for(
            lambda: values(connection, TOPIC, committed=True) == [b"one", b"two", b"three"], "the last one is aborted"
        )


def test_the_dump_tool_reads_our_records(brokers: tuple[ApacheKafka, Odradek]) -> None:
    _, ours = brokers
    ours.start()
    with connect(ours) as connection:
        create_topic(connection, TOPIC)
        await_coordinator(connection, TX)
        producer = RawTransactions(connection, TX, is_v2=True)
        producer.init()
        producer.write(TOPIC, b"one")
        producer.finish(commit=True)
    ours.stop()
    text = dump(tools_libs(), ours.data_dir / "__transaction_state-0", "--transaction-log-decoder")
    empty, ongoing, prepare_commit, complete_commit = "0124"
    statuses = re.findall(r'"transactionStatus":(\d)', text)
    assert statuses == [empty, ongoing, prepare_commit, complete_commit]
