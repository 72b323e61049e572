"""The Produce request that nearly every producer sends, read and answered without message objects.

That is versions 9 to 13 with one batch for one partition, without a transactional id and tagged fields. The layout is
that of `odradek.wire.messages.produce`, which reads and writes everything else.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from odradek.wire.errors import ProtocolError
from odradek.wire.primitives import continue_uvarint

FIRST_PLAIN = 9
"""The first version whose layout this is."""
FIRST_WITH_TOPIC_IDS = 13

_ONE = 2
"""The length of an array of one element, as a compact array begins."""
_ENDS_BYTES = 3
"""Of the partition, the topic and the request: no tagged fields."""

_START = struct.Struct(">BhiBB")
_PARTITION = struct.Struct(">Bi")
_START_WITH_ID = struct.Struct(">BhiB16sBi")
_REPLY_START = struct.Struct(">ixBB")
_REPLY_PARTITION = struct.Struct(">BixxqqqB8x")
_REPLY_WITH_ID = struct.Struct(">ixB16sBixxqqqB8x")


class PlainProduce(NamedTuple):
    """`topic` is the name, or from version 13 on the id; `records` is a view of the frame."""

    topic: str | bytes
    partition: int
    acks: int
    records: memoryview


def read_plain(frame: memoryview, body_at: int, version: int) -> PlainProduce | None:
    """The request whose body begins at `body_at` and ends the frame; None if it is not a plain one, or malformed."""
    try:
        topic: str | bytes
        if version >= FIRST_WITH_TOPIC_IDS:
            named, acks, _, topics, topic, partitions, partition = _START_WITH_ID.unpack_from(frame, body_at)
            position = body_at + _START_WITH_ID.size
        else:
            named, acks, _, topics, name_size = _START.unpack_from(frame, body_at)
            name_at = body_at + _START.size
            position = name_at + name_size - 1
            if not 1 < name_size < 128:
                return None
            topic = str(frame[name_at:position], "utf-8")
            partitions, partition = _PARTITION.unpack_from(frame, position)
            position += _PARTITION.size
        if named or topics != _ONE or partitions != _ONE:
            return None
        size = frame[position]
        position += 1
        if size > 127:
            size, position = continue_uvarint(frame, position, size)
        end = position + size - 1
        if size == 0 or end + _ENDS_BYTES != len(frame) or frame[end] or frame[end + 1] or frame[end + 2]:
            return None
    except (struct.error, IndexError, UnicodeDecodeError, ProtocolError):
        return None
    return PlainProduce(topic, partition, acks, frame[position:end])


def write_plain(
    correlation_id: int,
    topic: str | bytes,
    partition: int,
    *,
    base_offset: int,
    log_append_time_ms: int,
    log_start_offset: int,
) -> bytes:
    """The response, header included, that says where the batch of a plain request went. Times in milliseconds."""
    if isinstance(topic, bytes):
        return _REPLY_WITH_ID.pack(
            correlation_id, _ONE, topic, _ONE, partition, base_offset, log_append_time_ms, log_start_offset, 1
        )
    name = topic.encode()
    return (
        _REPLY_START.pack(correlation_id, _ONE, len(name) + 1)
        + name
        + _REPLY_PARTITION.pack(_ONE, partition, base_offset, log_append_time_ms, log_start_offset, 1)
    )
