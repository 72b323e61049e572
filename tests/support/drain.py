"""Everything that a topic holds for readers of committed data."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition


class Committed(NamedTuple):
    """A record of text."""

    partition: int
    key: str
    value: str


def read_committed(
    bootstrap: str,
    topic: str,
    partitions: int,
    enough: Callable[[list[Committed]], bool],
    *,
    timeout_s: float = 60.0,
    check: Callable[[], None] = lambda: None,
) -> list[Committed]:
    """All committed records of a topic from the beginning, once ``enough`` of them are there.

    ``check`` is called while waiting, to raise when nothing more can come. Raises TimeoutError.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reads-everything",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    records: list[Committed] = []

    def take(timeout_s: float) -> None:
        for message in consumer.consume(1000, timeout_s):
            if message.error() is None:
                key, value = message.key() or b"", message.value() or b""
                records.append(Committed(message.partition() or 0, key.decode(), value.decode()))

    deadline = time.monotonic() + timeout_s
    try:
        while not enough(records):
            check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout_s:g} s: {topic} has {len(records)} committed records")
            take(0.2)
        # Anything that is there beyond what was expected must be seen, too.
        take(1.0)
    finally:
        consumer.close()
    return records
