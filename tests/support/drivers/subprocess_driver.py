"""Client libraries of other languages: programs that take commands and answer in JSON lines."""

from __future__ import annotations

import base64
import dataclasses
import json
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from odradek.wire.errors import ErrorCode
from tests.support.drivers.base import Ack, Consumer, ConsumerSettings, ProducerSettings, Record, TopicPartition

ANSWER_TIMEOUT_S = 60


class DriverFailed(Exception):
    """The client raised; the message is what it said."""


class SubprocessDriver:
    """Speaks to one long-lived program; commands and answers alternate."""

    def __init__(self, name: str, argv: Sequence[str], log_path: Path) -> None:
        self.name = name
        self._log = log_path.open("ab")
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, encoding="utf-8"
        )
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._turn = threading.Lock()
        self._consumers = 0

    def call(self, op: str, **arguments: object) -> dict[str, Any]:
        """Raises DriverFailed when the client raised or did not answer in time."""
        assert self._process.stdin is not None
        try:
            with self._turn:
                self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
                self._process.stdin.flush()
                line = self._answers.get(timeout=ANSWER_TIMEOUT_S)
        except queue.Empty:
            raise DriverFailed(f"{self.name} did not answer {op}") from None
        if not line:
            raise DriverFailed(f"{self.name} ended during {op}")
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            pytest.skip(f"not in this version of {self.name}: {answer['missing']}")
        if "exception" in answer:
            raise DriverFailed(f"{self.name}: {answer['exception']}")
        return answer

    def produce(self, topic: str, records: Sequence[Record], settings: ProducerSettings) -> list[Ack]:
        packed = [_pack(record) for record in records]
        answer = self.call("produce", topic=topic, records=packed, settings=dataclasses.asdict(settings))
        return [Ack(**{**ack, "error": _error_name(ack["error"])}) for ack in answer["acks"]]

    def subscribe(self, topics: Sequence[str], settings: ConsumerSettings) -> Consumer:
        self._consumers += 1
        self.call("subscribe", id=self._consumers, topics=list(topics), settings=dataclasses.asdict(settings))
        return _Consumer(self, self._consumers)

    def assign(self, partitions: Mapping[TopicPartition, int], settings: ConsumerSettings) -> Consumer:
        self._consumers += 1
        places = [[*place, offset] for place, offset in partitions.items()]
        self.call("assign", id=self._consumers, partitions=places, settings=dataclasses.asdict(settings))
        return _Consumer(self, self._consumers)

    def offsets(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        offset: int | None = self.call("offsets", topic=topic, partition=partition, timestamp_ms=timestamp_ms)["offset"]
        return offset

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        self._process.stdout.close()
        self._log.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")


class _Consumer:
    def __init__(self, driver: SubprocessDriver, number: int) -> None:
        self._driver = driver
        self._id = number

    def poll(self, timeout_s: float) -> list[Record]:
        answer = self._driver.call("poll", id=self._id, timeout_ms=int(timeout_s * 1000))
        return [_unpack(record) for record in answer["records"]]

    def assignment(self) -> set[TopicPartition]:
        places = self._driver.call("assignment", id=self._id)["partitions"]
        return {(topic, partition) for topic, partition in places}

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._driver.call("commit", id=self._id, offsets=[[*place, offset] for place, offset in offsets.items()])

    def committed(self, partition: TopicPartition) -> int | None:
        answer = self._driver.call("committed", id=self._id, topic=partition[0], partition=partition[1])
        offset: int | None = answer["offset"]
        return offset

    def close(self) -> None:
        self._driver.call("close", id=self._id)


def _error_name(text: str) -> str:
    return ErrorCode(int(text)).name if text.lstrip("-").isdecimal() else text


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _pack(record: Record) -> dict[str, object]:
    return {
        "key": _text(record.key),
        "value": _text(record.value),
        "headers": [[name, _text(value)] for name, value in record.headers],
        "timestamp_ms": record.timestamp_ms,
        "partition": record.partition,
    }


def _unpack(record: dict[str, Any]) -> Record:
    return Record(
        key=_bytes(record["key"]),
        value=_bytes(record["value"]),
        headers=tuple((name, _bytes(value)) for name, value in record["headers"]),
        timestamp_ms=record["timestamp_ms"],
        partition=record["partition"],
        topic=record["topic"],
        offset=record["offset"],
    )
