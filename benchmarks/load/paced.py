"""A librdkafka producer at a steady rate and a consumer of the same records, in one process: one clock for both ends.

``python -m benchmarks.load.paced BOOTSTRAP TOPIC`` writes one JSON line. The schedule is open: a record's latency
runs from when it was due, whenever it was sent, so that a broker that stalls is charged for all that it holds up.
"""

from __future__ import annotations

import gc
import struct
import sys
import threading
import time
from array import array
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from benchmarks.load.command_line import parse, report
from benchmarks.stats import quantile

PRODUCER: dict[str, Any] = {"linger.ms": 0, "log_level": 3}
CONSUMER: dict[str, Any] = {"enable.auto.commit": False, "group.id": "paced", "log_level": 3}
SILENCE_TIMEOUT_S = 30.0
POLL_S = 0.1
HEAD_START_NS = 500_000_000
"""For the consumer to be waiting when the first record is due."""
_DUE = struct.Struct(">q")


class PacedFailed(Exception):
    """A record was lost, or came twice, or none came for a while."""


@dataclass(frozen=True)
class Paced:
    """What to send: `records_per_s` for `seconds`, of which the first `warmup_s` are not counted."""

    bootstrap: str
    topic: str
    records_per_s: int = 2_000
    record_bytes: int = 100
    seconds: float = 5.0
    warmup_s: float = 1.0

    @property
    def records(self) -> int:
        """All, with those of the warm-up."""
        return int(self.records_per_s * self.seconds)

    @property
    def warmup_records(self) -> int:
        return int(self.records_per_s * self.warmup_s)


@dataclass(frozen=True)
class PacedResult:
    """What was read, and how long each record after the warm-up took from when it was due to when it was read."""

    records: int
    records_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float


class Schedule:
    """Which records are due; times in nanoseconds of one clock."""

    def __init__(self, begun_ns: int, records_per_s: int, records: int) -> None:
        self.sent = 0
        self._begun_ns = begun_ns
        self._records_per_s = records_per_s
        self._records = records

    def due_ns(self, number: int) -> int:
        """When record `number`, counted from 0, is due."""
        return self._begun_ns + number * 1_000_000_000 // self._records_per_s

    def take(self, now_ns: int) -> range:
        """The records that are due and have not been taken, however late they are."""
        first = self.sent
        elapsed = (now_ns - self._begun_ns) * self._records_per_s // 1_000_000_000 + 1
        self.sent = min(self._records, max(first, elapsed))
        return range(first, self.sent)

    def next_after_s(self, now_ns: int) -> float | None:
        """Seconds until the next record is due, 0 where it is late; None after the last."""
        if self.sent == self._records:
            return None
        return max(0, self.due_ns(self.sent) - now_ns) / 1e9


def measure(paced: Paced) -> PacedResult:
    """Send and read all. Raises PacedFailed, KafkaException."""
    reader = _Reader(paced)
    try:
        _send(paced)
        reader.join(SILENCE_TIMEOUT_S)
    finally:
        reader.stop()
    latencies_ns = sorted(reader.latencies_ns[paced.warmup_records :])
    p50_ms, p99_ms, p999_ms = (quantile(latencies_ns, share) / 1e6 for share in (0.5, 0.99, 0.999))
    return PacedResult(paced.records, paced.records / reader.elapsed_s, p50_ms, p99_ms, p999_ms)


class _Reader:
    """Reads in a thread of its own from before the first record is sent."""

    def __init__(self, paced: Paced) -> None:
        self.latencies_ns = array("q")
        self.elapsed_s = 0.0
        self._paced = paced
        self._failure: str | None = None
        self._stops = threading.Event()
        self._consumer = Consumer({"bootstrap.servers": paced.bootstrap, **CONSUMER})
        self._consumer.assign([TopicPartition(paced.topic, 0, 0)])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Until all has been read. Raises PacedFailed."""
        self._thread.join(timeout_s)
        if self._failure is not None or self._thread.is_alive():
            count = len(self.latencies_ns)
            raise PacedFailed(self._failure or f"{count} records of {self._paced.records} were read")

    def stop(self) -> None:
        self._stops.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        begun_s = 0.0
        last_ns = 0
        while not self._stops.is_set() and len(self.latencies_ns) < self._paced.records:
            message = self._consumer.poll(POLL_S)
            now_ns = time.perf_counter_ns()
            if message is None:
                continue
            error, value = message.error(), message.value()
            if error is not None or not isinstance(value, bytes):
                self._failure = str(error)
                return
            (due_ns,) = _DUE.unpack_from(value)
            if due_ns <= last_ns:
                self._failure = "a record came twice or out of order"
                return
            last_ns = due_ns
            begun_s = begun_s or due_ns / 1e9
            self.latencies_ns.append(now_ns - due_ns)
        self.elapsed_s = time.perf_counter() - begun_s


def _send(paced: Paced) -> None:
    """Send all when they are due, until all are acknowledged. Raises PacedFailed, KafkaException."""
    failures: list[str] = []

    def note(error: object, _message: object) -> None:
        if error is not None:
            failures.append(str(error))

    producer = Producer({"bootstrap.servers": paced.bootstrap, **PRODUCER})
    # Connections, and the producer's id, are there before the first record is due.
    producer.list_topics(paced.topic, SILENCE_TIMEOUT_S)
    filling = bytes(paced.record_bytes - _DUE.size)
    schedule = Schedule(time.perf_counter_ns() + HEAD_START_NS, paced.records_per_s, paced.records)
    while (wait_s := schedule.next_after_s(time.perf_counter_ns())) is not None:
        if wait_s:
            time.sleep(wait_s)
        for number in schedule.take(time.perf_counter_ns()):
            value = _DUE.pack(schedule.due_ns(number)) + filling
            producer.produce(paced.topic, value, partition=0, on_delivery=note)
        producer.poll(0)
    left = producer.flush(SILENCE_TIMEOUT_S)
    if left or failures:
        raise PacedFailed(f"{left} records were not delivered; {failures[:1]}")


def main(argv: list[str]) -> int:
    paced = parse(Paced, "benchmarks.load.paced", "Records at a steady pace, end to end.", argv)
    gc.freeze()
    gc.disable()
    return report(lambda: measure(paced), PacedFailed, KafkaException)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
