"""Fetch requests in a session (KIP-227), and as much of their answers as it takes to go on; pure.

The layout is that of `odradek.wire.messages.fetch`, versions 12 to 18, of one topic. A batch is not opened: of its
header only the length, the base offset and the last offset delta are read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

LAST_NAMED_VERSION = 12
"""From the next version on topics are told by their ids."""
FIRST_WITHOUT_REPLICA = 15
VERSIONS = range(12, 19)
SESSIONLESS_EPOCH = -1
BATCH_HEADER_BYTES = 61

_API_KEY = 1
_CLIENT_ID = b"raw"
_REPLICA_ID = struct.pack(">i", -1)
_LIMITS_AND_SESSION = struct.Struct(">iiibii")
_PARTITION = struct.Struct(">iiqiqiB")
_TOPIC_ENDS = b"\0"
_REQUEST_ENDS = b"\x01\x01\0"
"""No forgotten topics, no rack, no tagged fields."""
_ANSWER_START = struct.Struct(">ixihi")
_ANSWER_PARTITION = struct.Struct(">ihqqq")
_ABORTED_BYTES = 17
_REPLICA_BYTES = 4
_TOPIC_ID_BYTES = 16
_INT32 = struct.Struct(">i")
_BATCH_LENGTH_AT = 8
_BATCH_OVERHEAD_BYTES = 12
"""Base offset and length, which the length does not count."""
_BATCH_OFFSETS = struct.Struct(">q15xi")


class FetchFailed(Exception):
    """The broker refused a fetch, answered what cannot be read, closed the connection or fell silent."""


@dataclass(frozen=True)
class Limits:
    """What a fetch waits for and how much it may bring; times in milliseconds, sizes in bytes."""

    max_wait_ms: int = 500
    min_bytes: int = 1
    max_bytes: int = 50 << 20
    partition_max_bytes: int = 1 << 20


class PartitionAnswer(NamedTuple):
    """What was read of a partition; `next_offset` is -1 where there is no whole batch."""

    partition: int
    error_code: int
    high_watermark: int
    record_bytes: int
    next_offset: int


class Answer(NamedTuple):
    """What was read of a response."""

    correlation_id: int
    error_code: int
    session_id: int
    partitions: list[PartitionAnswer]


class RequestWriter:
    """Writes the requests of one client for one topic."""

    def __init__(self, version: int, topic: str, topic_id: bytes, limits: Limits) -> None:
        """`topic_id` (16 bytes) counts from version 13 on. Raises ValueError for a version that is not written here."""
        if version not in VERSIONS:
            raise ValueError(f"version {version}")
        self._front = struct.pack(">hh", _API_KEY, version)
        header_ends = struct.pack(">h", len(_CLIENT_ID)) + _CLIENT_ID + b"\0"
        self._middle = header_ends + (_REPLICA_ID if version < FIRST_WITHOUT_REPLICA else b"")
        name = topic.encode()
        self._topic = uvarint(len(name) + 1) + name if version <= LAST_NAMED_VERSION else topic_id
        self._limits = limits

    def write(
        self, correlation_id: int, session_id: int, epoch: int, offsets: Mapping[int, int], *, max_wait_ms: int
    ) -> bytes:
        """A frame; `offsets` are where the partitions that it names are read from."""
        limits = self._limits
        parts = [
            self._front,
            _INT32.pack(correlation_id),
            self._middle,
            _LIMITS_AND_SESSION.pack(max_wait_ms, limits.min_bytes, limits.max_bytes, 0, session_id, epoch),
        ]
        if offsets:
            parts += (b"\x02", self._topic, uvarint(len(offsets) + 1))
            parts += [
                _PARTITION.pack(index, -1, offset, -1, -1, limits.partition_max_bytes, 0)
                for index, offset in offsets.items()
            ]
            parts.append(_TOPIC_ENDS)
        else:
            parts.append(b"\x01")
        parts.append(_REQUEST_ENDS)
        payload = b"".join(parts)
        return _INT32.pack(len(payload)) + payload


class FetchSession:
    """One client's place in the partitions of a topic, one request at a time.

    The first request of a session names all partitions and is answered at once; the others name those that have moved.
    """

    def __init__(
        self, writer: RequestWriter, version: int, offsets: Mapping[int, int], limits: Limits, *, incremental: bool
    ) -> None:
        self.offsets = dict(offsets)
        """Where each partition is read next."""
        self.session_id = 0
        self._start = dict(offsets)
        self._writer = writer
        self._version = version
        self._max_wait_ms = limits.max_wait_ms
        self._incremental = incremental
        self._epoch = 0 if incremental else SESSIONLESS_EPOCH
        self._moved = dict(offsets)
        self._correlation_id = 0

    def rewind(self) -> None:
        """Begin again where it began; the next request ends the session and begins another."""
        self.offsets = dict(self._start)
        self._moved = dict(self._start)
        self._epoch = 0 if self._incremental else SESSIONLESS_EPOCH

    def request(self) -> bytes:
        """The next request, as a frame."""
        self._correlation_id = self._correlation_id % 0x7FFF_FFFF + 1
        wanted = self._moved if self._incremental else self.offsets
        wait_ms = 0 if self._epoch == 0 else self._max_wait_ms
        return self._writer.write(self._correlation_id, self.session_id, self._epoch, wanted, max_wait_ms=wait_ms)

    def accept(self, data: bytes | bytearray, start: int, end: int) -> list[PartitionAnswer]:
        """Go on from an answer, which is `data[start:end]` without its length; what it holds. Raises FetchFailed."""
        answer = read_answer(data, start, end, self._version)
        if answer.correlation_id != self._correlation_id:
            raise FetchFailed(f"an answer to {answer.correlation_id} instead of {self._correlation_id}")
        if answer.error_code:
            raise FetchFailed(f"the broker answered with error code {answer.error_code}")
        if self._incremental:
            if not answer.session_id:
                raise FetchFailed("the broker gave no session")
            self.session_id = answer.session_id
            self._epoch = self._epoch % 0x7FFF_FFFF + 1
            self._moved = {}
        for partition in answer.partitions:
            self._go_on(partition)
        return answer.partitions

    def _go_on(self, answer: PartitionAnswer) -> None:
        if answer.error_code:
            raise FetchFailed(f"partition {answer.partition} was answered with error code {answer.error_code}")
        if not answer.record_bytes:
            return
        if answer.next_offset <= self.offsets[answer.partition]:
            raise FetchFailed(f"partition {answer.partition} was answered without a whole batch that is new")
        self.offsets[answer.partition] = self._moved[answer.partition] = answer.next_offset


def read_answer(data: bytes | bytearray, start: int, end: int, version: int) -> Answer:
    """Read `data[start:end]`, a response with its header and without its length. Raises FetchFailed."""
    try:
        answer, position = _read_answer(data, start, end, version)
    except (IndexError, struct.error) as error:
        raise FetchFailed(f"an answer of {end - start} bytes that breaks off") from error
    if position != end:
        raise FetchFailed(f"an answer of {end - start} bytes that ends after {position - start}")
    return answer


def _read_answer(data: bytes | bytearray, start: int, end: int, version: int) -> tuple[Answer, int]:
    correlation_id, _throttle_ms, error_code, session_id = _ANSWER_START.unpack_from(data, start)
    partitions: list[PartitionAnswer] = []
    topics, position = read_uvarint(data, start + _ANSWER_START.size)
    for _ in range(topics - 1):
        if version <= LAST_NAMED_VERSION:
            length, position = read_uvarint(data, position)
            position += length - 1
        else:
            position += _TOPIC_ID_BYTES
        count, position = read_uvarint(data, position)
        for _ in range(count - 1):
            position = _read_partition(data, position, end, partitions)
        position = _skip_tags(data, position)
    return Answer(correlation_id, error_code, session_id, partitions), _skip_tags(data, position)


def _read_partition(data: bytes | bytearray, position: int, end: int, found: list[PartitionAnswer]) -> int:
    index, error_code, high_watermark, _, _ = _ANSWER_PARTITION.unpack_from(data, position)
    aborted, position = read_uvarint(data, position + _ANSWER_PARTITION.size)
    position += max(0, aborted - 1) * _ABORTED_BYTES + _REPLICA_BYTES
    size, position = read_uvarint(data, position)
    size = max(0, size - 1)
    records_end = position + size
    if records_end > end:
        raise IndexError(records_end)
    found.append(PartitionAnswer(index, error_code, high_watermark, size, next_offset(data, position, records_end)))
    return _skip_tags(data, records_end)


def next_offset(data: bytes | bytearray, start: int, end: int) -> int:
    """The offset behind the last whole batch of `data[start:end]`; -1 if there is none."""
    last = -1
    position = start
    while position + BATCH_HEADER_BYTES <= end:
        after = position + _BATCH_OVERHEAD_BYTES + _batch_length(data, position)
        if after > end:
            break
        last = position
        position = after
    if last < 0:
        return -1
    base_offset, last_offset_delta = _BATCH_OFFSETS.unpack_from(data, last)
    return int(base_offset) + int(last_offset_delta) + 1


def count_batches(data: bytes | bytearray, start: int, end: int) -> tuple[int, int]:
    """How many whole batches `data[start:end]` begins with, and their size in bytes. Raises FetchFailed."""
    count = 0
    position = start
    while position + BATCH_HEADER_BYTES <= end:
        after = position + _BATCH_OVERHEAD_BYTES + _batch_length(data, position)
        if after > end:
            break
        count += 1
        position = after
    return count, position - start


def _batch_length(data: bytes | bytearray, position: int) -> int:
    """As the batch's header tells it. Raises FetchFailed where it is shorter than the header."""
    (length,) = _INT32.unpack_from(data, position + _BATCH_LENGTH_AT)
    if length < BATCH_HEADER_BYTES - _BATCH_OVERHEAD_BYTES:
        raise FetchFailed(f"a batch of length {length}")
    return int(length)


def uvarint(value: int) -> bytes:
    """An unsigned varint."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_uvarint(data: bytes | bytearray, position: int) -> tuple[int, int]:
    """The value, and the position behind it."""
    byte = data[position]
    value = byte & 0x7F
    shift = 7
    while byte > 0x7F:
        position += 1
        byte = data[position]
        value |= (byte & 0x7F) << shift
        shift += 7
    return value, position + 1


def _skip_tags(data: bytes | bytearray, position: int) -> int:
    count, position = read_uvarint(data, position)
    for _ in range(count):
        _, position = read_uvarint(data, position)
        size, position = read_uvarint(data, position)
        position += size
    return position
