"""Values of every message, made from a seed, for tests and for the corpus of golden bytes."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from random import Random
from typing import TypeVar, cast

import odradek.wire.messages
import odradek.wire.persistent
from odradek.wire.json_form import default_of
from odradek.wire.schema import Field, FieldType, Message, Struct, version_range

S = TypeVar("S", bound=Struct)

EDGES: dict[str, tuple[object, ...]] = {
    "bool": (True, False),
    "int8": (-128, -1, 0, 127),
    "int16": (-(1 << 15), -1, 0, (1 << 15) - 1),
    "int32": (-(1 << 31), -1, 0, 1, (1 << 31) - 1),
    "int64": (-(1 << 63), -1, 0, 1, (1 << 63) - 1),
    "uint16": (0, (1 << 15), (1 << 16) - 1),
    "uint32": (0, 1 << 31, (1 << 32) - 1),
    "float64": (0.0, -1.5, 1e300, 5e-324),
    "uuid": (bytes(16), bytes(15) + b"\x01", b"\xff" * 16, bytes(range(16))),
    "string": ("", "a", "topic-1", "Grüße, 世界 🌍", "x" * 126, "y" * 127, "z" * 128, "\x00"),
    "bytes": (b"", b"\x00", b"bytes", bytes(range(130))),
    "records": (b"", b"\x00\xff", b"records" * 20),
}
"""Per type: bounds, and lengths around the varint's first step."""

MAX_UNKNOWN_TAG = 20_000


def message_classes() -> list[type[Message]]:
    """Every declared message, sorted by module and name."""
    found: set[type[Message]] = set()
    for package in (odradek.wire.messages, odradek.wire.persistent):
        for entry in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            for value in vars(import_module(entry.name)).values():
                if isinstance(value, type) and issubclass(value, Message) and value is not Message:
                    found.add(value)
    return sorted(found, key=lambda cls: (cls.__module__, cls.__name__))


def versions_of(cls: type[Struct]) -> range:
    return range(cls.MIN_VERSION, cls.MAX_VERSION + 1)


def random_value(cls: type[S], version: int, random: Random, *, unknown_tags: bool = False) -> S:
    """A value that `version` can carry: every field set, null, or left at its default; lists of 0 to 3 elements."""
    made = cls()
    used = {declared.tag for declared in cls.FIELDS}
    for declared in cls.FIELDS:
        if version not in version_range(declared.versions, cls.MAX_VERSION):
            continue
        nullable = version in version_range(declared.nullable, cls.MAX_VERSION)
        setattr(made, declared.name, _random_field(declared, version, random, nullable, unknown_tags))
    if unknown_tags and version in cls.FLEXIBLE and random.random() < 0.5:
        tags = {random.choice((3, 127, 128, MAX_UNKNOWN_TAG, random.getrandbits(12))) for _ in range(2)} - used
        made.unknown_tags = tuple((tag, random.randbytes(random.choice((0, 1, 130)))) for tag in sorted(tags))
    return made


def _random_field(declared: Field, version: int, random: Random, nullable: bool, unknown_tags: bool) -> object:
    roll = random.random()
    if nullable and roll < 0.2:
        return None
    default = default_of(declared)
    if roll > 0.85 and default is not None:
        return default
    return _random_of(declared.type, version, random, unknown_tags)


def _random_of(kind: FieldType[object], version: int, random: Random, unknown_tags: bool) -> object:
    if kind.element is not None:
        count = random.choice((0, 1, 1, 2, 3))
        return [_random_of(kind.element, version, random, unknown_tags) for _ in range(count)]
    if kind.struct is not None:
        return random_value(kind.struct, version, random, unknown_tags=unknown_tags)
    if random.random() < 0.4:
        return random.choice(EDGES[kind.kind])
    return _ordinary(kind.kind, random)


def _ordinary(kind: str, random: Random) -> object:
    if kind == "bool":
        return random.random() < 0.5
    if kind == "uuid":
        return random.randbytes(16)
    if kind == "float64":
        return random.random() * 1e6
    if kind == "string":
        return "".join(random.choices("abcdef-_.é", k=random.randrange(12)))
    if kind in ("bytes", "records"):
        return random.randbytes(random.randrange(12))
    low, high = cast("tuple[int, int]", (EDGES[kind][0], EDGES[kind][-1]))
    return random.randint(max(low, -1000), min(high, 100_000))
