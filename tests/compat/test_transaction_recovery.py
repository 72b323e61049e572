"""Transactions and kill -9: what was decided is what everybody sees afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from odradek.wire.messages.end_txn import EndTxnRequest
from tests.support.groups import committed
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import await_coordinator as await_group_coordinator
from tests.support.requests import code, connect, create_topic, wait_for_topic
from tests.support.transactions import RawTransactions, await_coordinator, describe, eventually, values
from tests.support.wire import Connection

OwnBroker = Callable[..., BrokerProcess]
Unique = Callable[[str], str]
PARTITIONS = 4

pytestmark = [
    pytest.mark.owns_broker,
    pytest.mark.odradek_only(
        reason="Apache Kafka, when it starts slowly, takes partitions for deleted whose leader it has not learnt yet, "
        "and completes decided transactions without their markers"
    ),
]


class Recovery:
    """A broker that is killed, and one transactional producer that survives it."""

    def __init__(self, broker: BrokerProcess, unique: Unique, *, is_v2: bool) -> None:
        self.broker = broker
        self.topic, self.group = unique("topic"), unique("group")
        self.connection = connect(broker)
        create_topic(self.connection, self.topic, PARTITIONS)
        await_group_coordinator(self.connection, self.group)
        transactional_id = unique("tx")
        await_coordinator(self.connection, transactional_id)
        self.producer = RawTransactions(self.connection, transactional_id, is_v2=is_v2)
        self.producer.init()

    def work(self, value: bytes, offset: int) -> None:
        """Write to all partitions, and take an offset, in a transaction."""
        for partition in range(PARTITIONS):
            self.producer.write(self.topic, value, partition=partition)
        if not self.producer.is_v2:
            assert eventually(lambda: self.producer.add_offsets(self.group), str) == "NONE"
        taken = eventually(lambda: self.producer.commit_offset(self.group, self.topic, offset), str)
        assert taken == "NONE"

    def kill(self) -> None:
        """SIGKILL, and back."""
        self.connection.close()
        self.broker.restart(kill=True)
        self.connection = self.producer.connection = connect(self.broker)
        wait_for_topic(self.connection, self.topic, PARTITIONS)
        await_group_coordinator(self.connection, self.group)
        await_coordinator(self.connection, self.producer.transactional_id)

    def is_settled(self) -> bool:
        state = describe(self.connection, self.producer.transactional_id).transaction_state
        return bool(state) and not state.startswith("Prepare")

    def check(self, expected: list[bytes], offset: int) -> None:
        """All partitions and the offset say the same."""
        wait_for(self.is_settled, "what was decided is completed", 30.0)
        for partition in range(PARTITIONS):
            assert values(self.connection, self.topic, committed=True, partition=partition) == expected
        assert committed(self.connection, self.group, self.topic).committed_offset == offset


@pytest.fixture(params=[False, True], ids=["v1", "v2"])
def recovery(request: pytest.FixtureRequest, own_broker: OwnBroker, unique: Unique) -> Iterator[Recovery]:
    """A broker of the test's own, and its producer."""
    made = Recovery(own_broker(), unique, is_v2=request.param)
    yield made
    made.connection.close()


def test_what_was_told_stands_after_kill_9(recovery: Recovery) -> None:
    """An end that was answered, one that was not asked for, and one whose answer nobody waited for."""
    recovery.work(b"one", 1)
    assert code(recovery.producer.end(commit=True).error_code) == "NONE"
    recovery.kill()
    recovery.check([b"one"], 1)

    recovery.producer.init()
    recovery.work(b"two", 2)
    assert code(recovery.producer.end(commit=False).error_code) == "NONE"
    recovery.kill()
    recovery.check([b"one"], 1)

    recovery.producer.init()
    recovery.work(b"three", 3)
    recovery.kill()
    recovery.check([b"one"], 1)
    # The transaction goes on where it was.
    assert describe(recovery.connection, recovery.producer.transactional_id).transaction_state == "Ongoing"
    assert code(recovery.producer.end(commit=True).error_code) == "NONE"
    recovery.check([b"one", b"three"], 3)


def test_an_end_that_is_cut_off_is_whole_or_nothing(recovery: Recovery) -> None:
    recovery.work(b"one", 1)
    send_end(recovery.connection, recovery.producer)
    recovery.kill()
    wait_for(recovery.is_settled, "what was decided is completed", 30.0)
    is_committed = describe(recovery.connection, recovery.producer.transactional_id).transaction_state != "Ongoing"
    recovery.producer.init()
    recovery.check([b"one"] if is_committed else [], 1 if is_committed else -1)
    recovery.work(b"two", 2)
    recovery.producer.finish(commit=True)
    recovery.check([*([b"one"] if is_committed else []), b"two"], 2)


def send_end(connection: Connection, producer: RawTransactions) -> None:
    """Ask for a commit, and do not wait for the answer."""
    producer_id, epoch = producer.producer
    request = EndTxnRequest(
        transactional_id=producer.transactional_id, producer_id=producer_id, producer_epoch=epoch, committed=True
    )
    connection.send(request, 5 if producer.is_v2 else 4)
