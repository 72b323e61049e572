"""The end of a history: all is decided, and everything is read once more."""

from __future__ import annotations

import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from odradek.checker.history import Poll
from tests.support.histories.fleet import Workplace
from tests.support.histories.recorder import Recorder
from tests.support.process import wait_for

DRAIN_S = 60.0


class Drain:
    """Reads what clients, which have ended by now, left."""

    def __init__(self, workplace: Workplace, timeout_s: float = DRAIN_S) -> None:
        self._work = workplace
        self._timeout_s = timeout_s

    def run(self, transactional_ids: Iterable[str]) -> None:
        """Read all partitions to their ends, once nothing is undecided any more. Raises TimeoutError."""
        for transactional_id in transactional_ids:
            self._end_transaction(transactional_id)
        wait_for(
            lambda: self._ends("read_committed") == self._ends("read_uncommitted"), "all is decided", self._timeout_s
        )
        recorder = Recorder(self._work.history, "drain")
        consumer = self._consumer("read_committed")
        consumer.assign([TopicPartition(self._work.topic, number, 0) for number in range(self._work.partitions)])
        left = set(range(self._work.partitions))
        deadline = time.monotonic() + self._timeout_s
        while left:
            if time.monotonic() > deadline:
                raise TimeoutError(f"partitions {left} have no end")
            recorder.invoke("poll")
            records: dict[str, tuple[tuple[int, str], ...]] = {}
            for message in consumer.consume(500, 0.2):
                error, value, partition = message.error(), message.value(), message.partition()
                assert partition is not None
                if error is None and value is not None:
                    name = f"{self._work.topic}-{partition}"
                    records[name] = (*records.get(name, ()), (message.offset() or 0, value.decode()))
                elif error is not None and error.code() == KafkaError._PARTITION_EOF:
                    left.discard(partition)
            recorder.end("poll", "ok", [Poll(records)])
        recorder.mark("drained")
        consumer.close()

    def committed(self, group: str) -> dict[str, int]:
        """How far a group has come, by partition's name."""
        consumer = self._consumer("read_committed", group)
        places = [TopicPartition(self._work.topic, number) for number in range(self._work.partitions)]
        answer = consumer.committed(places, self._timeout_s)
        consumer.close()
        return {f"{self._work.topic}-{place.partition}": max(place.offset, 0) for place in answer}

    def _end_transaction(self, transactional_id: str) -> None:
        """Fence whoever was killed in the midst of one."""
        producer = Producer({"bootstrap.servers": self._work.bootstrap, "transactional.id": transactional_id})
        producer.init_transactions(self._timeout_s)

    def _ends(self, isolation: str) -> list[int]:
        consumer = self._consumer(isolation)
        places = [TopicPartition(self._work.topic, number) for number in range(self._work.partitions)]
        ends = [consumer.get_watermark_offsets(place, timeout=20, cached=False)[1] for place in places]
        consumer.close()
        return ends

    def _consumer(self, isolation: str, group: str | None = None) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._work.bootstrap,
                "group.id": group or f"{self._work.topic}-drain",
                "isolation.level": isolation,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
            }
        )
