"""librdkafka, by confluent-kafka, as fast as it goes: in a process of its own.

``python -m benchmarks.load.librdkafka produce|consume BOOTSTRAP TOPIC RECORDS`` writes one JSON line. Records
are handed over and taken in bulk, and go to partition 0 by name, so that the client has as little to do as possible.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, Producer

from benchmarks.load.command_line import report

BULK = 10_000
"""Records per call."""
PRODUCER: dict[str, Any] = {"log_level": 3}
"""All else is librdkafka's default: acks=all, not idempotent, linger.ms=5."""
CONSUMER: dict[str, Any] = {
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "queued.min.messages": 1_000_000,
    "fetch.queue.backoff.ms": 1,
    "log_level": 3,
}
"""By default it fetches nothing for a second once 100,000 records wait for the program: that would be the figure."""
TIMEOUT_S = 30.0
CONSUME_WAIT_S = 0.05


class ClientError(Exception):
    """A record was not delivered, or none came for a while."""


@dataclass(frozen=True)
class BulkResult:
    """What was done; the rate leaves out what was before the first record was there, and the warm-up."""

    records: int
    records_per_s: float


def produce(bootstrap: str, topic: str, records: int, *, record_bytes: int = 100) -> BulkResult:
    """Until all are acknowledged; the first fifth warms up. Raises ClientError, KafkaException."""
    failures: list[str] = []
    producer = Producer({"bootstrap.servers": bootstrap, "error_cb": _ignore, **PRODUCER})
    warmup = records // 5
    bulk = [{"value": b"x" * record_bytes} for _ in range(BULK)]

    def note(error: object, _message: object) -> None:
        if error is not None:
            failures.append(str(error))

    _hand_over(producer, topic, bulk, warmup)
    # To find the leader may take a second, for which nothing that is handed over leaves.
    producer.flush(TIMEOUT_S)
    begun_s = time.perf_counter()
    # Only the last record's delivery is asked for: a call of Python for each would be what is measured.
    _hand_over(producer, topic, bulk, records - warmup - 1)
    producer.produce(topic, bulk[0]["value"], partition=0, on_delivery=note)
    left = producer.flush(TIMEOUT_S)
    elapsed_s = time.perf_counter() - begun_s
    if left or failures:
        raise ClientError(f"{left} records were not delivered; {failures[:1]}")
    return BulkResult(records, (records - warmup) / elapsed_s)


def _hand_over(producer: Producer, topic: str, bulk: list[dict[str, bytes]], records: int) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while records:
        # An earlier call marks the messages that did not fit.
        for message in bulk:
            message.pop("_error", None)
        taken = producer.produce_batch(topic, bulk[:records] if records < len(bulk) else bulk, partition=0)
        records -= taken
        producer.poll(0.0 if taken else 0.001)
        if taken:
            deadline_s = time.monotonic() + TIMEOUT_S
        elif time.monotonic() > deadline_s:
            raise ClientError(f"no record was delivered within {TIMEOUT_S:g} s")


def consume(bootstrap: str, topic: str, records: int) -> BulkResult:
    """From the beginning, in a group of its own; the time runs from the first records on.

    Raises ClientError, KafkaException.
    """
    group = f"bench-{uuid4().hex[:8]}"
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "error_cb": _ignore, **CONSUMER})
    consumer.subscribe([topic])
    try:
        first = len(_take(consumer, 1))
        begun_s = time.perf_counter()
        count = first
        while count < records:
            count += len(_take(consumer, min(BULK, records - count)))
        elapsed_s = time.perf_counter() - begun_s
    finally:
        consumer.close()
    return BulkResult(count, (count - first) / elapsed_s)


def _take(consumer: Consumer, most: int) -> Sequence[object]:
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        messages = consumer.consume(most, CONSUME_WAIT_S)
        if messages:
            error = messages[0].error() or messages[-1].error()
            if error is not None:
                raise ClientError(str(error))
            return messages
    raise ClientError(f"no record came within {TIMEOUT_S:g} s")


def _ignore(_error: object) -> None:
    """What matters is found by the records."""


WORK = {"produce": produce, "consume": consume}


def arguments(work: str, bootstrap: str, topic: str, records: int) -> list[str]:
    """The command line, behind the interpreter's name."""
    return ["-m", "benchmarks.load.librdkafka", work, bootstrap, topic, str(records)]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.librdkafka")
    parser.add_argument("work", choices=WORK)
    parser.add_argument("bootstrap")
    parser.add_argument("topic")
    parser.add_argument("records", type=int)
    parsed = parser.parse_args(argv)
    gc.disable()
    return report(
        lambda: WORK[parsed.work](parsed.bootstrap, parsed.topic, parsed.records), ClientError, KafkaException
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
