"""The Fetch request that consumers send once they have a session, read and answered without message objects.

That is versions 15 to 18, without a rack, forgotten topics and tagged fields. The layout is that of
`odradek.wire.messages.fetch`, which reads and writes everything else.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from odradek.wire.primitives import uvarint
from odradek.wire.schema import Chunk

FIRST_PLAIN = 15
"""The first version whose layout this is."""

_MAX_LENGTH = 127
"""The lengths of longer arrays take more than one byte, and the ordinary way."""
_NOTHING_FOLLOWS = b"\x01\x01\x00"
"""No forgotten topics, no rack, no tagged fields: how a plain request ends."""

_START = struct.Struct(">iiibiiB")
_TOPIC = struct.Struct(">16sB")
_PARTITION = struct.Struct(">iiqiqiB")
_REPLY_START = struct.Struct(">ixihi")
_REPLY_PARTITION = struct.Struct(">ixxqqqBi")
_NO_REPLICA = -1
_NO_LIST = 0
_EMPTY_LIST = 1


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
    """Sizes in bytes; `partitions` are those that the request names, by topic id."""

    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    isolation_level: int
    session_id: int
    session_epoch: int
    partitions: list[tuple[bytes, PlainPartition]]


class PlainAnswer(NamedTuple):
    """What is told of a partition: `size` bytes of records, which are sent as they are."""

    topic_id: bytes
    partition: int
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    records: Chunk
    size: int


def read_plain(frame: memoryview, body_at: int) -> PlainFetch | None:
    """The request whose body begins at `body_at` and ends the frame; None if it is not a plain one, or malformed."""
    if frame[-3:] != _NOTHING_FOLLOWS:
        return None  # a replica's request, for one
    partitions: list[tuple[bytes, PlainPartition]] = []
    try:
        wait_ms, min_bytes, max_bytes, isolation, session_id, epoch, topic_length = _START.unpack_from(frame, body_at)
        position = body_at + _START.size
        if not 0 < topic_length <= _MAX_LENGTH:
            return None
        for _ in range(topic_length - 1):
            topic_id, length = _TOPIC.unpack_from(frame, position)
            position += _TOPIC.size
            if not 0 < length <= _MAX_LENGTH:
                return None
            for _ in range(length - 1):
                asked = PlainPartition._make(_PARTITION.unpack_from(frame, position))
                if asked.tags:
                    return None
                partitions.append((topic_id, asked))
                position += _PARTITION.size
            if frame[position]:
                return None
            position += 1
    except (struct.error, IndexError):
        return None
    if position != len(frame) - len(_NOTHING_FOLLOWS):
        return None
    return PlainFetch(wait_ms, min_bytes, max_bytes, isolation, session_id, epoch, partitions)


def write_plain(
    correlation_id: int, session_id: int, answers: Sequence[PlainAnswer], *, lists_aborted: bool
) -> list[Chunk]:
    """The response, header included. `lists_aborted`: readers of committed records get a list, which is empty.

    Neighbours of one topic share an entry.
    """
    topics: list[list[PlainAnswer]] = []
    for answer in answers:
        if topics and topics[-1][0].topic_id == answer.topic_id:
            topics[-1].append(answer)
        else:
            topics.append([answer])
    aborted = _EMPTY_LIST if lists_aborted else _NO_LIST
    chunks: list[Chunk] = []
    out = [_REPLY_START.pack(correlation_id, 0, 0, session_id), uvarint(len(topics) + 1)]
    for topic in topics:
        out += (topic[0].topic_id, uvarint(len(topic) + 1))
        for _, partition, high_watermark, last_stable_offset, log_start_offset, records, size in topic:
            out += (
                _REPLY_PARTITION.pack(
                    partition, high_watermark, last_stable_offset, log_start_offset, aborted, _NO_REPLICA
                ),
                uvarint(size + 1),
            )
            if isinstance(records, bytes):
                out.append(records)
            else:
                chunks += (b"".join(out), records)
                out = []
            out.append(b"\0")
        out.append(b"\0")
    out.append(b"\0")
    chunks.append(b"".join(out))
    return chunks
