"""Compression of records by codec, with a limit in bytes on what comes out.

A codec is loaded when it is used first: many a node never sees a compressed batch that it has to open.
"""

from __future__ import annotations

from enum import IntEnum

from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.codecs.limits import OutputLimitError
from odradek.wire.records.crc import Buffer

__all__ = ["Codec", "OutputLimitError", "compress", "decompress", "level_range"]


class Codec(IntEnum):
    """Kafka's compression types: the numbers are those in a batch's attributes, the names those in configurations."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4

    @property
    def config_name(self) -> str:
        """As in `compression.type`."""
        return self.name.lower()

    @classmethod
    def of(cls, number: int) -> Codec:
        """The codec of that number; KafkaError UNSUPPORTED_COMPRESSION_TYPE if there is none."""
        if number > 4:
            raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"Unknown compression type {number}")
        return _CODECS[number]


_CODECS = tuple(Codec)


def level_range(codec: Codec) -> tuple[int, int, int] | None:
    """(lowest, highest, default) as in `compression.<codec>.level`; None for a codec without levels.

    gzip's default, -1, is outside its range and still a level.
    """
    match codec:
        case Codec.GZIP:
            from odradek.wire.records.codecs import gzip

            return gzip.MIN_LEVEL, gzip.MAX_LEVEL, gzip.DEFAULT_LEVEL
        case Codec.LZ4:
            from odradek.wire.records.codecs import lz4

            return lz4.MIN_LEVEL, lz4.MAX_LEVEL, lz4.DEFAULT_LEVEL
        case Codec.ZSTD:
            from odradek.wire.records.codecs import zstd

            return zstd.MIN_LEVEL, zstd.MAX_LEVEL, zstd.DEFAULT_LEVEL
        case _:
            return None


def compress(codec: Codec, data: Buffer, level: int | None = None) -> bytes:
    """`data` compressed as Java's clients do; snappy has no level. ValueError for a level out of range."""
    levels = None if level is None else level_range(codec)
    if level is not None and levels is not None:
        lowest, highest, default = levels
        if not lowest <= level <= highest and level != default:
            raise ValueError(f"{codec.config_name} has no level {level}")
    match codec:
        case Codec.NONE:
            return bytes(data)
        case Codec.GZIP:
            from odradek.wire.records.codecs import gzip

            return gzip.compress(data, level)
        case Codec.SNAPPY:
            from odradek.wire.records.codecs import snappy

            return snappy.compress(data)
        case Codec.LZ4:
            from odradek.wire.records.codecs import lz4

            return lz4.compress(data, level)
        case Codec.ZSTD:
            from odradek.wire.records.codecs import zstd

            return zstd.compress(data, level)


def decompress(codec: Codec, data: Buffer, limit_bytes: int) -> bytes:
    """`data` decompressed; never allocates more than about twice `limit_bytes`.

    ProtocolError if the data is malformed; its subclass OutputLimitError if it holds more than `limit_bytes`.
    """
    match codec:
        case Codec.NONE:
            if len(data) > limit_bytes:
                raise OutputLimitError(limit_bytes)
            return bytes(data)
        case Codec.GZIP:
            from odradek.wire.records.codecs import gzip

            return gzip.decompress(data, limit_bytes)
        case Codec.SNAPPY:
            from odradek.wire.records.codecs import snappy

            return snappy.decompress(data, limit_bytes)
        case Codec.LZ4:
            from odradek.wire.records.codecs import lz4

            return lz4.decompress(data, limit_bytes)
        case Codec.ZSTD:
            from odradek.wire.records.codecs import zstd

            return zstd.decompress(data, limit_bytes)
