"""What kafka-python and aiokafka have in common: the latter began as the former."""

from __future__ import annotations

from typing import Any

from odradek.wire.errors import ErrorCode
from tests.support.drivers.base import Ack, Record


def error_name(error: Any) -> str:
    """Kafka's name of an error of the broker, else the client's class."""
    number = getattr(error, "errno", None)
    return ErrorCode(number).name if isinstance(number, int) else type(error).__name__


def ack_of(metadata: Any) -> Ack:
    """What a record's metadata says; without acks there is none."""
    return Ack() if metadata is None else Ack(metadata.partition, metadata.offset, metadata.timestamp)


def record_of(message: Any) -> Record:
    """A record that was consumed."""
    return Record(
        value=message.value,
        key=message.key,
        headers=tuple(message.headers),
        timestamp_ms=message.timestamp,
        partition=message.partition,
        topic=message.topic,
        offset=message.offset,
    )
