"""Values that are well-formed and seldom valid, put into one field of a request."""

from __future__ import annotations

from random import Random

from odradek.wire.schema import Field, Struct, version_range

_EDGES: dict[str, tuple[object, ...]] = {
    "int8": (-128, -2, -1, 0, 1, 2, 3, 4, 8, 16, 32, 64, 127),
    "int16": (-32768, -2, -1, 0, 1, 2, 7, 32767),
    "int32": (-(1 << 31), -2, -1, 0, 1, 2, 3, 1000, (1 << 31) - 1),
    "int64": (-(1 << 63), -7, -6, -5, -4, -3, -2, -1, 0, 1, 5, 1 << 40, (1 << 63) - 1),
    "uint16": (0, 1, 65535),
    "float64": (-1.0, 0.0, 0.5, 1e300, float("inf")),
    "uuid": (bytes(16), bytes(15) + b"\x01", b"\x07" * 16),
    "string": ("", "-nobody", "-a b", "-" + "x" * 250, "-Grüße"),
    "bytes": (b"", b"\x00", b"bytes"),
    "records": (b"", b"\x00\xff"),
    "bool": (True, False),
}
_LEFT_ALONE = ("replica_state", "acks", "max_bytes", "partition_max_bytes", "records", "session_id")
"""Fields with values that nobody sends, where what Kafka looks at first, or throws at, is another matter."""
_WAITS = ("timeout_ms", "max_wait_ms", "transaction_timeout_ms", "session_timeout_ms", "rebalance_timeout_ms")
_LONG_WAITS = (60_000, 6_000_000)


def mutate(request: Struct, version: int, random: Random, prefix: str) -> str:
    """Change one field somewhere in ``request``; returns which, or "" where there is none to change.

    Names begin with ``prefix``, so that no two sequences use the same.
    """
    places = list(_places(request, version))
    if not places:
        return ""
    owner, declared = random.choice(places)
    before = getattr(owner, declared.name)
    after = _other(owner, declared, version, random, prefix)
    setattr(owner, declared.name, after)
    return f"{type(owner).__name__}.{declared.name}: {before!r} -> {after!r}" if before != after else ""


def _places(value: Struct, version: int) -> list[tuple[Struct, Field]]:
    found = []
    for declared in value.FIELDS:
        if version not in version_range(declared.versions, value.MAX_VERSION) or declared.name in _LEFT_ALONE:
            continue
        found.append((value, declared))
        content = getattr(value, declared.name)
        for inner in content if isinstance(content, list) else [content]:
            if isinstance(inner, Struct):
                found += _places(inner, version)
    return found


def _other(owner: Struct, declared: Field, version: int, random: Random, prefix: str) -> object:
    content = getattr(owner, declared.name)
    if version in version_range(declared.nullable, owner.MAX_VERSION) and random.random() < 0.3:
        return None
    if declared.name in _WAITS:
        return 0 if declared.name == "max_wait_ms" else random.choice(_LONG_WAITS)
    if declared.type.element is not None:
        return _other_list(list(content or ()), random)
    if declared.type.struct is not None:
        return content
    if isinstance(content, int) and not isinstance(content, bool) and random.random() < 0.3:
        return max(content + random.choice((-1, 1)), -1)
    chosen = random.choice(_EDGES[declared.type.kind])
    return prefix + chosen if isinstance(chosen, str) and chosen else chosen


def _other_list(elements: list[object], random: Random) -> list[object]:
    """Empty, one element less, one twice, or in another order."""
    how = random.randrange(4)
    if how == 0 or not elements:
        return []
    if how == 1:
        elements.pop(random.randrange(len(elements)))
    elif how == 2:
        elements.insert(random.randrange(len(elements) + 1), random.choice(elements))
    else:
        random.shuffle(elements)
    return elements
