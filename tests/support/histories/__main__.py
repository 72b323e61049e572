"""One random client as a process, which records what it does.

`python -m tests.support.histories ROLE NAME SEED BOOTSTRAP HISTORY TOPIC PARTITIONS TRANSACTIONAL_ID GROUP
[PROTOCOL [TEMPER]]` runs until SIGTERM, or until another client with its transactional id has fenced it. Roles:

- transactor: polls as a member of a group and sends, with its offsets, in transactions, and aborts some of them;
- sender: sends without transactions, idempotently;
- poller: polls all partitions from the beginning, and goes back there now and then;
- member: polls as a member of a group, commits where it came to, and asks what is committed.
"""

from __future__ import annotations

import signal
import sys
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from odradek.checker.history import Assign, Send
from tests.support.histories.client import CALL_TIMEOUT_S, Client, Fenced, Settings
from tests.support.histories.transactor import transact


def send(client: Client) -> None:
    """Sends without transactions."""
    producer = client.producer(**{"message.timeout.ms": 20_000})
    while not client.is_asked_to_stop:
        planned = client.plan(3)
        client.begin("send", planned)
        for each in planned:
            client.send(producer, each)
        producer.flush(25)
        known = all(isinstance(step, Send) and step.offset is not None for step in client.steps)
        client.end("send", "ok" if known else "info")
        time.sleep(client.chance.uniform(0, 0.04))


def poll(client: Client) -> None:
    """Polls everything, in the order of the partitions."""
    places = [TopicPartition(client.settings.topic, number, 0) for number in range(int(client.settings.partitions))]
    consumer = client.consumer()
    consumer.assign(places)
    while not client.is_asked_to_stop:
        client.begin("poll")
        client.poll(consumer, client.chance.randint(1, 50), 0.3)
        if client.chance.random() < 0.02:
            for place in places:
                consumer.seek(place)
            client.steps.append(Assign())
        client.end("poll", "ok")


def consume(client: Client) -> None:
    """Polls as a member of a group; what is committed is never less than what was said to be."""
    places = [TopicPartition(client.settings.topic, number) for number in range(int(client.settings.partitions))]
    consumer = client.consumer()

    def moved(*_: object) -> None:
        client.steps.append(Assign())

    consumer.subscribe([client.settings.topic], on_assign=moved, on_revoke=moved, on_lost=moved)
    while not client.is_asked_to_stop:
        client.begin("poll")
        found = _committed(client, consumer, places) if client.chance.random() < 0.1 else {}
        client.poll(consumer, client.chance.randint(1, 50), client.chance.choice((0.05, 0.2)))
        done = client.polled()
        try:
            if done:
                # Somebody who is killed in between may have committed it.
                client.recorder.commit(client.steps, group=client.settings.group)
                consumer.commit(offsets=done, asynchronous=False)
        except KafkaException as failed:
            client.errors.append(str(failed))
            done = []
        committed = {client.place(place.partition): place.offset for place in done}
        client.end("poll", "ok", group=client.settings.group, found=found, committed=committed)
        time.sleep(client.chance.uniform(0, 0.04))
    consumer.close()


def _committed(client: Client, consumer: Consumer, places: list[TopicPartition]) -> dict[str, int]:
    """What the coordinator says that the group has committed; nothing if it does not say."""
    try:
        answer = consumer.committed(places, CALL_TIMEOUT_S)
    except KafkaException as failed:
        client.errors.append(str(failed))
        return {}
    return {client.place(place.partition): max(place.offset, 0) for place in answer if place.error is None}


ROLES = {"transactor": transact, "sender": send, "poller": poll, "member": consume}


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
