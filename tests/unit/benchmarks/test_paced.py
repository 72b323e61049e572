from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

import pytest

from benchmarks.load.command_line import arguments, parse
from benchmarks.load.paced import Paced, PacedFailed, Schedule, measure
from odradek.wire.messages.fetch import FetchResponse
from tests.support.batches import batch, batches
from tests.support.odradek import Odradek
from tests.support.requests import NAMED_FETCH_VERSION, connect, create_topic, fetch_request, only_partition, produce

MS = 1_000_000


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odradek]:
    broker = Odradek(tmp_path_factory.mktemp("paced"), {})
    broker.start()
    yield broker
    broker.close()


def test_records_are_due_at_equal_distances() -> None:
    schedule = Schedule(begun_ns=100 * MS, records_per_s=2000, records=10)
    assert [schedule.due_ns(number) for number in range(3)] == [100 * MS, 100 * MS + MS // 2, 101 * MS]


def test_what_is_due_is_taken_once_and_nothing_else() -> None:
    schedule = Schedule(begun_ns=100 * MS, records_per_s=1000, records=10)
    assert not schedule.take(99 * MS)
    assert schedule.take(100 * MS) == range(1)
    assert not schedule.take(101 * MS - 1)
    assert schedule.take(102 * MS) == range(1, 3)


def test_a_late_sender_is_told_of_all_that_it_has_missed_and_that_it_is_late() -> None:
    schedule = Schedule(begun_ns=0, records_per_s=1000, records=10)
    assert schedule.next_after_s(0) == 0
    schedule.take(0)
    assert schedule.next_after_s(0) == 0.001
    assert schedule.next_after_s(5 * MS) == 0
    assert schedule.take(500 * MS) == range(1, 10)
    assert schedule.next_after_s(501 * MS) is None


def test_all_records_arrive_with_the_time_when_they_were_due(broker: Odradek) -> None:
    with connect(broker) as connection:
        create_topic(connection, "steady")
    paced = Paced(broker.bootstrap, "steady", records_per_s=500, record_bytes=40, seconds=0.3, warmup_s=0.1)
    result = measure(paced)
    assert result.records == 150
    assert 0 < result.p50_ms <= result.p99_ms <= result.p999_ms
    values = read(broker, "steady")
    stamps_ns = [struct.unpack_from(">q", value)[0] for value in values]
    assert {later - earlier for earlier, later in itertools.pairwise(stamps_ns)} == {2 * MS}
    assert {len(value) for value in values} == {40}


def test_records_of_somebody_else_are_no_measurement(broker: Odradek) -> None:
    with connect(broker) as connection:
        create_topic(connection, "shared")
        produce(connection, "shared", batch_of_stamps(1 << 62))
    with pytest.raises(PacedFailed, match="twice or out of order"):
        measure(Paced(broker.bootstrap, "shared", records_per_s=100, seconds=0.1, warmup_s=0.0))


def test_the_command_line_says_the_same() -> None:
    paced = Paced("host:1", "t", records_per_s=3, seconds=1.5)
    assert parse(Paced, "paced", "", arguments(paced)) == paced


def batch_of_stamps(*stamps_ns: int) -> bytes:
    return batch([struct.pack(">q", stamp_ns) for stamp_ns in stamps_ns])


def read(broker: Odradek, topic: str) -> list[bytes]:
    found: list[bytes] = []
    with connect(broker) as connection:
        answer = connection.call(fetch_request(topic, 0), FetchResponse, NAMED_FETCH_VERSION)
        for each in batches(only_partition(answer).records or b""):
            found += [value for value in each.values if value is not None]
    return found
