"""The Fetch request that consumers send again and again, read and answered without message objects.

That is versions 11 to 18, of no replica, without a rack, forgotten topics and tagged fields. The layouts are those of
`odradek.wire.messages.fetch`, which reads and writes everything else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from odradek.wire.primitives import uvarint
from odradek.wire.schema import Chunk

FIRST_PLAIN = 11
"""The first version whose layout is known here."""
FIRST_WITH_TOPIC_IDS = 13

_FIRST_COMPACT = 12
_FIRST_WITH_TAGGED_REPLICA = 15
_MAX_LENGTH = 127
"""The lengths of longer compact arrays and strings take more than one byte, and the ordinary way."""
_NOTHING_FOLLOWS = b"\x01\x01\x00"
"""No forgotten topics, no rack, no tagged fields: how a plain request ends."""
_NOTHING_FOLLOWS_FIXED = bytes(6)
"""The same before version 12."""

_START = struct.Struct(">iiibiiB")
_REPLICA_ID = struct.Struct(">i")
_TOPIC = struct.Struct(">16sB")
_PARTITION = struct.Struct(">iiqiqiB")
_START_FIXED = struct.Struct(">iiiibiii")
_NAME_LENGTH = struct.Struct(">h")
_COUNT = struct.Struct(">i")
_PARTITION_FIXED = struct.Struct(">iiqqi")
_REPLY_START = struct.Struct(">ixihi")
_REPLY_PARTITION = struct.Struct(">ixxqqq")
_REPLY_START_FIXED = struct.Struct(">iihi")
_ABORTED = struct.Struct(">qq")
_NO_REPLICA = _REPLICA_ID.pack(-1)
_new_tuple = tuple.__new__

TopicKey = str | bytes
"""A topic's name, or its id from version 13 on."""


class PlainPartition(NamedTuple):
    """What is asked of a partition, in the order of the request's fields."""

    partition: int
    current_leader_epoch: int
    fetch_offset: int
    last_fetched_epoch: int
    log_start_offset: int
    max_bytes: int
    tags: int


class PlainFetch(NamedTuple):
    """Sizes in bytes; `partitions` are those that the request names."""

    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    isolation_level: int
    session_id: int
    session_epoch: int
    partitions: list[tuple[TopicKey, PlainPartition]]


class Aborted(Protocol):
    """A transaction that the reader has to leave out."""

    @property
    def producer_id(self) -> int:
        """Whose."""

    @property
    def first_offset(self) -> int:
        """Where it begins."""


class PlainAnswer(NamedTuple):
    """What is told of a partition: `size` bytes of records, which are sent as they are."""

    topic: TopicKey
    partition: int
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    records: Chunk
    size: int
    aborted: Sequence[Aborted] | None
    """What readers of committed records have to leave out; None for others."""


def read_plain(frame: memoryview, body_at: int, version: int) -> PlainFetch | None:
    """The request whose body begins at `body_at` and ends the frame; None if it is not a plain one, or malformed."""
    try:
        return _read_fixed(frame, body_at) if version < _FIRST_COMPACT else _read_compact(frame, body_at, version)
    except (struct.error, IndexError, UnicodeDecodeError):
        return None


def _read_compact(frame: memoryview, position: int, version: int) -> PlainFetch | None:
    """Version 12 and later. Raises struct.error, IndexError or UnicodeDecodeError where it is cut or no name."""
    if frame[-3:] != _NOTHING_FOLLOWS:
        return None  # a replica's request, for one
    if version < _FIRST_WITH_TAGGED_REPLICA:
        if frame[position : position + 4] != _NO_REPLICA:
            return None
        position += 4
    wait_ms, min_bytes, max_bytes, isolation, session_id, epoch, topic_length = _START.unpack_from(frame, position)
    position += _START.size
    if not 0 < topic_length <= _MAX_LENGTH:
        return None
    partitions: list[tuple[TopicKey, PlainPartition]] = []
    topic: TopicKey
    for _ in range(topic_length - 1):
        if version >= FIRST_WITH_TOPIC_IDS:
            topic, length = _TOPIC.unpack_from(frame, position)
            position += _TOPIC.size
        else:
            begin, position = position + 1, position + frame[position]
            if not begin < position < begin + _MAX_LENGTH:
                return None
            topic, length = str(frame[begin:position], "utf-8"), frame[position]
            position += 1
        if not 0 < length <= _MAX_LENGTH:
            return None
        for _ in range(length - 1):
            asked = _new_tuple(PlainPartition, _PARTITION.unpack_from(frame, position))
            if asked.tags:
                return None
            partitions.append((topic, asked))
            position += _PARTITION.size
        if frame[position]:
            return None
        position += 1
    if position != len(frame) - len(_NOTHING_FOLLOWS):
        return None
    return _new_tuple(PlainFetch, (wait_ms, min_bytes, max_bytes, isolation, session_id, epoch, partitions))


def _read_fixed(frame: memoryview, position: int) -> PlainFetch | None:
    """Version 11, whose lengths have a fixed size. Raises as `_read_compact` does."""
    end = len(frame) - len(_NOTHING_FOLLOWS_FIXED)
    if frame[end:] != _NOTHING_FOLLOWS_FIXED:
        return None
    replica_id, wait_ms, min_bytes, max_bytes, isolation, session_id, epoch, topics = _START_FIXED.unpack_from(
        frame, position
    )
    position += _START_FIXED.size
    if replica_id != -1 or topics < 0:
        return None
    partitions: list[tuple[TopicKey, PlainPartition]] = []
    for _ in range(topics):
        (length,) = _NAME_LENGTH.unpack_from(frame, position)
        position += _NAME_LENGTH.size + length
        if length <= 0:
            return None
        topic = str(frame[position - length : position], "utf-8")
        (count,) = _COUNT.unpack_from(frame, position)
        position += _COUNT.size
        if count < 0:
            return None
        for _ in range(count):
            index, leader_epoch, offset, log_start, most = _PARTITION_FIXED.unpack_from(frame, position)
            partitions.append((topic, PlainPartition(index, leader_epoch, offset, -1, log_start, most, 0)))
            position += _PARTITION_FIXED.size
    if position != end:
        return None
    return PlainFetch(wait_ms, min_bytes, max_bytes, isolation, session_id, epoch, partitions)


def write_plain(version: int, correlation_id: int, session_id: int, answers: Sequence[PlainAnswer]) -> list[Chunk]:
    """The response, header included. Neighbours of one topic share an entry."""
    form = _FIXED if version < _FIRST_COMPACT else _COMPACT
    pack_count, end = form.pack_count, form.end
    topics = [answers] if len(answers) == 1 else _by_topic(answers)
    chunks: list[Chunk] = []
    out = [form.start.pack(correlation_id, 0, 0, session_id), pack_count(len(topics))]
    for topic in topics:
        key = topic[0].topic
        if isinstance(key, str):
            name = key.encode()
            out += (form.pack_name_length(len(name)), name)
        else:
            out.append(key)
        out.append(pack_count(len(topic)))
        for _, partition, high_watermark, last_stable_offset, log_start_offset, records, size, aborted in topic:
            out += (
                _REPLY_PARTITION.pack(partition, high_watermark, last_stable_offset, log_start_offset),
                form.no_list if aborted is None else form.empty_list if not aborted else _list(form, aborted),
                _NO_REPLICA,
                pack_count(size),
            )
            if isinstance(records, bytes):
                out.append(records)
            else:
                chunks += (b"".join(out), records)
                out = []
            out.append(end)
        out.append(end)
    out.append(end)
    chunks.append(b"".join(out))
    return chunks


def _by_topic(answers: Sequence[PlainAnswer]) -> Sequence[Sequence[PlainAnswer]]:
    topics: list[list[PlainAnswer]] = []
    for answer in answers:
        if topics and topics[-1][0].topic == answer.topic:
            topics[-1].append(answer)
        else:
            topics.append([answer])
    return topics


class _Form(NamedTuple):
    """How lengths are written."""

    start: struct.Struct
    pack_count: Callable[[int], bytes]
    pack_name_length: Callable[[int], bytes]
    no_list: bytes
    empty_list: bytes
    end: bytes
    """No tagged fields, where there may be some."""


def _compact_count(count: int) -> bytes:
    return uvarint(count + 1)


_COMPACT = _Form(_REPLY_START, _compact_count, _compact_count, b"\0", b"\1", b"\0")
_FIXED = _Form(_REPLY_START_FIXED, _COUNT.pack, _NAME_LENGTH.pack, _COUNT.pack(-1), _COUNT.pack(0), b"")


def _list(form: _Form, aborted: Sequence[Aborted]) -> bytes:
    out = [form.pack_count(len(aborted))]
    for transaction in aborted:
        out += (_ABORTED.pack(transaction.producer_id, transaction.first_offset), form.end)
    return b"".join(out)
