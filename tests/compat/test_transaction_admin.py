"""DescribeTransactions (API 65), ListTransactions (66), WriteTxnMarkers (27), DescribeProducers (61), and the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from odradek.wire.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    ProducerState,
    TopicRequest,
)
from odradek.wire.messages.describe_transactions import DescribeTransactionsRequest, DescribeTransactionsResponse
from odradek.wire.messages.list_transactions import ListTransactionsRequest, ListTransactionsResponse
from odradek.wire.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest, UpdateFeaturesResponse
from odradek.wire.messages.write_txn_markers import (
    WritableTxnMarker,
    WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)
from odradek.wire.persistent.transaction.transaction_log import TransactionLogKey, TransactionLogValue
from odradek.wire.records.batch import iter_records
from odradek.wire.records.header import iter_batches
from tests.support.batches import raw
from tests.support.groups import committed
from tests.support.process import wait_for
from tests.support.requests import await_coordinator as await_group_coordinator
from tests.support.requests import code, connect, create_topic, fetch, fetch_request
from tests.support.targets import Target
from tests.support.transactions import (
    RawTransactions,
    await_coordinator,
    describe,
    eventually,
    init,
    values,
)
from tests.support.wire import Connection

NewTopic = Callable[..., str]
Unique = Callable[[str], str]
STATE_PARTITIONS = 5


@pytest.fixture
def transactional_id(connection: Connection, unique: Unique) -> str:
    """A transactional id whose coordinator answers."""
    name = unique("tx")
    await_coordinator(connection, name)
    return name


def listed(connection: Connection, filters: Mapping[str, object], version: int | None = None) -> dict[str, str]:
    """ListTransactions: states by transactional id."""
    request = ListTransactionsRequest(**filters)  # type: ignore[arg-type] # of mixed types
    answer = connection.call(request, ListTransactionsResponse, version)
    assert code(answer.error_code) == "NONE", code(answer.error_code)
    return {entry.transactional_id: entry.transaction_state for entry in answer.transaction_states}


def markers(
    connection: Connection,
    producer: tuple[int, int],
    topic: str,
    *,
    commit: bool = False,
    partition: int = 0,
    coordinator_epoch: int = 0,
    transaction_version: int = 0,
    version: int = 2,
) -> str:
    """WriteTxnMarkers to one partition; the error's name."""
    marker = WritableTxnMarker(
        producer_id=producer[0],
        producer_epoch=producer[1],
        transaction_result=commit,
        coordinator_epoch=coordinator_epoch,
        transaction_version=transaction_version,
        topics=[WritableTxnMarkerTopic(name=topic, partition_indexes=[partition])],
    )
    answer = connection.call(WriteTxnMarkersRequest(markers=[marker]), WriteTxnMarkersResponse, version)
    (result,) = answer.markers
    assert result.producer_id == producer[0]
    return code(result.topics[0].partitions[0].error_code)


def producer_state(connection: Connection, topic: str, producer_id: int) -> ProducerState | None:
    request = DescribeProducersRequest(topics=[TopicRequest(name=topic, partition_indexes=[0])])
    answer = connection.call(request, DescribeProducersResponse).topics[0].partitions[0]
    assert code(answer.error_code) == "NONE"
    return next((state for state in answer.active_producers if state.producer_id == producer_id), None)


def test_a_transactional_id_is_described(connection: Connection, new_topic: NewTopic, transactional_id: str) -> None:
    topic = new_topic(partitions=2)
    assert code(describe(connection, transactional_id).error_code) == "TRANSACTIONAL_ID_NOT_FOUND"
    assert code(describe(connection, "").error_code) == "INVALID_REQUEST"
    producer = RawTransactions(connection, transactional_id, is_v2=True, timeout_ms=54_321)
    producer.init()
    state = describe(connection, transactional_id)
    assert (state.transaction_state, state.transaction_timeout_ms, state.transaction_start_time_ms) == (
        "Empty",
        54_321,
        -1,
    )
    assert (state.producer_id, state.producer_epoch) == producer.producer
    assert state.topics == []
    producer.write(topic, b"x")
    producer.write(topic, b"x", partition=1)
    state = describe(connection, transactional_id)
    assert state.transaction_state == "Ongoing"
    assert state.transaction_start_time_ms > 1_600_000_000_000
    assert [(entry.topic, sorted(entry.partitions)) for entry in state.topics] == [(topic, [0, 1])]
    producer.finish(commit=False)
    state = describe(connection, transactional_id)
    assert (state.transaction_state, state.topics) == ("CompleteAbort", [])


def test_several_are_described_in_one_request(connection: Connection, transactional_id: str) -> None:
    init(connection, transactional_id)
    request = DescribeTransactionsRequest(transactional_ids=["", transactional_id])
    states = connection.call(request, DescribeTransactionsResponse).transaction_states
    assert [(state.transactional_id, code(state.error_code)) for state in states] == [
        ("", "INVALID_REQUEST"),
        (transactional_id, "NONE"),
    ]


def test_transactions_are_listed_by_what_they_are(connection: Connection, new_topic: NewTopic, unique: Unique) -> None:
    """By state, producer id, duration (KIP-994) and a pattern for the whole id (KIP-1152)."""
    topic, stem = new_topic(), unique("tx")
    producers = {}
    for name in ("idle", "busy", "done"):
        producers[name] = RawTransactions(connection, f"{stem}-{name}", is_v2=True)
        await_coordinator(connection, producers[name].transactional_id)
        producers[name].init()
    producers["busy"].write(topic, b"x")
    producers["done"].write(topic, b"x")
    producers["done"].finish(commit=True)
    mine: dict[str, object] = {"transactional_id_pattern": f"{stem}-.*"}
    everything = {f"{stem}-idle": "Empty", f"{stem}-busy": "Ongoing", f"{stem}-done": "CompleteCommit"}
    assert listed(connection, mine) == everything
    assert everything.items() <= listed(connection, {}, version=0).items()
    at_work = {**mine, "state_filters": ["Ongoing", "Empty"]}
    assert listed(connection, at_work) == {f"{stem}-busy": "Ongoing", f"{stem}-idle": "Empty"}
    busy = {"producer_id_filters": [producers["busy"].producer[0]]}
    assert listed(connection, busy, version=0) == {f"{stem}-busy": "Ongoing"}
    ongoing = {**mine, "state_filters": ["Ongoing"]}
    wait_for(lambda: listed(connection, {**ongoing, "duration_filter": 0}) != {}, "a duration of more than nothing")
    assert f"{stem}-busy" in listed(connection, {"state_filters": ["Ongoing"], "duration_filter": 0}, version=1)
    assert listed(connection, {**ongoing, "duration_filter": 3_600_000}) == {}
    # The whole id has to match, and an empty pattern is none.
    assert listed(connection, {"transactional_id_pattern": stem}) == {}
    assert everything.items() <= listed(connection, {"transactional_id_pattern": ""}).items()
    answer = connection.call(ListTransactionsRequest(state_filters=["Lost", "Ongoing"]), ListTransactionsResponse)
    assert answer.unknown_state_filters == ["Lost"]
    answer = connection.call(ListTransactionsRequest(transactional_id_pattern="(?"), ListTransactionsResponse)
    assert code(answer.error_code) == "INVALID_REGULAR_EXPRESSION"
    for name in ("Lost", "ongoing"):
        assert listed(connection, {**mine, "state_filters": [name]}) == {}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("commit", [True, False])
def test_a_marker_of_an_administrator_ends_a_transaction_in_one_partition(
    connection: Connection, new_topic: NewTopic, transactional_id: str, version: int, commit: bool
) -> None:
    """What `abortTransaction` sends for a transaction that hangs (KIP-664)."""
    topic = new_topic(partitions=2)
    producer = RawTransactions(connection, transactional_id, is_v2=False)
    producer.init()
    producer.write(topic, b"a")
    producer.write(topic, b"b", partition=1)
    state = producer_state(connection, topic, producer.producer[0])
    assert state is not None
    assert (state.current_txn_start_offset, state.producer_epoch, state.last_sequence) == (0, 0, 0)
    assert markers(connection, producer.producer, topic, commit=commit, version=version) == "NONE"
    state = producer_state(connection, topic, producer.producer[0])
    assert state is not None
    assert (state.current_txn_start_offset, state.coordinator_epoch) == (-1, 0)
    assert values(connection, topic, committed=True) == ([b"a"] if commit else [])
    assert values(connection, topic, committed=True, partition=1) == []
    assert describe(connection, transactional_id).transaction_state == "Ongoing"
    producer.finish(commit=True)
    assert values(connection, topic, committed=True, partition=1) == [b"b"]


def test_markers_that_are_refused(connection: Connection, new_topic: NewTopic, transactional_id: str) -> None:
    topic = new_topic()
    producer = RawTransactions(connection, transactional_id, is_v2=True)
    producer.init()
    init(connection, transactional_id)
    producer.init()
    assert producer.producer[1] == 2
    producer.write(topic, b"x")
    producer_id, epoch = producer.producer
    assert markers(connection, producer.producer, "no-such-topic") == "UNKNOWN_TOPIC_OR_PARTITION"
    assert markers(connection, producer.producer, topic, partition=4) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert markers(connection, (producer_id, epoch - 1), topic) == "INVALID_PRODUCER_EPOCH"
    # With an epoch per transaction a marker's is above that of the records, unless it comes again.
    assert markers(connection, (producer_id, epoch), topic, transaction_version=2) == "INVALID_PRODUCER_EPOCH"
    assert markers(connection, (producer_id, epoch + 1), topic, transaction_version=2, coordinator_epoch=5) == "NONE"
    again = markers(connection, (producer_id, epoch + 1), topic, transaction_version=2, coordinator_epoch=5)
    assert again == "NONE"
    late = markers(connection, (producer_id, epoch + 1), topic, coordinator_epoch=4)
    assert late == "TRANSACTION_COORDINATOR_FENCED"
    # The records' epoch is over, so the producer is fenced in this partition.
    assert code(producer.send(topic, b"y").error_code) == "INVALID_PRODUCER_EPOCH"
    assert connection.call(WriteTxnMarkersRequest(markers=[]), WriteTxnMarkersResponse).markers == []


def test_a_marker_for_offsets(
    connection: Connection, new_topic: NewTopic, transactional_id: str, unique: Unique
) -> None:
    """The group coordinator applies it."""
    topic, group = new_topic(), unique("group")
    await_group_coordinator(connection, group)
    producer = RawTransactions(connection, transactional_id, is_v2=True)
    producer.init()
    assert eventually(lambda: producer.commit_offset(group, topic, 8), str) == "NONE"
    (entry,) = describe(connection, transactional_id).topics
    assert entry.topic == "__consumer_offsets"
    written = markers(
        connection, (producer.producer[0], producer.producer[1] + 1), entry.topic, partition=entry.partitions[0],
        commit=True,
    )  # fmt: skip
    assert written == "NONE"
    assert committed(connection, group, topic).committed_offset == 8
    producer.finish(commit=False)
    assert committed(connection, group, topic).committed_offset == 8


Entry = tuple[int, TransactionLogValue | None]


def state_log(connection: Connection, transactional_id: str) -> list[Entry]:
    """The records of a transactional id in `__transaction_state`, each with the version of its value."""
    found: list[Entry] = []
    for partition in range(STATE_PARTITIONS):
        offset = 0
        while True:
            answer = fetch(connection, fetch_request("__transaction_state", offset, partition=partition, max_wait_ms=0))
            data = raw(answer.records)
            for position, header in iter_batches(memoryview(data)):
                offset = header.next_offset
                assert (header.attributes, header.producer_id, header.base_sequence) == (0, -1, -1)
                for record in iter_records(data[position : position + header.size_bytes]):
                    assert record.key is not None
                    if TransactionLogKey.decode(record.key[2:], 0).transactional_id == transactional_id:
                        found.append(entry_of(record.value))
            if offset >= answer.high_watermark:
                break
    return found


def entry_of(value: bytes | None) -> Entry:
    if value is None:
        return -1, None
    version = int.from_bytes(value[:2], "big")
    return version, TransactionLogValue.decode(value[2:], version)


def outline(entries: list[Entry], first: int) -> list[object]:
    """What of the records does not depend on time and numbering: producer ids are counted from `first`."""
    return [
        value
        and (
            version,
            value.transaction_status,
            tuple(id_ - first if id_ >= 0 else None for id_ in (
                value.producer_id, value.previous_producer_id, value.next_producer_id)),
            value.producer_epoch,
            value.client_transaction_version,
            value.transaction_start_timestamp_ms >= 0,
            None if value.transaction_partitions is None
            else [(topic.topic, topic.partition_ids) for topic in value.transaction_partitions],
        )
        for version, value in entries
    ]  # fmt: skip


@pytest.mark.parametrize("is_v2", [False, True], ids=["v1", "v2"])
def test_the_records_of_the_coordinator(
    connection: Connection, new_topic: NewTopic, transactional_id: str, is_v2: bool
) -> None:
    topic = new_topic()
    producer = RawTransactions(connection, transactional_id, is_v2=is_v2)
    producer.init()
    producer.write(topic, b"x")
    producer.finish(commit=True)
    producer.write(topic, b"y")
    producer.init()
    if is_v2:
        producer.finish(commit=False)
    first = producer.producer[0]
    own, none, one = (0, 0, None), None, [(topic, [0])]
    bump, client = (1, 2) if is_v2 else (0, 0)
    expected: list[object] = [
        (1, 0, own, 0, 0, False, none),
        (1, 1, own, 0, client, True, one),
        (1, 2, own, bump, client, True, one),
        (1, 4, own, bump, client, True, []),
        (1, 1, own, bump, client, True, one),
        (1, 3, own, bump + 1, 2, True, one),
        (1, 5, own, bump + 1, 2, True, []),
        (1, 0, own, bump + 2, 2, False, none),
    ]
    if is_v2:
        expected += [(1, 3, own, 4, 2, True, []), (1, 5, own, 4, 2, True, [])]
    assert outline(state_log(connection, transactional_id), first) == expected


def set_transaction_version(connection: Connection, level: int, *, upgrade: bool) -> None:
    update = FeatureUpdateKey(feature="transaction.version", max_version_level=level, upgrade_type=1 if upgrade else 2)
    request = UpdateFeaturesRequest(timeout_ms=10_000, feature_updates=[update])
    answer = connection.call(request, UpdateFeaturesResponse)
    assert code(answer.error_code) == "NONE", answer.error_message


@pytest.mark.owns_broker
@pytest.mark.parametrize("level", [0, 1])
def test_a_cluster_of_an_older_transaction_version(
    own_broker: Callable[..., Target], unique: Unique, level: int
) -> None:
    """Its records have a place for the new fields or not, and a fenced producer is told from the old protocol's."""
    broker = own_broker()
    topic, transactional_id = unique("topic"), unique("tx")
    with connect(broker) as connection:
        set_transaction_version(connection, level, upgrade=False)
        create_topic(connection, topic)
        await_coordinator(connection, transactional_id)
        producer = RawTransactions(connection, transactional_id, is_v2=False)
        producer.init()
        producer.write(topic, b"x")
        producer.finish(commit=True)
        producer.write(topic, b"y")
        producer.init()
        found = outline(state_log(connection, transactional_id), producer.producer[0])
        own = (0, 0, None) if level else (0, None, None)
        assert [entry[:5] for entry in found if isinstance(entry, tuple)] == [
            (level, 0, own, 0, 0),
            (level, 1, own, 0, 0),
            (level, 2, own, 0, 0),
            (level, 4, own, 0, 0),
            (level, 1, own, 0, 0),
            (level, 3, own, 1, 0),
            (level, 5, own, 1, 0),
            (level, 0, own, 2, 0),
        ]
        assert values(connection, topic, committed=True) == [b"x"]


@pytest.mark.owns_broker
def test_a_transaction_that_hangs_is_ended_by_an_administrator(
    own_broker: Callable[..., Target], unique: Unique
) -> None:
    """Without verification a batch that comes late begins a transaction that its coordinator knows nothing of."""
    broker = own_broker({"transaction.partition.verification.enable": "false"})
    topic, transactional_id = unique("topic"), unique("tx")
    with connect(broker) as connection:
        create_topic(connection, topic)
        await_coordinator(connection, transactional_id)
        producer = RawTransactions(connection, transactional_id, is_v2=False)
        producer.init()
        assert code(producer.send(topic, b"hangs").error_code) == "NONE"
        assert describe(connection, transactional_id).transaction_state == "Empty"
        other = RawTransactions(connection, unique("other"), is_v2=True)
        await_coordinator(connection, other.transactional_id)
        other.init()
        other.write(topic, b"behind it")
        other.finish(commit=True)
        assert values(connection, topic, committed=True) == []
        state = producer_state(connection, topic, producer.producer[0])
        assert state is not None
        assert (state.current_txn_start_offset, state.coordinator_epoch) == (0, -1)
        assert markers(connection, producer.producer, topic, coordinator_epoch=state.coordinator_epoch) == "NONE"
        assert values(connection, topic, committed=True) == [b"behind it"]


@pytest.mark.owns_broker
def test_a_transactional_id_that_nobody_uses_is_forgotten(own_broker: Callable[..., Target], unique: Unique) -> None:
    broker = own_broker(
        {
            "transactional.id.expiration.ms": "1500",
            "transaction.remove.expired.transaction.cleanup.interval.ms": "200",
        }
    )
    topic, idle, busy = unique("topic"), unique("idle"), unique("busy")
    with connect(broker) as connection:
        create_topic(connection, topic)
        for name in (idle, busy):
            await_coordinator(connection, name)
        forgotten = RawTransactions(connection, idle, is_v2=True)
        forgotten.init()
        open_one = RawTransactions(connection, busy, is_v2=True)
        open_one.init()
        open_one.write(topic, b"x")
        wait_for(lambda: code(describe(connection, idle).error_code) == "TRANSACTIONAL_ID_NOT_FOUND", "it is forgotten")
        assert describe(connection, busy).transaction_state == "Ongoing"
        assert forgotten.add(topic) == "INVALID_PRODUCER_ID_MAPPING"
        assert [version for version, _ in state_log(connection, idle)] == [1, -1]
        before = forgotten.producer
        forgotten.init()
        assert forgotten.producer[0] != before[0]
        assert forgotten.producer[1] == 0
