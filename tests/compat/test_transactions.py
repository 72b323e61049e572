"""Transactions over raw connections, in both protocols: InitProducerId, AddPartitionsToTxn, EndTxn, Produce, Fetch."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from odradek.wire.messages.fetch import FetchResponse
from tests.support.batches import CONTROL_BIT, batches
from tests.support.process import wait_for
from tests.support.requests import (
    NAMED_FETCH_VERSION,
    code,
    connect,
    fetch_request,
    list_offset,
    only_partition,
)
from tests.support.targets import Target
from tests.support.transactions import (
    RawTransactions,
    add,
    await_coordinator,
    describe,
    eventually,
    init,
    values,
)
from tests.support.wire import Connection

NewTopic = Callable[..., str]
Unique = Callable[[str], str]
MAX_TIMEOUT_MS = 900_000


@pytest.fixture
def transactional_id(connection: Connection, unique: Unique) -> str:
    """A transactional id whose coordinator answers."""
    name = unique("tx")
    await_coordinator(connection, name)
    return name


@pytest.fixture(params=[False, True], ids=["v1", "v2"])
def producer(request: pytest.FixtureRequest, connection: Connection, transactional_id: str) -> RawTransactions:
    """A producer that has its id, in each protocol."""
    made = RawTransactions(connection, transactional_id, is_v2=request.param)
    made.init()
    return made


@pytest.mark.parametrize("commit", [True, False])
def test_records_are_seen_as_the_transaction_ends(
    connection: Connection, new_topic: NewTopic, producer: RawTransactions, commit: bool
) -> None:
    topic = new_topic(partitions=2)
    assert producer.write(topic, b"a", b"b") == 0
    producer.write(topic, b"c", partition=1)
    assert values(connection, topic, committed=True) == []
    assert values(connection, topic, committed=False) == [b"a", b"b"]
    assert list_offset(connection, topic, -1, isolation_level=1).offset == 0
    producer.finish(commit=commit)
    assert values(connection, topic, committed=True) == ([b"a", b"b"] if commit else [])
    assert values(connection, topic, committed=True, partition=1) == ([b"c"] if commit else [])
    assert values(connection, topic, committed=False) == [b"a", b"b"]
    assert list_offset(connection, topic, -1, isolation_level=1).offset == 3
    assert producer.write(topic, b"d") == 3
    producer.finish(commit=True)
    assert values(connection, topic, committed=True)[-1] == b"d"


def test_an_epoch_per_transaction_or_one_for_all(
    connection: Connection, new_topic: NewTopic, producer: RawTransactions
) -> None:
    """KIP-890: EndTxn raises the epoch in version 5, and in no version before."""
    topic = new_topic()
    producer_id, epoch = producer.producer
    for number in range(3):
        producer.write(topic, b"x")
        answer = producer.end(commit=True)
        assert code(answer.error_code) == "NONE"
        bumped = (producer_id, epoch + number + 1)
        assert (answer.producer_id, answer.producer_epoch) == (bumped if producer.is_v2 else (-1, -1))
        producer.await_complete()
        state = describe(connection, producer.transactional_id)
        assert (state.producer_id, state.producer_epoch) == (bumped if producer.is_v2 else (producer_id, epoch))


@pytest.mark.parametrize("version", range(6))
def test_init_producer_id_in_every_version(connection: Connection, transactional_id: str, version: int) -> None:
    """Each call raises the epoch, and fences whoever had the one before."""
    first = init(connection, transactional_id, version=version)
    second = init(connection, transactional_id, version=version)
    assert code(first.error_code) == code(second.error_code) == "NONE"
    assert (first.producer_epoch, second.producer_epoch) == (0, 1)
    assert first.producer_id == second.producer_id >= 0


@pytest.mark.parametrize("timeout_ms", [0, -1, MAX_TIMEOUT_MS + 1])
def test_a_timeout_out_of_bounds(connection: Connection, transactional_id: str, timeout_ms: int) -> None:
    answer = init(connection, transactional_id, timeout_ms=timeout_ms)
    assert code(answer.error_code) == "INVALID_TRANSACTION_TIMEOUT"
    assert (answer.producer_id, answer.producer_epoch) == (-1, -1)


def test_requests_without_a_transactional_id(connection: Connection, new_topic: NewTopic) -> None:
    topic = new_topic()
    assert code(init(connection, "").error_code) == "INVALID_REQUEST"
    nobody = RawTransactions(connection, "", is_v2=True)
    nobody.producer = (1, 0)
    assert nobody.add(topic) == "INVALID_REQUEST"
    assert add(connection, "", (1, 0), topic, version=5) == "INVALID_REQUEST"
    assert add(connection, "", (1, 0), topic, version=5, verify_only=True) == "INVALID_REQUEST"
    assert nobody.add_offsets("group") == "INVALID_REQUEST"
    for version in range(6):
        assert code(nobody.end(commit=True, version=version).error_code) == "INVALID_REQUEST"


def test_a_producer_comes_back_with_its_id_and_epoch(connection: Connection, transactional_id: str) -> None:
    """KIP-360: after an error it names its epoch; who does so twice gets the same again, and anybody else is fenced."""
    first = init(connection, transactional_id)
    me = (first.producer_id, first.producer_epoch)
    again = init(connection, transactional_id, producer=me)
    assert (again.producer_id, again.producer_epoch) == (me[0], me[1] + 1)
    once_more = init(connection, transactional_id, producer=me)
    assert (once_more.producer_id, once_more.producer_epoch) == (me[0], me[1] + 1)
    init(connection, transactional_id)
    assert code(init(connection, transactional_id, producer=me).error_code) == "PRODUCER_FENCED"
    assert code(init(connection, transactional_id, producer=me, version=3).error_code) == "INVALID_PRODUCER_EPOCH"
    assert code(init(connection, transactional_id, producer=(me[0] + 12345, 0)).error_code) == "PRODUCER_FENCED"
    assert code(init(connection, transactional_id, producer=(me[0], -1)).error_code) == "INVALID_REQUEST"
    assert code(init(connection, transactional_id, producer=(-1, 3)).error_code) == "INVALID_REQUEST"


def test_a_second_producer_fences_the_first_and_aborts_its_transaction(
    connection: Connection, new_topic: NewTopic, producer: RawTransactions
) -> None:
    topic = new_topic()
    producer.write(topic, b"lost")
    old = producer.producer
    second = RawTransactions(connection, producer.transactional_id, is_v2=producer.is_v2)
    assert code(init(connection, producer.transactional_id).error_code) == "CONCURRENT_TRANSACTIONS"
    second.init()
    # One epoch for the abort, and one for the new producer.
    assert second.producer == (old[0], old[1] + 2)
    assert code(producer.send(topic, b"zombie").error_code) == "INVALID_PRODUCER_EPOCH"
    assert producer.add(topic) == "PRODUCER_FENCED"
    assert producer.add(topic, version=1) == "INVALID_PRODUCER_EPOCH"
    assert code(producer.end(commit=True).error_code) == "PRODUCER_FENCED"
    assert code(producer.end(commit=True, version=1).error_code) == "INVALID_PRODUCER_EPOCH"
    assert producer.add_offsets("group") == "PRODUCER_FENCED"
    second.write(topic, b"kept")
    second.finish(commit=True)
    assert values(connection, topic, committed=True) == [b"kept"]


def test_producers_that_nobody_knows(
    connection: Connection, new_topic: NewTopic, producer: RawTransactions, unique: Unique
) -> None:
    topic = new_topic()
    stranger = RawTransactions(connection, unique("stranger"), is_v2=producer.is_v2)
    await_coordinator(connection, stranger.transactional_id)
    stranger.producer = producer.producer
    other = RawTransactions(connection, producer.transactional_id, is_v2=producer.is_v2)
    other.producer = (producer.producer[0] + 12345, 0)
    for wrong in (stranger, other):
        assert wrong.add(topic) == "INVALID_PRODUCER_ID_MAPPING"
        assert code(wrong.end(commit=True).error_code) == "INVALID_PRODUCER_ID_MAPPING"
        assert code(wrong.send(topic, b"x").error_code) == "INVALID_PRODUCER_ID_MAPPING"
        assert wrong.add_offsets("group") == "INVALID_PRODUCER_ID_MAPPING"
    assert values(connection, topic, committed=False) == []


@pytest.mark.parametrize("version", range(4))
def test_partitions_that_cannot_be_added(
    connection: Connection, new_topic: NewTopic, producer: RawTransactions, version: int
) -> None:
    topic = new_topic()
    assert producer.add("no-such-topic", version=version) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert producer.add(topic, 7, version=version) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert producer.add(topic, 0, 7, version=version) == "OPERATION_NOT_ATTEMPTED"
    assert producer.add("__consumer_offsets", version=version) == "TOPIC_AUTHORIZATION_FAILED"
    assert producer.add("__transaction_state", version=version) == "TOPIC_AUTHORIZATION_FAILED"
    assert describe(connection, producer.transactional_id).transaction_state == "Empty"
    assert producer.add(topic, version=version) == "NONE"
    assert producer.add(topic, version=version) == "NONE"
    assert describe(connection, producer.transactional_id).transaction_state == "Ongoing"


@pytest.mark.parametrize("version", [4, 5])
def test_a_broker_verifies_partitions(
    connection: Connection, new_topic: NewTopic, producer: RawTransactions, version: int
) -> None:
    """The versions of AddPartitionsToTxn that brokers use among themselves."""
    topic = new_topic(partitions=2)
    who = (producer.transactional_id, producer.producer, topic)
    assert add(connection, *who, version=version, verify_only=True) == "TRANSACTION_ABORTABLE"
    assert add(connection, *who, version=version) == "NONE"
    assert add(connection, *who, version=version, verify_only=True) == "NONE"
    assert add(connection, *who, (1,), version=version, verify_only=True) == "TRANSACTION_ABORTABLE"
    fenced = (producer.transactional_id, (producer.producer[0], 77), topic)
    assert add(connection, *fenced, version=version, verify_only=True) == "PRODUCER_FENCED"
    assert add(connection, *fenced, version=version) == "PRODUCER_FENCED"
    unknown = (producer.transactional_id, producer.producer, "no-such-topic")
    assert add(connection, *unknown, version=version, verify_only=True) == "UNKNOWN_TOPIC_OR_PARTITION"


def test_records_outside_of_a_transaction_are_refused(
    connection: Connection, new_topic: NewTopic, transactional_id: str
) -> None:
    """KIP-890: before the epoch per transaction the producer adds the partition, and the broker asks whether it did."""
    topic = new_topic()
    producer = RawTransactions(connection, transactional_id, is_v2=False)
    producer.init()
    assert code(producer.send(topic, b"x", version=9).error_code) == "INVALID_TXN_STATE"
    assert code(producer.send(topic, b"x", version=10).error_code) == "INVALID_TXN_STATE"
    assert code(producer.send(topic, b"x", version=11).error_code) == "TRANSACTION_ABORTABLE"
    producer.write(topic, b"in")
    producer.finish(commit=True)
    assert code(producer.send(topic, b"late", version=11).error_code) == "TRANSACTION_ABORTABLE"
    assert values(connection, topic, committed=False) == [b"in"]


@pytest.mark.parametrize("version", range(6))
def test_ends_that_do_not_fit_the_state(
    connection: Connection, new_topic: NewTopic, transactional_id: str, version: int
) -> None:
    """Before version 5 an end is known by its outcome, and from there on by its epoch."""
    topic = new_topic()
    is_v2 = version >= 5
    producer = RawTransactions(connection, transactional_id, is_v2=is_v2)
    producer.init()
    assert code(producer.end(commit=True, version=version).error_code) == "INVALID_TXN_STATE"
    empty_abort = eventually(
        lambda: producer.end(commit=False, version=version), lambda answer: code(answer.error_code)
    )
    assert code(empty_abort.error_code) == ("NONE" if is_v2 else "INVALID_TXN_STATE")
    producer.write(topic, b"x")
    before = producer.producer
    assert code(producer.end(commit=True, version=version).error_code) == "NONE"
    producer.await_complete()
    again = producer.end(commit=True, producer=before, version=version)
    assert code(again.error_code) == "NONE"
    assert (again.producer_id, again.producer_epoch) == (producer.producer if is_v2 else (-1, -1))
    assert code(producer.end(commit=False, producer=before, version=version).error_code) == "INVALID_TXN_STATE"
    if is_v2:
        assert code(producer.end(commit=True, version=version).error_code) == "INVALID_TXN_STATE"
        earlier = (before[0], before[1] - 1)
        assert code(producer.end(commit=True, producer=earlier, version=version).error_code) == "PRODUCER_FENCED"
        assert code(producer.end(commit=False, version=version).error_code) == "NONE"
    later = (before[0], before[1] + 7)
    wait_for(
        lambda: (
            code(producer.end(commit=True, producer=later, version=version).error_code)
            == ("PRODUCER_FENCED" if version >= 2 else "INVALID_PRODUCER_EPOCH")
        ),
        "an epoch from the future is refused",
    )


def test_a_late_end_does_not_end_the_next_transaction(
    connection: Connection, new_topic: NewTopic, transactional_id: str
) -> None:
    """KIP-890: what the epoch per transaction is for."""
    topic = new_topic()
    producer = RawTransactions(connection, transactional_id, is_v2=True)
    producer.init()
    producer.write(topic, b"first")
    late = producer.producer
    producer.finish(commit=True)
    producer.write(topic, b"second")
    assert code(producer.end(commit=False, producer=late).error_code) == "PRODUCER_FENCED"
    assert code(producer.end(commit=True, producer=late).error_code) == "PRODUCER_FENCED"
    assert code(producer.send(topic, b"late", producer=late, sequence=1).error_code) == "INVALID_PRODUCER_EPOCH"
    assert values(connection, topic, committed=True) == [b"first"]
    producer.finish(commit=True)
    assert values(connection, topic, committed=True) == [b"first", b"second"]


def test_sequences_of_transactions(connection: Connection, new_topic: NewTopic, producer: RawTransactions) -> None:
    """With an epoch per transaction they begin anew with each, else they go on; duplicates are written once."""
    topic = new_topic()
    if not producer.is_v2:
        assert producer.add(topic) == "NONE"
    assert code(producer.send(topic, b"x", sequence=3).error_code) == (
        "OUT_OF_ORDER_SEQUENCE_NUMBER" if producer.is_v2 else "NONE"
    )
    first = 0 if producer.is_v2 else 4
    assert code(producer.send(topic, b"a", sequence=first).error_code) == "NONE"
    offset = producer.send(topic, b"b", sequence=first + 1).base_offset
    assert producer.send(topic, b"b", sequence=first + 1).base_offset == offset
    assert code(producer.send(topic, b"c", sequence=first + 7).error_code) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    producer.finish(commit=True)
    if not producer.is_v2:
        assert producer.add(topic) == "NONE"
    following = 0 if producer.is_v2 else first + 2
    assert code(producer.send(topic, b"d", sequence=following).error_code) == "NONE"
    producer.finish(commit=True)
    assert values(connection, topic, committed=True)[-3:] == [b"a", b"b", b"d"]


def test_a_transaction_begins_with_the_lowest_sequence_that_came(
    connection: Connection, new_topic: NewTopic, transactional_id: str
) -> None:
    """Be it that of a batch that was there already: then what follows it cannot be the first."""
    topic = new_topic()
    producer = RawTransactions(connection, transactional_id, is_v2=False)
    producer.init()
    producer.write(topic, b"0")
    producer.finish(commit=True)
    assert eventually(lambda: producer.add(topic), str) == "NONE"
    again = producer.send(topic, b"0", sequence=0)
    assert (code(again.error_code), again.base_offset) == ("NONE", 0)
    assert code(producer.send(topic, b"1").error_code) == "OUT_OF_ORDER_SEQUENCE_NUMBER"


@pytest.mark.parametrize("commit", [True, False])
def test_a_waiting_consumer_hears_of_the_end_at_once(
    target: Target, connection: Connection, new_topic: NewTopic, producer: RawTransactions, commit: bool
) -> None:
    """A parked fetch of committed records; with an abort there is the marker to be told of, and nothing to return."""
    topic = new_topic()
    producer.write(topic, b"x")
    with connect(target, timeout_s=60.0) as waiting:
        request = fetch_request(topic, 0, isolation_level=1, max_wait_ms=50_000)
        begun = time.monotonic()
        correlation_id = waiting.send(request, NAMED_FETCH_VERSION)
        producer.finish(commit=commit)
        answer = only_partition(waiting.receive(FetchResponse, NAMED_FETCH_VERSION, correlation_id))
    assert time.monotonic() - begun < 25
    assert answer.last_stable_offset == 2
    assert [part.values for part in batches(answer.records) if not part.attributes & CONTROL_BIT] == [[b"x"]]
    assert len(answer.aborted_transactions or ()) == (0 if commit else 1)


def test_several_producers_in_one_partition(connection: Connection, new_topic: NewTopic, unique: Unique) -> None:
    """What is decided waits for what was begun before it."""
    topic = new_topic()
    first, second = (RawTransactions(connection, unique("tx"), is_v2=True) for _ in range(2))
    for producer in (first, second):
        await_coordinator(connection, producer.transactional_id)
        producer.init()
    first.write(topic, b"1a")
    second.write(topic, b"2a")
    first.write(topic, b"1b")
    second.finish(commit=True)
    assert values(connection, topic, committed=True) == []
    assert list_offset(connection, topic, -1, isolation_level=1).offset == 0
    second.write(topic, b"2b")
    first.finish(commit=False)
    assert values(connection, topic, committed=True) == [b"2a"]
    second.finish(commit=True)
    assert values(connection, topic, committed=True) == [b"2a", b"2b"]
