"""Fetch (API 1): limits, long polls, sessions, topic ids."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from odradek.wire.messages.fetch import (
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    ForgottenTopic,
    ReplicaState,
)
from tests.support.batches import Lies, batch, batches, raw
from tests.support.requests import (
    code,
    connect,
    create_topic,
    fetch,
    fetch_request,
    metadata,
    only_partition,
    produce,
)
from tests.support.targets import Target
from tests.support.wire import Connection

NewTopic = Callable[..., str]
Unique = Callable[[str], str]


def fill(connection: Connection, topic: str, count: int, size: int = 100, partition: int = 0) -> None:
    for number in range(count):
        produce(connection, topic, batch([bytes([number]) * size]), partition=partition)


@pytest.mark.parametrize("version", range(4, 13))
def test_every_version_that_names_topics_returns_the_records(
    connection: Connection, new_topic: NewTopic, version: int
) -> None:
    """Versions 4 to 12 of Fetch."""
    topic = new_topic()
    fill(connection, topic, 2)
    answer = fetch(connection, fetch_request(topic, 0), version)
    assert code(answer.error_code) == "NONE"
    assert (answer.high_watermark, answer.last_stable_offset) == (2, 2)
    assert answer.log_start_offset == (0 if version >= 5 else -1)
    assert [stored.base_offset for stored in batches(answer.records)] == [0, 1]


@pytest.mark.parametrize("version", range(13, 19))
def test_every_version_that_gives_ids_returns_the_records(connection: Connection, unique: Unique, version: int) -> None:
    """KIP-516: versions 13 to 18 of Fetch."""
    topic = create_topic(connection, unique("topic"))
    produce(connection, topic.name or "", batch([b"v"]))
    request = fetch_request("", 0)
    request.topics[0].topic_id = topic.topic_id
    response = connection.call(request, FetchResponse, version)
    assert response.responses[0].topic_id == topic.topic_id
    assert [stored.values for stored in batches(only_partition(response).records)] == [[b"v"]]


def test_an_unknown_topic_id(connection: Connection) -> None:
    """KIP-516: UNKNOWN_TOPIC_ID for that partition."""
    request = fetch_request("", 0)
    request.topics[0].topic_id = b"\x01" * 16
    assert code(only_partition(connection.call(request, FetchResponse, 17)).error_code) == "UNKNOWN_TOPIC_ID"


def test_a_fetch_in_the_middle_of_a_batch_returns_the_whole_batch(connection: Connection, new_topic: NewTopic) -> None:
    """Clients drop what they did not ask for."""
    topic = new_topic()
    produce(connection, topic, batch([b"0", b"1", b"2"]))
    produce(connection, topic, batch([b"3"]))
    answer = fetch(connection, fetch_request(topic, 1))
    assert [(stored.base_offset, stored.count) for stored in batches(answer.records)] == [(0, 3), (3, 1)]


def test_the_first_batch_comes_whole_even_above_both_limits(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-74: otherwise a consumer could never get past it."""
    topic = new_topic()
    fill(connection, topic, 3, size=5000)
    answer = fetch(connection, fetch_request(topic, 0, max_bytes=10, partition_max_bytes=10))
    assert [stored.base_offset for stored in batches(answer.records)] == [0]


def test_the_partition_limit_cuts_after_the_first_batch(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-74: never more than the limit unless the first batch is."""
    topic = new_topic()
    fill(connection, topic, 10, size=1000)
    answer = fetch(connection, fetch_request(topic, 0, partition_max_bytes=3500))
    assert len(raw(answer.records)) <= 3500
    assert [stored.base_offset for stored in batches(answer.records)][:3] == [0, 1, 2]


def test_the_request_limit_goes_to_the_first_partitions(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-74: partitions are filled in the order of the request."""
    topic = new_topic(partitions=2)
    for partition in (0, 1):
        fill(connection, topic, 3, size=1000, partition=partition)
    request = fetch_request(topic, 0, max_bytes=1500)
    request.topics[0].partitions.append(FetchPartition(partition=1, fetch_offset=0, partition_max_bytes=1 << 20))
    first, second = connection.call(request, FetchResponse, 12).responses[0].partitions
    assert next(iter(batches(first.records))).base_offset == 0
    assert list(batches(second.records)) == []


def test_an_empty_fetch_waits_for_max_wait(connection: Connection, new_topic: NewTopic) -> None:
    """A long poll without data ends in time, with an empty answer."""
    topic = new_topic()
    begun = time.monotonic()
    answer = fetch(connection, fetch_request(topic, 0, max_wait_ms=400))
    assert 0.35 <= time.monotonic() - begun < 5
    assert (code(answer.error_code), raw(answer.records)) == ("NONE", b"")


def test_a_long_poll_wakes_for_new_data(target: Target, connection: Connection, new_topic: NewTopic) -> None:
    """min.bytes=1: the answer leaves when a record comes, not when time is over."""
    topic = new_topic()
    with connect(target) as waiting:
        begun = time.monotonic()
        number = waiting.send(fetch_request(topic, 0, max_wait_ms=15_000), 12)
        produce(connection, topic, batch([b"wake"]))
        answer = only_partition(waiting.receive(FetchResponse, 12, number))
        assert time.monotonic() - begun < 5
    assert [stored.values for stored in batches(answer.records)] == [[b"wake"]]


def test_min_bytes_collects(target: Target, connection: Connection, new_topic: NewTopic) -> None:
    """The answer waits until there is enough."""
    topic = new_topic()
    with connect(target) as waiting:
        number = waiting.send(fetch_request(topic, 0, max_wait_ms=15_000, min_bytes=2500), 12)
        fill(connection, topic, 3, size=1000)
        answer = only_partition(waiting.receive(FetchResponse, 12, number))
    assert len(list(batches(answer.records))) == 3


def test_an_error_in_one_partition_ends_the_wait(connection: Connection, new_topic: NewTopic) -> None:
    """Errors are told at once."""
    topic = new_topic()
    begun = time.monotonic()
    answer = fetch(connection, fetch_request(topic, 5, max_wait_ms=15_000))
    assert time.monotonic() - begun < 5
    assert code(answer.error_code) == "OFFSET_OUT_OF_RANGE"


@pytest.mark.parametrize("offset", [3, 1000, -1])
def test_offsets_beyond_the_log_are_out_of_range(connection: Connection, new_topic: NewTopic, offset: int) -> None:
    """OFFSET_OUT_OF_RANGE with neither records nor watermarks."""
    topic = new_topic()
    fill(connection, topic, 2)
    answer = fetch(connection, fetch_request(topic, offset))
    assert code(answer.error_code) == "OFFSET_OUT_OF_RANGE"
    assert (answer.high_watermark, raw(answer.records)) == (-1, b"")


def test_a_missing_topic_and_a_missing_partition(connection: Connection, new_topic: NewTopic, unique: Unique) -> None:
    """UNKNOWN_TOPIC_OR_PARTITION, and nothing is created."""
    missing = unique("missing")
    assert code(fetch(connection, fetch_request(missing, 0)).error_code) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert code(fetch(connection, fetch_request(new_topic(), 0, partition=1)).error_code) == (
        "UNKNOWN_TOPIC_OR_PARTITION"
    )
    assert code(metadata(connection, missing).error_code) == "UNKNOWN_TOPIC_OR_PARTITION"


@pytest.mark.parametrize(("epoch", "expected"), [(0, "NONE"), (-1, "NONE"), (5, "UNKNOWN_LEADER_EPOCH")])
def test_the_leader_epoch_is_checked(connection: Connection, new_topic: NewTopic, epoch: int, expected: str) -> None:
    """KIP-320: a client that knows a later leader than the broker does."""
    topic = new_topic()
    assert code(fetch(connection, fetch_request(topic, 0, leader_epoch=epoch, max_wait_ms=0)).error_code) == expected


def session_request(
    topic: str, session_id: int, epoch: int, offsets: dict[int, int], forget: tuple[int, ...] = ()
) -> FetchRequest:
    wanted = [
        FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=1 << 20)
        for index, offset in offsets.items()
    ]
    return FetchRequest(
        max_wait_ms=0,
        min_bytes=0,
        session_id=session_id,
        session_epoch=epoch,
        topics=[FetchTopic(topic=topic, partitions=wanted)] if wanted else [],
        forgotten_topics_data=[ForgottenTopic(topic=topic, partitions=list(forget))] if forget else [],
    )


def seen(response: FetchResponse) -> dict[int, int]:
    """Partitions in an answer, with the number of their batches."""
    return {
        partition.partition_index: len(list(batches(partition.records)))
        for topic in response.responses
        for partition in topic.partitions
    }


def test_a_session_sends_only_what_changed(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-227: full answer first; afterwards only partitions with news."""
    topic = new_topic(partitions=3)
    first = connection.call(session_request(topic, 0, 0, {0: 0, 1: 0, 2: 0}), FetchResponse, 12)
    assert first.session_id > 0
    assert seen(first) == {0: 0, 1: 0, 2: 0}
    session = first.session_id
    nothing = connection.call(session_request(topic, session, 1, {}), FetchResponse, 12)
    assert (nothing.session_id, seen(nothing)) == (session, {})
    fill(connection, topic, 1, partition=1)
    assert seen(connection.call(session_request(topic, session, 2, {}), FetchResponse, 12)) == {1: 1}
    moved_on = connection.call(session_request(topic, session, 3, {1: 1}), FetchResponse, 12)
    assert seen(moved_on) == {}
    fill(connection, topic, 1, partition=2)
    assert seen(connection.call(session_request(topic, session, 4, {}), FetchResponse, 12)) == {2: 1}


def test_a_session_forgets_partitions(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-227: forgotten_topics_data."""
    topic = new_topic(partitions=2)
    session = connection.call(session_request(topic, 0, 0, {0: 0, 1: 0}), FetchResponse, 12).session_id
    for partition in (0, 1):
        fill(connection, topic, 1, partition=partition)
    answer = connection.call(session_request(topic, session, 1, {}, forget=(0,)), FetchResponse, 12)
    assert seen(answer) == {1: 1}


def test_a_session_epoch_out_of_turn(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-227: INVALID_FETCH_SESSION_EPOCH at the top of the answer."""
    topic = new_topic()
    session = connection.call(session_request(topic, 0, 0, {0: 0}), FetchResponse, 12).session_id
    answer = connection.call(session_request(topic, session, 7, {}), FetchResponse, 12)
    assert code(answer.error_code) == "INVALID_FETCH_SESSION_EPOCH"
    assert (answer.session_id, answer.responses) == (0, [])


def test_a_session_that_is_not_there(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-227: FETCH_SESSION_ID_NOT_FOUND."""
    answer = connection.call(session_request(new_topic(), 123_456_789, 1, {0: 0}), FetchResponse, 12)
    assert code(answer.error_code) == "FETCH_SESSION_ID_NOT_FOUND"


def test_a_session_ends_with_epoch_minus_1(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-227: closing answers without a session, and its id is gone."""
    topic = new_topic()
    session = connection.call(session_request(topic, 0, 0, {0: 0}), FetchResponse, 12).session_id
    closing = connection.call(session_request(topic, session, -1, {}), FetchResponse, 12)
    assert (code(closing.error_code), closing.session_id) == ("NONE", 0)
    gone = connection.call(session_request(topic, session, 1, {}), FetchResponse, 12)
    assert code(gone.error_code) == "FETCH_SESSION_ID_NOT_FOUND"


def test_a_client_cannot_pose_as_a_follower_that_is_not_a_replica(connection: Connection, new_topic: NewTopic) -> None:
    """CVE-2018-1288's surface: a replica id that the partition does not have moves nothing and gets nothing."""
    topic = new_topic()
    fill(connection, topic, 1)
    request = fetch_request(topic, 0)
    request.topics[0].topic_id = metadata(connection, topic).topic_id
    request.replica_state = ReplicaState(replica_id=77, replica_epoch=1)
    partition = only_partition(connection.call(request, FetchResponse, 17))
    assert code(partition.error_code) == "NOT_LEADER_OR_FOLLOWER"
    assert raw(partition.records) == b""


def test_a_reader_that_stops_reading_holds_up_nobody_else(
    target: Target, connection: Connection, new_topic: NewTopic
) -> None:
    """Backpressure ends at the connection that causes it."""
    topic = new_topic()
    fill(connection, topic, 1, size=900_000)
    with connect(target) as slow:
        for _ in range(50):
            slow.send(fetch_request(topic, 0), 12)
        begun = time.monotonic()
        for _ in range(20):
            assert len(list(batches(fetch(connection, fetch_request(topic, 0)).records))) == 1
        assert time.monotonic() - begun < 10


def test_compressed_batches_are_returned_as_they_are(connection: Connection, new_topic: NewTopic) -> None:
    """compression.type=producer keeps the producer's codec and bytes."""
    topic = new_topic()
    sent = batch([b"a" * 2000], lies=Lies(attributes=1))
    produce(connection, topic, sent)
    assert raw(fetch(connection, fetch_request(topic, 0)).records)[17:] == sent[17:]
