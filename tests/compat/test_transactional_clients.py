"""Transactions as client libraries use them: Java's with an epoch per transaction, librdkafka's without (KIP-890)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import pytest

from tests.support.drivers.base import Driver
from tests.support.drivers.subprocess_driver import SubprocessDriver
from tests.support.drivers.transactional import (
    NAMES,
    ClientError,
    ConfluentTransactions,
    JavaTransactions,
    TransactionalClient,
    java,
)
from tests.support.groups import committed
from tests.support.process import wait_for
from tests.support.requests import await_coordinator as await_group_coordinator
from tests.support.requests import code, connect, create_topic
from tests.support.targets import Target
from tests.support.transactions import RawTransactions, await_coordinator, describe, values
from tests.support.wire import Connection

NewTopic = Callable[..., str]
Unique = Callable[[str], str]
Open = Callable[..., TransactionalClient]


@pytest.fixture(params=NAMES)
def open_client(request: pytest.FixtureRequest, target: Target, drivers: Callable[[str], Driver]) -> Iterator[Open]:
    """Opens producers of one library: ``open_client(transactional_id, timeout_ms=60_000)``."""
    opened: list[TransactionalClient] = []

    def start(transactional_id: str, timeout_ms: int = 60_000) -> TransactionalClient:
        client: TransactionalClient
        if request.param == "java":
            client = JavaTransactions(cast("SubprocessDriver", drivers("java")), transactional_id, timeout_ms)
        else:
            client = ConfluentTransactions(target.bootstrap, transactional_id, timeout_ms)
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.close()


def sees(connection: Connection, topic: str, expected: list[bytes], partition: int = 0) -> bool:
    """Whether a consumer of committed records gets these."""
    return values(connection, topic, committed=True, partition=partition) == expected


def is_aborted(connection: Connection, transactional_id: str) -> bool:
    """Whether the latest transaction was aborted."""
    return describe(connection, transactional_id).transaction_state == "CompleteAbort"


def test_commits_and_aborts(connection: Connection, new_topic: NewTopic, unique: Unique, open_client: Open) -> None:
    topic = new_topic(partitions=3)
    client = open_client(unique("tx"))
    for number in range(6):
        client.begin()
        for partition in range(3):
            client.send(topic, f"{number}", partition)
        client.flush()
        if number % 2:
            client.abort()
        else:
            client.commit()
    for partition in range(3):
        wait_for(
            partial(sees, connection, topic, [b"0", b"2", b"4"], partition),
            "the committed transactions, and nothing else",
        )


def test_offsets_in_a_transaction(
    connection: Connection, new_topic: NewTopic, unique: Unique, open_client: Open
) -> None:
    """Consume, transform, produce: the offsets count with the records, or not at all."""
    source, sink, group = new_topic(), new_topic(), unique("group")
    await_group_coordinator(connection, group)
    client = open_client(unique("tx"))
    client.begin()
    client.send(sink, "kept")
    client.send_offset(group, source, 5)
    client.commit()
    wait_for(lambda: committed(connection, group, source).committed_offset == 5, "the offset is committed")
    client.begin()
    client.send(sink, "dropped")
    client.send_offset(group, source, 9)
    client.abort()
    client.begin()
    client.send_offset(group, source, 6)
    client.commit()
    wait_for(lambda: committed(connection, group, source).committed_offset == 6, "the last offset is committed")
    assert values(connection, sink, committed=True) == [b"kept"]


def test_a_second_producer_fences_the_first(
    connection: Connection, new_topic: NewTopic, unique: Unique, open_client: Open
) -> None:
    topic, transactional_id = new_topic(), unique("tx")
    first = open_client(transactional_id)
    first.begin()
    first.send(topic, "lost")
    first.flush()
    second = open_client(transactional_id)
    second.begin()
    second.send(topic, "kept")
    second.commit()
    with pytest.raises(ClientError, match=r"FENCED|INVALID_PRODUCER_EPOCH"):
        first.commit()
    wait_for(partial(sees, connection, topic, [b"kept"]), "the second producer's record")


@pytest.mark.owns_broker
def test_a_transaction_that_times_out_is_aborted(own_broker: Callable[..., Target], unique: Unique) -> None:
    """Its records are never seen, and its producer is fenced by a new epoch."""
    broker = own_broker({"transaction.abort.timed.out.transaction.cleanup.interval.ms": "100"})
    with connect(broker) as connection:
        for is_v2 in (False, True):
            topic, transactional_id = unique("topic"), unique("tx")
            create_topic(connection, topic)
            await_coordinator(connection, transactional_id)
            producer = RawTransactions(connection, transactional_id, is_v2=is_v2, timeout_ms=300)
            producer.init()
            producer.write(topic, b"late")
            before = producer.producer
            wait_for(
                partial(is_aborted, connection, transactional_id),
                "the transaction is aborted",
            )
            state = describe(connection, transactional_id)
            assert (state.producer_id, state.producer_epoch) == (before[0], before[1] + 1)
            assert code(producer.send(topic, b"zombie").error_code) == "INVALID_PRODUCER_EPOCH"
            assert code(producer.end(commit=True).error_code) == ("INVALID_TXN_STATE" if is_v2 else "PRODUCER_FENCED")
            assert values(connection, topic, committed=True) == []
            producer.init()
            producer.write(topic, b"again")
            producer.finish(commit=True)
            assert values(connection, topic, committed=True) == [b"again"]


def test_administrators_see_and_end_transactions(
    connection: Connection,
    new_topic: NewTopic,
    unique: Unique,
    drivers: Callable[[str], Driver],
) -> None:
    """KIP-664: list, describe, fence, and abort in one partition what nobody ends any more."""
    driver = cast("SubprocessDriver", drivers("java"))
    topic, transactional_id = new_topic(), unique("tx")
    client = JavaTransactions(driver, transactional_id, 60_000)
    client.begin()
    client.send(topic, "x")
    client.flush()
    listed = java(driver, "txn.list", pattern=f"{transactional_id[:-4]}.*")["listed"]
    assert listed == [[transactional_id, "Ongoing"]]
    assert java(driver, "txn.list", pattern="nobody")["listed"] == []
    assert java(driver, "txn.list", pattern=transactional_id, duration_ms=3_600_000)["listed"] == []
    with pytest.raises(ClientError, match="INVALID_REGULAR_EXPRESSION"):
        java(driver, "txn.list", pattern="(")
    described = java(driver, "txn.describe", transactional_id=transactional_id)
    assert (described["state"], described["partitions"]) == ("Ongoing", 1)
    (open_one,) = java(driver, "txn.producers", topic=topic, partition=0)["producers"]
    assert open_one["start_offset"] == 0
    assert open_one["producer_id"] == described["producer_id"]
    java(
        driver, "txn.abort_hanging", topic=topic, partition=0, producer_id=open_one["producer_id"],
        producer_epoch=open_one["producer_epoch"], coordinator_epoch=open_one["coordinator_epoch"],
    )  # fmt: skip
    (ended,) = java(driver, "txn.producers", topic=topic, partition=0)["producers"]
    assert ended["start_offset"] == -1
    assert values(connection, topic, committed=True) == []
    java(driver, "txn.fence", transactional_id=transactional_id)
    with pytest.raises(ClientError, match=r"FENCED|INVALID_PRODUCER_EPOCH"):
        client.commit()
    client.close()
