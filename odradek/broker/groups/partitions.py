"""Which partition of an internal topic a key belongs to."""

from __future__ import annotations

_INT32_SIGN = 1 << 31
_INT32_MASK = (1 << 32) - 1
_INT32_MIN = -_INT32_SIGN


def java_hash(text: str) -> int:
    """`String.hashCode` of Java: over UTF-16 units, in 32 bits with sign."""
    value = 0
    encoded = text.encode("utf-16-be", "surrogatepass")
    for index in range(0, len(encoded), 2):
        value = (31 * value + (encoded[index] << 8 | encoded[index + 1])) & _INT32_MASK
    return value - (_INT32_MASK + 1) if value & _INT32_SIGN else value


def partition_for(key: str, count: int) -> int:
    """The partition of `key` among `count`; Kafka takes 0 for the absolute value of the smallest integer."""
    value = java_hash(key)
    return 0 if value == _INT32_MIN else abs(value) % count
