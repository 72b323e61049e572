"""The Produce request that nearly every producer sends, read and answered without message objects.

That is versions 9 to 13 with one batch for one partition, without a transactional id and tagged fields. The layout is
that of `odradek.wire.messages.produce`, which reads and writes everything else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from odradek.wire.errors import ProtocolError
from odradek.wire.primitives import continue_uvarint

FIRST_PLAIN = 9
"""The first version whose layout this is."""
FIRST_WITH_TOPIC_IDS = 13

ONE = 2
"""The length of an array of one element, as a compact array begins."""
ENDS = bytes(3)
_ENDS_BYTES = len(ENDS)
"""Of the partition, the topic and the request: no tagged fields."""

_START = struct.Struct(">BhiBB")
_PARTITION = struct.Struct(">Bi")
_START_WITH_ID = struct.Struct(">BhiB16sBi")
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
        if named or topics != ONE or partitions != ONE:
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


class PlainForm:
    """What a plain request has in common with those that its client sends after it: all but the records, mostly."""

    __slots__ = ("_frame_bytes", "_front", "_records_at", "body_at")

    def __init__(self, frame: memoryview, body_at: int, request: PlainProduce) -> None:
        """`request` was read from `frame`."""
        self.body_at = body_at
        self._frame_bytes = len(frame)
        self._records_at = len(frame) - _ENDS_BYTES - len(request.records)
        self._front = bytes(frame[body_at : self._records_at])

    def records(self, frame: memoryview) -> memoryview | None:
        """The records in a frame that differs in nothing else behind its header; None if it does."""
        at = self._records_at
        if len(frame) != self._frame_bytes or frame[self.body_at : at] != self._front or frame[-_ENDS_BYTES:] != ENDS:
            return None
        return frame[at:-_ENDS_BYTES]


@lru_cache(maxsize=64)
def _named_reply(name_bytes: int) -> struct.Struct:
    return struct.Struct(f">ixBB{name_bytes}sBixxqqqB8x")


def plain_replies(
    topic: str | bytes, partition: int, *, log_append_time_ms: int, log_start_offset: int
) -> Callable[[int, int], bytes]:
    """Makes of a correlation id and a base offset the response to a plain request, header included.

    It says where the batch went. Times in milliseconds.
    """
    named: tuple[int | bytes, ...]
    if isinstance(topic, bytes):
        pack, named = _REPLY_WITH_ID.pack, (topic,)
    else:
        name = topic.encode()
        pack, named = _named_reply(len(name)).pack, (len(name) + 1, name)

    def reply(correlation_id: int, base_offset: int) -> bytes:
        return pack(correlation_id, ONE, *named, ONE, partition, base_offset, log_append_time_ms, log_start_offset, 1)

    return reply
