"""Transactional producers of client libraries: Java's with an epoch per transaction, librdkafka's without."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from odradek.wire.errors import ErrorCode
from tests.support.drivers.subprocess_driver import SubprocessDriver

NAMES = ("java", "confluent")
_TIMEOUT_S = 30.0
_numbers = itertools.count(1)


class ClientError(Exception):
    """The client raised; the message is Kafka's name of the error."""


class TransactionalClient(Protocol):
    """A producer with a transactional id. Everything raises ClientError."""

    def begin(self) -> None: ...

    def send(self, topic: str, value: str, partition: int = 0) -> None: ...

    def flush(self) -> None: ...

    def send_offset(self, group: str, topic: str, offset: int) -> None: ...

    def commit(self) -> None: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


class JavaTransactions:
    """kafka-clients, in the driver's process."""

    def __init__(self, driver: SubprocessDriver, transactional_id: str, timeout_ms: int) -> None:
        self._driver = driver
        self._id = next(_numbers)
        self._call("txn.open", transactional_id=transactional_id, timeout_ms=timeout_ms)

    def begin(self) -> None:
        self._call("txn.begin")

    def send(self, topic: str, value: str, partition: int = 0) -> None:
        self._call("txn.send", topic=topic, partition=partition, value=value)

    def flush(self) -> None:
        self._call("txn.flush")

    def send_offset(self, group: str, topic: str, offset: int) -> None:
        self._call("txn.offsets", group=group, topic=topic, partition=0, offset=offset)

    def commit(self) -> None:
        self._call("txn.commit")

    def abort(self) -> None:
        self._call("txn.abort")

    def close(self) -> None:
        self._call("txn.close")

    def _call(self, op: str, **arguments: object) -> None:
        java(self._driver, op, id=self._id, **arguments)


def java(driver: SubprocessDriver, op: str, **arguments: object) -> dict[str, Any]:
    """One `txn.*` command of the Java driver; raises ClientError."""
    answer = driver.call(op, **arguments)
    if answer["error"]:
        raise ClientError(answer["error"])
    return answer


class ConfluentTransactions:
    """librdkafka."""

    def __init__(self, bootstrap: str, transactional_id: str, timeout_ms: int) -> None:
        self._bootstrap = bootstrap
        self._failed: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": timeout_ms,
                "linger.ms": 0,
                "log_level": 0,
            }
        )
        self._do(lambda: self._producer.init_transactions(_TIMEOUT_S))

    def begin(self) -> None:
        self._do(self._producer.begin_transaction)

    def send(self, topic: str, value: str, partition: int = 0) -> None:
        def delivered(error: Any, _message: Any) -> None:
            if error is not None:
                self._failed.append(_name(error))

        self._do(lambda: self._producer.produce(topic, value, partition=partition, on_delivery=delivered))

    def flush(self) -> None:
        self._producer.flush(_TIMEOUT_S)
        if self._failed:
            raise ClientError(self._failed[0])

    def send_offset(self, group: str, topic: str, offset: int) -> None:
        consumer = Consumer({"bootstrap.servers": self._bootstrap, "group.id": group})
        try:
            member = consumer.consumer_group_metadata()
            places = [TopicPartition(topic, 0, offset)]
            self._do(lambda: self._producer.send_offsets_to_transaction(places, member, _TIMEOUT_S))
        finally:
            consumer.close()

    def commit(self) -> None:
        self._do(lambda: self._producer.commit_transaction(_TIMEOUT_S))

    def abort(self) -> None:
        self._do(lambda: self._producer.abort_transaction(_TIMEOUT_S))

    def close(self) -> None:
        with contextlib.suppress(KafkaException):  # of one that was fenced
            self._producer.purge()
            self._producer.flush(1.0)

    @staticmethod
    def _do(action: Any) -> None:
        try:
            action()
        except KafkaException as failed:
            raise ClientError(_name(failed.args[0])) from failed


def _name(error: Any) -> str:
    number = error.code()
    try:
        return ErrorCode(number).name
    except ValueError:
        return str(error.name())
