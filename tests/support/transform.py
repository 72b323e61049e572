"""Consume, transform, produce: the loop of every exactly-once application, with confluent-kafka and some aborts.

`python -m tests.support.transform BOOTSTRAP GROUP INPUT OUTPUT TRANSACTIONAL_ID SEED`: each record of INPUT goes to the
same partition of OUTPUT in upper case; runs until SIGTERM.
"""

from __future__ import annotations

import random
import signal
import sys
from dataclasses import dataclass
from threading import Event

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

SESSION_TIMEOUT_MS = 3000
TRANSACTION_TIMEOUT_MS = 4000
BATCH = 20
ABORTED = 0.2
"""The share of transactions that are given up."""
CALL_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Settings:
    """The arguments, in their order."""

    bootstrap: str
    group: str
    source: str
    sink: str
    transactional_id: str
    seed: str


def main(settings: Settings) -> None:
    stopping, moved = Event(), Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    chance = random.Random(settings.seed)
    consumer = Consumer(
        {
            "bootstrap.servers": settings.bootstrap,
            "group.id": settings.group,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": 500,
            "fetch.wait.max.ms": 100,
        }
    )

    def rebalanced(*_: object) -> None:
        moved.set()

    consumer.subscribe([settings.source], on_assign=rebalanced, on_revoke=rebalanced, on_lost=rebalanced)
    while not stopping.is_set():
        try:
            _run(consumer, settings, chance, moved, stopping)
        except KafkaException as failed:
            # Fenced, or otherwise beyond repair: another producer takes over from this one.
            print(f"a producer ended: {failed}", flush=True)  # noqa: T201 - for whoever reads a failed test
            moved.set()
    consumer.close()


def _run(consumer: Consumer, settings: Settings, chance: random.Random, moved: Event, stopping: Event) -> None:
    """Transactions of one producer, until it raises KafkaException; ``moved`` is set where positions are not right."""
    producer = Producer(
        {
            "bootstrap.servers": settings.bootstrap,
            "transactional.id": settings.transactional_id,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            "linger.ms": 1,
        }
    )
    producer.init_transactions(CALL_TIMEOUT_S)
    while not stopping.is_set():
        messages = consumer.consume(BATCH, 0.2)
        if moved.is_set():
            # Some of the messages may be somebody else's by now.
            moved.clear()
            _rewind(consumer)
            continue
        if not messages:
            continue
        producer.begin_transaction()
        try:
            for message in messages:
                if message.error():
                    raise KafkaException(message.error())
                value = message.value()
                assert value is not None
                producer.produce(settings.sink, value.upper(), partition=message.partition() or 0)
            producer.send_offsets_to_transaction(_behind(messages), consumer.consumer_group_metadata(), CALL_TIMEOUT_S)
            if chance.random() < ABORTED:
                producer.abort_transaction(CALL_TIMEOUT_S)
                _rewind(consumer)
            else:
                producer.commit_transaction(CALL_TIMEOUT_S)
        except KafkaException as failed:
            error = failed.args[0]
            if error.fatal() or not error.txn_requires_abort():
                raise
            producer.abort_transaction(CALL_TIMEOUT_S)
            _rewind(consumer)


def _behind(messages: list[Message]) -> list[TopicPartition]:
    """Where the messages' partitions go on."""
    last = {(message.topic() or "", message.partition() or 0): message.offset() or 0 for message in messages}
    return [TopicPartition(*place, offset + 1) for place, offset in last.items()]


def _rewind(consumer: Consumer) -> None:
    """Go back to what is committed: what was polled in the meantime counts for nothing."""
    for place in consumer.committed(consumer.assignment(), CALL_TIMEOUT_S):
        start = max(place.offset, 0)
        consumer.seek(TopicPartition(place.topic, place.partition, start))


if __name__ == "__main__":
    main(Settings(*sys.argv[1:]))
