"""XXH3 with 64 bits, seed 0 and the default secret, in which the hash of a group's metadata is kept (KIP-1101)."""

from __future__ import annotations

import struct
from itertools import pairwise

_MASK = (1 << 64) - 1
_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_PRIME32_1, _PRIME32_2, _PRIME32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
_PRIME64_1 = 0x9E3779B185EBCA87
_PRIME64_2 = 0xC2B2AE3D27D4EB4F
_PRIME64_3 = 0x165667B19E3779F9
_PRIME64_4 = 0x85EBCA77C2B2AE63
_PRIME64_5 = 0x27D4EB2F165667C5
_PRIME_MX1 = 0x165667919E3779F9
_PRIME_MX2 = 0x9FB21C651E98DF25

_STRIPE_BYTES = 64
_SECRET_STEP_BYTES = 8
_STRIPES_PER_BLOCK = (len(_SECRET) - _STRIPE_BYTES) // _SECRET_STEP_BYTES
_LANES = struct.Struct("<8Q")


def xxh3_64(data: bytes) -> int:
    """The hash as Kafka keeps it: 64 bits with sign."""
    value = _hash(data)
    return value - (1 << 64) if value >> 63 else value


def _hash(data: bytes) -> int:
    size = len(data)
    if size <= 16:
        return _up_to_16(data, size)
    if size <= 240:
        return _up_to_240(data, size)
    return _long(data, size)


def _up_to_16(data: bytes, size: int) -> int:
    if size > 8:
        low = _u64(data, 0) ^ _u64(_SECRET, 24) ^ _u64(_SECRET, 32)
        high = _u64(data, size - 8) ^ _u64(_SECRET, 40) ^ _u64(_SECRET, 48)
        swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
        return _avalanche((size + swapped + high + _folded_product(low, high)) & _MASK)
    if size >= 4:
        joined = _u32(data, size - 4) + (_u32(data, 0) << 32)
        value = joined ^ _u64(_SECRET, 8) ^ _u64(_SECRET, 16)
        value ^= _rotated(value, 49) ^ _rotated(value, 24)
        value = value * _PRIME_MX2 & _MASK
        value = (value ^ (value >> 35) + size) * _PRIME_MX2 & _MASK
        return value ^ value >> 28
    if size:
        joined = data[0] << 16 | data[size >> 1] << 24 | data[-1] | size << 8
        return _avalanche_64(joined ^ _u32(_SECRET, 0) ^ _u32(_SECRET, 4))
    return _avalanche_64(_u64(_SECRET, 56) ^ _u64(_SECRET, 64))


def _up_to_240(data: bytes, size: int) -> int:
    total = size * _PRIME64_1
    if size <= 128:
        for pair in range((size - 1) // 32, -1, -1):
            total += _mixed(data, 16 * pair, 32 * pair) + _mixed(data, size - 16 * (pair + 1), 32 * pair + 16)
        return _avalanche(total & _MASK)
    total += sum(_mixed(data, 16 * index, 16 * index) for index in range(8))
    total = _avalanche(total & _MASK)
    total += sum(_mixed(data, 16 * index, 16 * (index - 8) + 3) for index in range(8, size // 16))
    return _avalanche((total + _mixed(data, size - 16, 136 - 17)) & _MASK)


def _long(data: bytes, size: int) -> int:
    lanes = [
        _PRIME32_3, _PRIME64_1, _PRIME64_2, _PRIME64_3, _PRIME64_4, _PRIME32_2, _PRIME64_5, _PRIME32_1,
    ]  # fmt: skip
    scramble = _LANES.unpack_from(_SECRET, len(_SECRET) - _STRIPE_BYTES)
    stripes = (size - 1) // _STRIPE_BYTES
    for stripe in range(stripes):
        place = stripe % _STRIPES_PER_BLOCK
        _accumulate(lanes, data, stripe * _STRIPE_BYTES, place * _SECRET_STEP_BYTES)
        if place == _STRIPES_PER_BLOCK - 1:
            for index, lane in enumerate(lanes):
                lanes[index] = (lane ^ lane >> 47 ^ scramble[index]) * _PRIME32_1 & _MASK
    _accumulate(lanes, data, size - _STRIPE_BYTES, len(_SECRET) - _STRIPE_BYTES - 7)
    total = size * _PRIME64_1
    for index, (first, second) in enumerate(list(pairwise(lanes))[::2]):
        place = 11 + 16 * index
        total += _folded_product(first ^ _u64(_SECRET, place), second ^ _u64(_SECRET, place + 8))
    return _avalanche(total & _MASK)


def _accumulate(lanes: list[int], data: bytes, position: int, secret_position: int) -> None:
    words = _LANES.unpack_from(data, position)
    keys = _LANES.unpack_from(_SECRET, secret_position)
    for index in range(8):
        keyed = words[index] ^ keys[index]
        lanes[index ^ 1] = lanes[index ^ 1] + words[index] & _MASK
        lanes[index] = lanes[index] + (keyed & 0xFFFFFFFF) * (keyed >> 32) & _MASK


def _mixed(data: bytes, position: int, secret_position: int) -> int:
    low = _u64(data, position) ^ _u64(_SECRET, secret_position)
    high = _u64(data, position + 8) ^ _u64(_SECRET, secret_position + 8)
    return _folded_product(low, high)


def _folded_product(left: int, right: int) -> int:
    product = left * right
    return product & _MASK ^ product >> 64


def _avalanche(value: int) -> int:
    value = (value ^ value >> 37) * _PRIME_MX1 & _MASK
    return value ^ value >> 32


def _avalanche_64(value: int) -> int:
    value = (value ^ value >> 33) * _PRIME64_2 & _MASK
    value = (value ^ value >> 29) * _PRIME64_3 & _MASK
    return value ^ value >> 32


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _MASK


def _u64(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 8], "little")


def _u32(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 4], "little")
