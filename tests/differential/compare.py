"""Two answers, field by field, under the rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, cast

from odradek.metadata.topic_names import name_fault
from odradek.wire.schema import Field, FieldType, Records, Struct, version_range
from tests.differential.ids import Ids
from tests.differential.record_batches import record_differences
from tests.differential.rules import ANYTHING, SHARED, TEXTS, TIMES, UNORDERED, id_kind, no_id

CLOCKS_APART_MS = 60_000
EARLIEST_CLOCK_MS = 1_750_000_000_000
"""What is earlier was not told by a clock: the records of the tests are from 2023."""


class Difference(NamedTuple):
    """Where two answers part, and what each has there."""

    path: str
    ours: object
    theirs: object

    def __str__(self) -> str:
        return f"{self.path}: Odradek {_shown(self.ours)}, Apache Kafka {_shown(self.theirs)}"


def differences(ours: Struct, theirs: Struct, version: int, ids: Ids, path: str = "") -> Iterator[Difference]:
    """All differences between two values of the same class that the rules do not allow, in the order of the fields."""
    cls = type(ours)
    for declared in cls.FIELDS:
        if (
            version in version_range(declared.versions, cls.MAX_VERSION)
            and (cls.__name__, declared.name) not in ANYTHING
        ):
            yield from _of_field(cls.__name__, declared, (ours, theirs), version, ids, path)


def _of_field(
    owner: str, declared: Field, pair: tuple[Struct, Struct], version: int, ids: Ids, path: str
) -> Iterator[Difference]:
    ours, theirs = getattr(pair[0], declared.name), getattr(pair[1], declared.name)
    where = f"{path}.{declared.name}" if path else declared.name
    if declared.name in TEXTS:
        if (ours is None) != (theirs is None):
            yield Difference(where, ours, theirs)
    elif (owner, declared.name) in TIMES:
        if ours != theirs and (min(ours, theirs) < EARLIEST_CLOCK_MS or abs(ours - theirs) > CLOCKS_APART_MS):
            yield Difference(where, ours, theirs)
    elif declared.type.element is None or ours is None or theirs is None:
        yield from _of_values(declared.type, id_kind(declared), (ours, theirs), version, ids, where)
    else:
        if (owner, declared.name) in SHARED:
            key = SHARED[owner, declared.name]
            ours = [one for one in ours if _is_own(getattr(one, key), ids)]
            theirs = [one for one in theirs if _is_own(getattr(one, key), ids)]
        if (owner, declared.name) in UNORDERED:
            keys = UNORDERED[owner, declared.name]
            ours = sorted(ours, key=lambda one: [str(getattr(one, key)) for key in keys] or [str(one)])
            theirs = sorted(theirs, key=lambda one: [_our_name(one, key, ids) for key in keys] or [str(one)])
        if len(ours) != len(theirs):
            yield Difference(f"len({where})", ours, theirs)
            return
        for index, pair_of_elements in enumerate(zip(ours, theirs, strict=True)):
            element = declared.type.element
            yield from _of_values(element, id_kind(declared), pair_of_elements, version, ids, f"{where}[{index}]")


def _of_values(
    kind: FieldType[object], names: str | None, pair: tuple[object, object], version: int, ids: Ids, path: str
) -> Iterator[Difference]:
    ours, theirs = pair
    if ours is None or theirs is None:
        if ours is not theirs:
            yield Difference(path, ours, theirs)
    elif kind.struct is not None:
        yield from differences(cast("Struct", ours), cast("Struct", theirs), version, ids, path)
    elif kind.kind == "records":
        for where, left, right in record_differences(cast("Records", ours), cast("Records", theirs), ids):
            yield Difference(f"{path}{where}", left, right)
    elif names is not None:
        if not ids.agree(names, ours, theirs, no_id(names)):
            yield Difference(path, ours, theirs)
    elif ours != theirs:
        yield Difference(path, ours, theirs)


def _is_own(name: str | None, ids: Ids) -> bool:
    """Whether this is of the sequence, or of nobody: names that are not valid are answered, too."""
    return not name or name.startswith(ids.prefix) or name_fault(name) is not None


def _our_name(element: Struct, key: str, ids: Ids) -> str:
    """What an element of Kafka's answer is sorted by: an id by what Odradek calls it."""
    declared = next(declared for declared in element.FIELDS if declared.name == key)
    kind = id_kind(declared)
    value = getattr(element, key)
    return str(value if kind is None else ids.ours(kind, value))


def _shown(value: object) -> str:
    text = re.sub(r"(.)\1{40,}", r"\1...", repr(value))
    return text if len(text) <= 1500 else f"{text[:1500]}..."
