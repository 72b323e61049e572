"""Everything that a topic holds for readers of committed data."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Consumer, Message, TopicPartition


def read_committed(
    bootstrap: str,
    topic: str,
    partitions: int,
    enough: Callable[[list[Message]], bool],
    *,
    timeout_s: float = 60.0,
    check: Callable[[], None] = lambda: None,
) -> list[Message]:
    """All committed messages of a topic from the beginning, once ``enough`` of them are there.

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
    messages: list[Message] = []
    deadline = time.monotonic() + timeout_s
    try:
        while not enough(messages):
            check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout_s:g} s: {topic} has {len(messages)} committed messages")
            messages += consumer.consume(1000, 0.2)
        # Anything that is there beyond what was expected must be seen, too.
        messages += consumer.consume(1000, 1.0)
    finally:
        consumer.close()
    return messages
