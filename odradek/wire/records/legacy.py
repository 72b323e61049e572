"""Messages of magic 0 and 1, as clients before 0.11 wrote them.

Kafka 4 takes none of them from clients, and still reads them where a log holds them. A message is an offset, a
length, a CRC-32 and the rest; compressed ones are wrapped as the value of a message that carries the codec.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.records.batch import DEFAULT_RECORDS_LIMIT_BYTES
from odradek.wire.records.codecs import lz4
from odradek.wire.records.compression import Codec, OutputLimitError, decompress
from odradek.wire.records.crc import Buffer
from odradek.wire.records.header import (
    CODEC_MASK,
    LOG_APPEND_TIME_BIT,
    MAGIC_AT,
    NO_TIMESTAMP,
    TimestampType,
    next_batch_size,
)
from odradek.wire.records.record import Record

_CRC_AT = 12
_ATTRIBUTES_AT = 17
_TIMESTAMP_AT = 18
_KEY_AT = (18, 26)
_MIN_SIZE_BYTES = (26, 34)
_OFFSET = struct.Struct(">q")
_INT32 = struct.Struct(">i")
_UINT32 = struct.Struct(">I")


class LegacyMessage(NamedTuple):
    """One message as stored. Of a wrapper, `offset` is that of the last message inside (0 from some producers)."""

    offset: int
    magic: int
    attributes: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None

    @property
    def codec(self) -> Codec:
        """How the messages inside are compressed; NONE for a message that is no wrapper."""
        return Codec.of(self.attributes & CODEC_MASK)

    @property
    def timestamp_type(self) -> TimestampType:
        """Whose timestamp it is; magic 0 has none."""
        if self.attributes & LOG_APPEND_TIME_BIT and self.magic == 1:
            return TimestampType.LOG_APPEND_TIME
        return TimestampType.CREATE_TIME


def iter_messages(data: Buffer) -> Iterator[tuple[int, LegacyMessage]]:
    """(position, message) of each whole message, wrappers unopened; one cut off at the end is left out.

    KafkaError CORRUPT_MESSAGE for wrong checksums, lengths and magic.
    """
    view = memoryview(data)
    position = 0
    while True:
        size_bytes = next_batch_size(view, position)
        if size_bytes is None or position + size_bytes > len(view):
            return
        yield position, _parse_message(view[position : position + size_bytes])
        position += size_bytes


def iter_legacy_records(data: Buffer, limit_bytes: int = DEFAULT_RECORDS_LIMIT_BYTES) -> Iterator[Record]:
    """All records of a set of messages, wrappers opened, with absolute offsets.

    `limit_bytes` bounds what one wrapper may hold. KafkaErrors: CORRUPT_MESSAGE as for `iter_messages` and if a
    wrapper does not decompress, MESSAGE_TOO_LARGE above the limit, INVALID_RECORD for a wrapper that does not hold
    together.
    """
    for _, message in iter_messages(data):
        if message.codec is Codec.NONE:
            yield Record(message.offset, message.timestamp_ms, message.key, message.value)
        else:
            yield from _open_wrapper(message, limit_bytes)


def _corrupt(what: str) -> KafkaError:
    return KafkaError(ErrorCode.CORRUPT_MESSAGE, what)


def _invalid(what: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_RECORD, what)


def _parse_message(view: memoryview) -> LegacyMessage:
    magic = view[MAGIC_AT]
    if magic > 1:
        raise _invalid(f"Batch of magic {magic} among legacy messages")
    if len(view) < _MIN_SIZE_BYTES[magic]:
        raise _corrupt(f"Message of {len(view)} bytes is too small for magic {magic}")
    if zlib.crc32(view[MAGIC_AT:]) != _UINT32.unpack_from(view, _CRC_AT)[0]:
        raise _corrupt("Checksum of a message does not match")
    timestamp_ms = _OFFSET.unpack_from(view, _TIMESTAMP_AT)[0] if magic else NO_TIMESTAMP
    key, position = _read_bytes(view, _KEY_AT[magic])
    value, position = _read_bytes(view, position)
    if position != len(view):
        raise _corrupt(f"{len(view) - position} bytes after the value of a message")
    (offset,) = _OFFSET.unpack_from(view)
    return LegacyMessage(offset, magic, view[_ATTRIBUTES_AT], timestamp_ms, key, value)


def _read_bytes(view: memoryview, position: int) -> tuple[bytes | None, int]:
    if position + 4 > len(view):
        raise _corrupt("Message ends in a length")
    (length,) = _INT32.unpack_from(view, position)
    position += 4
    if length < 0:
        return None, position
    if length > len(view) - position:
        raise _corrupt(f"Field of {length} bytes where {len(view) - position} are left")
    return bytes(view[position : position + length]), position + length


def _open_wrapper(wrapper: LegacyMessage, limit_bytes: int) -> Iterator[Record]:
    if wrapper.codec is Codec.ZSTD:
        raise _invalid("zstd in a message of magic 0 or 1")
    if wrapper.value is None:
        raise _invalid("Compressed message without a value")
    inner = [message for _, message in iter_messages(_decompress(wrapper, wrapper.value, limit_bytes))]
    if not inner:
        raise _invalid("Compressed message that holds none")
    base_offset = 0
    if wrapper.magic == 1 and wrapper.offset != 0:
        base_offset = wrapper.offset - inner[-1].offset
        if base_offset < 0:
            raise _invalid(f"Wrapper at {wrapper.offset} of messages up to {inner[-1].offset}")
    for message in inner:
        if message.magic != wrapper.magic:
            raise _invalid(f"Message of magic {message.magic} in a wrapper of magic {wrapper.magic}")
        if message.codec is not Codec.NONE:
            raise _invalid("Compressed message in a compressed message")
        timestamp_ms = message.timestamp_ms
        if wrapper.timestamp_type is TimestampType.LOG_APPEND_TIME:
            timestamp_ms = wrapper.timestamp_ms
        yield Record(base_offset + message.offset, timestamp_ms, message.key, message.value)


def _decompress(wrapper: LegacyMessage, value: bytes, limit_bytes: int) -> bytes:
    try:
        if wrapper.codec is Codec.LZ4 and wrapper.magic == 0:
            return lz4.decompress(value, limit_bytes, ignore_header_checksum=True)
        return decompress(wrapper.codec, value, limit_bytes)
    except OutputLimitError as error:
        raise KafkaError(ErrorCode.MESSAGE_TOO_LARGE, f"Wrapper {error}") from error
    except ProtocolError as error:
        raise _corrupt(f"Wrapper does not decompress: {error}") from error


def build_message(
    offset: int,
    key: bytes | None,
    value: bytes | None,
    *,
    magic: int = 1,
    attributes: int = 0,
    timestamp_ms: int = NO_TIMESTAMP,
) -> bytes:
    """One message of magic 0 or 1: for tests of what reads them, and for tools."""
    fields = [bytes((magic, attributes))]
    if magic:
        fields.append(_OFFSET.pack(timestamp_ms))
    for field in (key, value):
        fields += (_INT32.pack(-1),) if field is None else (_INT32.pack(len(field)), field)
    body = b"".join(fields)
    return _OFFSET.pack(offset) + _INT32.pack(_UINT32.size + len(body)) + _UINT32.pack(zlib.crc32(body)) + body
