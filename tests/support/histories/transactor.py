"""Polls as a member of a group and sends, with its offsets, in transactions, and aborts some of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from odradek.checker.history import Assign, Send
from tests.support.histories.client import ATTEMPTS, CALL_TIMEOUT_S, Client, Fenced, patiently

TRANSACTION_TIMEOUT_MS = 8000
SEND_OFFSETS_TIMEOUT_S = 5.0


def transact(client: Client) -> None:
    """Polls and sends in transactions, until it is fenced, or has to begin anew."""
    consumer = client.consumer()

    def moved(*_: object) -> None:
        client.steps.append(Assign())

    consumer.subscribe([client.settings.topic], on_assign=moved, on_revoke=moved, on_lost=moved)
    producer = client.producer(
        **{"transactional.id": client.settings.transactional_id, "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS}
    )
    patiently(lambda: producer.init_transactions(CALL_TIMEOUT_S))
    while not client.is_asked_to_stop:
        planned = client.plan(4)
        client.begin("txn", planned)
        outcome = "info"
        try:
            outcome = _transaction(client, producer, consumer, planned)
        finally:
            client.end("txn", outcome)
        if outcome != "ok" and any(isinstance(step, Send) and step.offset is None for step in client.steps):
            # librdkafka purges what waits to be sent once more, takes it for not written, which it may be, and gives
            # its sequence to another record in the same epoch, which the broker has to take for its repetition.
            raise Fenced
        if outcome != "ok":
            _rewind(consumer)
            client.recorder.mark("assign")


def _transaction(client: Client, producer: Producer, consumer: Consumer, planned: list[Send]) -> str:
    """One transaction; its outcome. Raises Fenced if there cannot be another."""
    is_wild = client.settings.temper == "wild"
    producer.begin_transaction()
    try:
        for send in planned:
            if client.chance.random() < 0.7:
                client.poll(consumer, 8, client.chance.choice((0.0, 0.05, 0.2)))
            client.send(producer, send)
        if is_wild and client.chance.random() < 0.01:
            # Perhaps for longer than the transaction may take.
            time.sleep(TRANSACTION_TIMEOUT_MS / 1000 * client.chance.uniform(0.2, 1.2))
        with _unless_it_hangs(client):
            metadata = consumer.consumer_group_metadata()
            producer.send_offsets_to_transaction(client.polled(), metadata, SEND_OFFSETS_TIMEOUT_S)
        producer.flush(CALL_TIMEOUT_S)
        if is_wild and client.chance.random() < 0.02:
            # Long enough for the group to go on without this member, and perhaps in time for the commit.
            _hang(client.chance.uniform(3.2, 7.0))
        if client.chance.random() < 0.25 or Assign() in client.steps:
            # After a rebalance somebody else may have got what was polled before it.
            producer.abort_transaction(CALL_TIMEOUT_S)
            return "fail"
    except KafkaException as failed:
        client.errors.append(str(failed))
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
            client.errors.append(str(failed))
            if error.retriable():
                continue
            if error.txn_requires_abort():
                _give_up(producer, failed)
                return "fail"
            raise Fenced from failed
        else:
            return "ok"
    raise Fenced


@contextlib.contextmanager
def _unless_it_hangs(client: Client) -> Iterator[None]:
    """End this process if the call takes much longer than it may.

    librdkafka's send_offsets_to_transaction may hang for good when a coordinator moves, or comes back quickly: it has
    the answer to AddOffsetsToTxn, and does not send TxnOffsetCommit.
    """
    watch = threading.Timer(SEND_OFFSETS_TIMEOUT_S + 1, client.recorder.leave)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


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
        patiently(lambda: producer.abort_transaction(CALL_TIMEOUT_S))
    except KafkaException as worse:
        raise Fenced from worse


def _rewind(consumer: Consumer) -> None:
    """Go back to what is committed: what was polled in the meantime counts for nothing."""
    assigned = consumer.assignment()
    if assigned:
        for place in patiently(lambda: consumer.committed(assigned, CALL_TIMEOUT_S)):
            consumer.seek(TopicPartition(place.topic, place.partition, max(place.offset, 0)))
