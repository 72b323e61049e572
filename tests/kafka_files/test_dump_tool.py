"""Every file that a node of ours writes, in the eyes of Apache Kafka's dump tool."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.kafka_files.dump import complaints, dump, files_of, tools_or_skip
from tests.kafka_files.nodes import Group, fill, look
from tests.support.odradek import Odradek
from tests.support.process import wait_for
from tests.support.requests import connect, create_topic, list_offset
from tests.support.wire import Connection

SETTINGS = {
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.num.partitions": "3",
    "group.initial.rebalance.delay.ms": "0",
    "log.segment.bytes": str(1 << 20),
    "log.index.interval.bytes": "512",
    "metadata.log.max.record.bytes.between.snapshots": "1000",
}


@pytest.fixture(scope="module")
def libs() -> Path:
    return tools_or_skip()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Odradek]:
    broker = Odradek(tmp_path, SETTINGS)
    broker.start()
    yield broker
    broker.close()


def partitions_of(node: Odradek, topic: str) -> list[Path]:
    return [path for path in sorted(node.data_dir.iterdir()) if re.fullmatch(rf"{re.escape(topic)}-\d+", path.name)]


@pytest.mark.parametrize("how", ["stopped", "killed", "killed and recovered"])
def test_the_dump_tool_reads_all_that_a_node_writes(libs: Path, node: Odradek, how: str) -> None:
    groups = fill(node, "here")
    found = look(node, groups)
    if how == "stopped":
        node.stop()
    else:
        node.kill()
    if how == "killed and recovered":
        node.start()
        assert look(node, groups) == found
        node.stop()

    check_records(libs, node, found.starts)
    check_offsets(libs, node, groups)
    check_metadata(libs, node, found.topic_ids)


def check_records(libs: Path, node: Odradek, partitions: object) -> None:
    directories = [
        path for topic in ("here-plain", "here-compacted", "here-cut") for path in partitions_of(node, topic)
    ]
    assert len(directories) == 5
    files = files_of(*directories)
    assert {path.suffix for path in files} >= {".log", ".index", ".timeindex", ".snapshot"}
    text = dump(libs, files, "--deep-iteration", "--print-data-log")
    assert complaints(text) == []
    assert len(re.findall(r"^\| offset: ", text, re.MULTILINE)) == 3000 + 20 + 20
    sane = dump(libs, [path for path in files if path.suffix in (".index", ".timeindex")], "--index-sanity-check")
    assert complaints(sane) == []


def check_offsets(libs: Path, node: Odradek, groups: list[Group]) -> None:
    text = dump(libs, files_of(*partitions_of(node, "__consumer_offsets")), "--offsets-decoder")
    assert complaints(text) == []
    for number, group in enumerate(groups):
        key = rf'"group":"{group.name}","topic":"{group.topic}","partition":{group.partition}'
        assert re.search(rf'{key}.*"offset":{100 + number},.*"metadata":"of the era of here"', text), group


def check_metadata(libs: Path, node: Odradek, topic_ids: object) -> None:
    files = files_of(node.data_dir / "__cluster_metadata-0")
    assert sum(path.suffix == ".checkpoint" for path in files) >= 2
    text = dump(libs, files, "--cluster-metadata-decoder")
    assert complaints(text) == []
    for kind in ("TOPIC", "PARTITION", "CONFIG", "REMOVE_TOPIC", "REGISTER_BROKER", "FEATURE_LEVEL", "PRODUCER_IDS"):
        assert f'"type":"{kind}_RECORD"' in text, kind
    assert '"name":"here-cut"' in text
    assert "KRaftVersion" in text
    assert "SnapshotFooter" in text


def is_decided(connection: Connection, partition: int) -> bool:
    """Whether no transaction is open: the last stable offset is the end."""
    ends = [
        list_offset(connection, "transactional", -1, partition=partition, isolation_level=level) for level in (0, 1)
    ]
    return ends[0].offset == ends[1].offset > 0


def test_the_dump_tool_reads_the_state_of_transactions(libs: Path, node: Odradek) -> None:
    with connect(node) as connection:
        create_topic(connection, "transactional", 2)
    producer = Producer(
        {"bootstrap.servers": node.bootstrap, "transactional.id": "dumped", "transaction.timeout.ms": 20_000}
    )
    producer.init_transactions(20)
    for number in range(6):
        producer.begin_transaction()
        producer.produce("transactional", b"%d" % number, partition=number % 2)
        producer.flush()
        (producer.abort_transaction if number % 3 == 1 else producer.commit_transaction)(10)
    with connect(node) as connection:
        wait_for(lambda: all(is_decided(connection, number) for number in range(2)), "all markers are written")
    node.kill()
    text = dump(libs, files_of(*partitions_of(node, "__transaction_state")), "--transaction-log-decoder")
    assert complaints(text) == []
    assert "dumped" in text
    files = files_of(*partitions_of(node, "transactional"))
    text = dump(libs, files, "--deep-iteration", "--print-data-log")
    assert complaints(text) == []
    assert text.count("endTxnMarker: COMMIT") == 4
    assert text.count("endTxnMarker: ABORT") == 2
