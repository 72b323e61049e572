"""The consumers of our own against our own broker: all that was written is read, at the end and from the begin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.limits import consume as limits
from benchmarks.limits.tail import bare_tail
from benchmarks.load.command_line import arguments, parse
from benchmarks.load.fetch import Fetch, consume
from benchmarks.load.fetch_wire import FetchFailed
from benchmarks.load.produce import Load, generate
from benchmarks.load.tail import Tail, follow, group_id
from benchmarks.page_cache import drop
from benchmarks.workloads.sessions import begin_indexes
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
)
from tests.support.odradek import Odradek
from tests.support.requests import await_coordinator, connect, create_topic, list_offset


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odradek]:
    started = Odradek(tmp_path_factory.mktemp("broker"), {})
    try:
        started.start()
        yield started
    finally:
        started.close()


@pytest.fixture(scope="module")
def loaded(broker: Odradek) -> str:
    """A topic of one partition with 6,000 records in 60 batches."""
    with connect(broker) as connection:
        create_topic(connection, "loaded")
    generate(Load(broker.host, broker.port, "loaded", records_per_batch=100, max_batches=60, seconds=30.0))
    return "loaded"


@pytest.mark.parametrize("version", [12, 13, 15, 18])
@pytest.mark.parametrize("sessions", [0, 1])
def test_all_records_are_read_as_often_as_wanted(broker: Odradek, loaded: str, version: int, sessions: int) -> None:
    fetch = Fetch(broker.host, broker.port, loaded, records=6000, passes=3, version=version, sessions=sessions)
    result = consume(fetch)
    assert (result.records, result.requests) == (18_000, 3)
    assert result.received_bytes > 18_000 * 100
    assert 0 < result.p50_ms <= result.p99_ms


def test_small_fetches_go_on_where_the_last_whole_batch_ended(broker: Odradek, loaded: str) -> None:
    result = consume(Fetch(broker.host, broker.port, loaded, records=6000, partition_max_bytes=30_000))
    assert result.records == 6000
    assert 20 <= result.requests <= 60


def test_answers_larger_than_the_buffer_are_read(broker: Odradek) -> None:
    with connect(broker) as connection:
        create_topic(connection, "large", configs={"max.message.bytes": str(1 << 23)})
    generate(Load(broker.host, broker.port, "large", record_bytes=3 << 20, max_batches=2, seconds=30.0))
    assert consume(Fetch(broker.host, broker.port, "large", records=2)).records == 2


def test_a_topic_that_is_not_there_fails(broker: Odradek) -> None:
    with pytest.raises(FetchFailed, match="error code"):
        consume(Fetch(broker.host, broker.port, "missing", version=12))


def test_a_reader_at_the_end_gets_every_batch_of_every_partition(broker: Odradek) -> None:
    with connect(broker) as connection:
        create_topic(connection, "tailed", 4)
        begin_indexes(connection, "tailed", 4)
    tail = Tail(broker.host, broker.port, "tailed", partitions=4, active=2, batches=60, batches_per_s=200)
    result = follow(tail)
    assert (result.records, result.commits) == (600, 0)
    assert 1 <= result.fetches <= 60 + 4
    assert 0 < result.p50_ms <= result.p99_ms
    with connect(broker) as connection:
        ends = [list_offset(connection, "tailed", -1, partition=index).offset for index in range(4)]
    assert ends == [302, 302, 2, 2]


def test_readers_of_several_groups_each_get_all_and_commit(broker: Odradek) -> None:
    with connect(broker) as connection:
        create_topic(connection, "shared")
        for number in range(3):
            await_coordinator(connection, group_id("shared", number))
    tail = Tail(broker.host, broker.port, "shared", consumers=3, commit_every=1, batches=20, batches_per_s=200)
    result = follow(tail)
    assert result.records == 3 * 200
    assert 3 <= result.commits <= 60
    with connect(broker) as connection:
        for number in range(3):
            topics = [OffsetFetchRequestTopics(name="shared", partition_indexes=[0])]
            group = OffsetFetchRequestGroup(group_id=group_id("shared", number), topics=topics)
            answer = connection.call(OffsetFetchRequest(groups=[group]), OffsetFetchResponse, 9)
            assert answer.groups[0].topics[0].partitions[0].committed_offset == 200


def test_the_bare_machine_reads_the_same_batches(tmp_path: Path) -> None:
    reading = limits.Reading(batches=50, records_per_batch=10, record_bytes=100, passes=3, answer_bytes=4000)
    result = limits.bare_consume(tmp_path, reading, 20.0)
    assert result.records == 50 * 10 * 3
    assert result.server_cpu_s is not None
    assert result.server_cpu_s >= 0


def test_the_bare_machine_sends_every_batch_to_every_reader(tmp_path: Path) -> None:
    result = bare_tail(
        tmp_path, batches=40, batches_per_s=400, records_per_batch=10, record_bytes=100, readers=3, timeout_s=20.0
    )
    assert result.records == 40 * 10 * 3
    assert result.records_per_s <= 3 * 10 * 400 * 1.05
    assert result.p99_ms is not None
    assert 0 < result.p99_ms < 5000


def test_files_are_written_before_they_are_dropped_from_memory(tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_bytes(b"x" * 100_000)
    try:
        drop([path])
    except OSError as reason:
        pytest.skip(f"not here: {reason}")
    assert path.read_bytes() == b"x" * 100_000


def test_the_command_line_says_the_same() -> None:
    fetch = Fetch("127.0.0.1", 9092, "bench", records=7, partitions=3, passes=2, version=12, sessions=0, min_bytes=9)
    assert parse(Fetch, "fetch", "", arguments(fetch)) == fetch
