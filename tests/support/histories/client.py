"""One random client as a process, which records what it does.

`python -m tests.support.histories.client ROLE NAME SEED BOOTSTRAP HISTORY TOPIC PARTITIONS TRANSACTIONAL_ID GROUP` runs
until SIGTERM, or until another client with its transactional id has fenced it. Roles:

- transactor: polls as a member of a group and sends, with its offsets, in transactions, and aborts some of them;
- sender: sends without transactions, idempotently;
- poller: polls all partitions from the beginning, and goes back there now and then.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from odradek.checker.history import Assign, Poll, Send, Step
from tests.support.histories.recorder import Recorder

SESSION_TIMEOUT_MS = 3000
TRANSACTION_TIMEOUT_MS = 8000
CALL_TIMEOUT_S = 10.0
ATTEMPTS = 5
"""Of calls that may succeed later."""

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """The arguments, in their order."""

    role: str
    name: str
    seed: str
    bootstrap: str
    history: str
    topic: str
    partitions: str
    transactional_id: str
    group: str


class Fenced(Exception):
    """This producer cannot go on."""


class Client:
    """What the roles share: a source of chance, values that nobody else sends, and the steps of the operation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.chance = random.Random(f"{settings.seed} {settings.name}")
        self.recorder = Recorder(Path(settings.history), settings.name)
        self.recorder.die_on_signal()
        self.steps: list[Step] = []
        self.is_asked_to_stop = False
        self._values = (f"{settings.name}:{number}" for number in count())

    def consumer(self, **options: object) -> Consumer:
        """A reader of committed data."""
        return Consumer(
            {
                "bootstrap.servers": self.settings.bootstrap,
                "group.id": self.settings.group,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": SESSION_TIMEOUT_MS,
                "heartbeat.interval.ms": 500,
                "fetch.wait.max.ms": 100,
                "reconnect.backoff.max.ms": 500,
                **options,
            }
        )

    def producer(self, **options: object) -> Producer:
        """An idempotent one."""
        return Producer(
            {
                "bootstrap.servers": self.settings.bootstrap,
                "enable.idempotence": True,
                "linger.ms": 1,
                "reconnect.backoff.max.ms": 500,
                **options,
            }
        )

    def place(self, partition: int | None) -> str:
        """A partition's name in the history."""
        return f"{self.settings.topic}-{partition}"

    def plan(self, most: int) -> list[Send]:
        """Some sends to make."""
        partitions = range(int(self.settings.partitions))
        return [
            Send(self.place(self.chance.choice(partitions)), next(self._values), None)
            for _ in range(self.chance.randint(1, most))
        ]

    def send(self, producer: Producer, planned: Send) -> None:
        """Give it to the producer; the step knows its offset once it is acknowledged. Raises KafkaException."""
        index = len(self.steps)
        self.steps.append(planned)

        def acknowledged(error: KafkaError | None, message: Message) -> None:
            # A repeated batch is acknowledged without an offset.
            if error is None and (offset := message.offset()) is not None and offset >= 0:
                self.steps[index] = Send(planned.partition, planned.value, offset)

        partition = int(planned.partition.rpartition("-")[2])
        producer.produce(self.settings.topic, str(planned.value), partition=partition, on_delivery=acknowledged)

    def poll(self, consumer: Consumer, most: int, timeout_s: float) -> bool:
        """Poll some records into the steps; whether there were any."""
        by_partition: dict[str, list[tuple[int, str]]] = {}
        for message in consumer.consume(most, timeout_s):
            value, offset = message.value(), message.offset()
            if message.error() is None and value is not None and offset is not None:
                by_partition.setdefault(self.place(message.partition()), []).append((offset, value.decode()))
        if by_partition:
            self.steps.append(Poll({name: tuple(records) for name, records in by_partition.items()}))
        return bool(by_partition)

    def polled(self) -> list[TopicPartition]:
        """Where the polls of the operation came to."""
        ends: dict[int, int] = {}
        for step in self.steps:
            if isinstance(step, Poll):
                ends |= {int(name.rpartition("-")[2]): records[-1][0] + 1 for name, records in step.records.items()}
        return [TopicPartition(self.settings.topic, partition, offset) for partition, offset in ends.items()]


def transact(client: Client) -> None:
    """Polls and sends in transactions, until it is fenced."""
    consumer = client.consumer()

    def moved(*_: object) -> None:
        client.steps.append(Assign())

    consumer.subscribe([client.settings.topic], on_assign=moved, on_revoke=moved, on_lost=moved)
    producer = client.producer(
        **{"transactional.id": client.settings.transactional_id, "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS}
    )
    _patiently(lambda: producer.init_transactions(CALL_TIMEOUT_S))
    while not client.is_asked_to_stop:
        planned = client.plan(4)
        client.steps = []
        client.recorder.invoke("txn", planned)
        outcome = "info"
        try:
            outcome = _transaction(client, producer, consumer, planned)
        finally:
            client.recorder.end("txn", outcome, client.steps)
        if outcome != "ok":
            _rewind(consumer)
            client.recorder.mark("assign")


def _transaction(client: Client, producer: Producer, consumer: Consumer, planned: list[Send]) -> str:
    """One transaction; its outcome. Raises Fenced if there cannot be another."""
    producer.begin_transaction()
    try:
        for send in planned:
            if client.chance.random() < 0.7:
                client.poll(consumer, 8, client.chance.choice((0.0, 0.05, 0.2)))
            client.send(producer, send)
        if client.chance.random() < 0.01:
            # Perhaps for longer than the transaction may take.
            time.sleep(TRANSACTION_TIMEOUT_MS / 1000 * client.chance.uniform(0.2, 1.2))
        producer.send_offsets_to_transaction(client.polled(), consumer.consumer_group_metadata(), CALL_TIMEOUT_S)
        producer.flush(CALL_TIMEOUT_S)
        if client.chance.random() < 0.02:
            # Long enough for the group to go on without this member, and perhaps in time for the commit.
            _hang(client.chance.uniform(3.2, 7.0))
        if client.chance.random() < 0.25 or Assign() in client.steps:
            # After a rebalance somebody else may have got what was polled before it.
            producer.abort_transaction(CALL_TIMEOUT_S)
            return "fail"
    except KafkaException as failed:
        _give_up(producer, failed)
        # Without a commit there is nothing that could make it visible.
        return "fail"
    except SystemError as confused:
        # What the library raises when it learns in a callback that it was fenced.
        raise Fenced from confused
    client.recorder.commit(client.steps)
    for _ in range(ATTEMPTS):
        try:
            producer.commit_transaction(CALL_TIMEOUT_S)
        except KafkaException as failed:
            error = failed.args[0]
            if error.retriable():
                continue
            if error.txn_requires_abort():
                _give_up(producer, failed)
                return "fail"
            raise Fenced from failed
        else:
            return "ok"
    raise Fenced


def _hang(duration_s: float) -> None:
    """Stop this process as if its machine hung."""
    own = os.getpid()
    subprocess.Popen(["sh", "-c", f"sleep {duration_s:.1f}; kill -CONT {own}"])
    os.kill(own, signal.SIGSTOP)


def _give_up(producer: Producer, failed: KafkaException) -> None:
    """Abort what failed; raises Fenced if that is not possible."""
    if failed.args[0].fatal():
        raise Fenced from failed
    try:
        _patiently(lambda: producer.abort_transaction(CALL_TIMEOUT_S))
    except KafkaException as worse:
        raise Fenced from worse


def _rewind(consumer: Consumer) -> None:
    """Go back to what is committed: what was polled in the meantime counts for nothing."""
    assigned = consumer.assignment()
    if assigned:
        for place in _patiently(lambda: consumer.committed(assigned, CALL_TIMEOUT_S)):
            consumer.seek(TopicPartition(place.topic, place.partition, max(place.offset, 0)))


def _patiently(call: Callable[[], T]) -> T:
    """Call again while that may help: the broker may be away. Raises KafkaException."""
    for _ in range(ATTEMPTS):
        try:
            return call()
        except KafkaException as failed:
            if not failed.args[0].retriable():
                raise
    return call()


def send(client: Client) -> None:
    """Sends without transactions."""
    producer = client.producer(**{"message.timeout.ms": 20_000})
    while not client.is_asked_to_stop:
        planned = client.plan(3)
        client.steps = []
        client.recorder.invoke("send", planned)
        for each in planned:
            client.send(producer, each)
        producer.flush(25)
        known = all(isinstance(step, Send) and step.offset is not None for step in client.steps)
        client.recorder.end("send", "ok" if known else "info", client.steps)
        time.sleep(client.chance.uniform(0, 0.04))


def poll(client: Client) -> None:
    """Polls everything, in the order of the partitions."""
    places = [TopicPartition(client.settings.topic, number, 0) for number in range(int(client.settings.partitions))]
    consumer = client.consumer()
    consumer.assign(places)
    while not client.is_asked_to_stop:
        client.steps = []
        client.recorder.invoke("poll")
        client.poll(consumer, client.chance.randint(1, 50), 0.3)
        if client.chance.random() < 0.02:
            for place in places:
                consumer.seek(place)
            client.steps.append(Assign())
        client.recorder.end("poll", "ok", client.steps)


ROLES = {"transactor": transact, "sender": send, "poller": poll}


def main(settings: Settings) -> None:
    client = Client(settings)

    def stop(*_: object) -> None:
        client.is_asked_to_stop = True

    signal.signal(signal.SIGTERM, stop)
    try:
        ROLES[settings.role](client)
    except (Fenced, KafkaException) as ended:
        # Whoever runs it starts another.
        print(f"{settings.name}: {ended!r} {ended.__cause__!r}", flush=True)  # noqa: T201 - for whoever reads a failed test


if __name__ == "__main__":
    main(Settings(*sys.argv[1:]))
