"""What all random clients share: settings, values that nobody else sends, and the steps of an operation."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from odradek.checker.history import Poll, Send, Step
from tests.support.histories.recorder import Recorder

SESSION_TIMEOUT_MS = 3000
CALL_TIMEOUT_S = 10.0
CONNECTING = {
    "reconnect.backoff.max.ms": 500,
    # Otherwise librdkafka 2.16, having seen its topic without leaders, may never connect to anybody again: "Skipping
    # metadata refresh: no usable brokers" it says from then on, while others go on.
    "enable.sparse.connections": False,
}
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
    protocol: str = "classic"
    """Of groups: "classic", or "consumer" for the one of KIP-848."""
    temper: str = "wild"
    """A "calm" one never hangs by itself."""


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
        self.errors: list[str] = []
        """What the library said to the application of the operation."""
        self.is_asked_to_stop = False
        self._values = (f"{settings.name}:{number}" for number in count())

    def consumer(self, **options: object) -> Consumer:
        """A reader of committed data."""
        # In the protocol of KIP-848 the broker says how often and how long.
        times = {"session.timeout.ms": SESSION_TIMEOUT_MS, "heartbeat.interval.ms": 500}
        return Consumer(
            {
                "bootstrap.servers": self.settings.bootstrap,
                "group.id": self.settings.group,
                "group.protocol": self.settings.protocol,
                **(times if self.settings.protocol == "classic" else {}),
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                **CONNECTING,
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
                **CONNECTING,
                **options,
            }
        )

    def place(self, partition: int | None) -> str:
        """A partition's name in the history."""
        return f"{self.settings.topic}-{partition}"

    def begin(self, kind: str, planned: Sequence[Send] = ()) -> None:
        """An operation, which is going to send this at most."""
        self.steps, self.errors = [], []
        self.recorder.invoke(kind, planned)

    def end(self, kind: str, outcome: str, **more: object) -> None:
        """The operation is over, and has done its steps; `more` goes into the history beside them."""
        errors = {"errors": self.errors} if self.errors else {}
        self.recorder.end(kind, outcome, self.steps, **errors, **more)

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
            if error is not None:
                self.errors.append(str(error))
            elif (offset := message.offset()) is not None and offset >= 0:
                self.steps[index] = Send(planned.partition, planned.value, offset)

        partition = int(planned.partition.rpartition("-")[2])
        producer.produce(self.settings.topic, str(planned.value), partition=partition, on_delivery=acknowledged)

    def poll(self, consumer: Consumer, most: int, timeout_s: float) -> bool:
        """Poll some records into the steps; whether there were any."""
        by_partition: dict[str, list[tuple[int, str]]] = {}
        for message in consumer.consume(most, timeout_s):
            value, offset, error = message.value(), message.offset(), message.error()
            if error is not None:
                self.errors.append(str(error))
            if error is None and value is not None and offset is not None:
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


def patiently(call: Callable[[], T]) -> T:
    """Call again while that may help: the broker may be away. Raises KafkaException."""
    for _ in range(ATTEMPTS):
        try:
            return call()
        except KafkaException as failed:
            if not failed.args[0].retriable():
                raise
    return call()
