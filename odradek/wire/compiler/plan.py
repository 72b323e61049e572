"""What one version of a struct has on the wire, and how small it can be."""

from __future__ import annotations

from odradek.wire.schema import Field, FieldType, Struct, version_range

COUNTED: FieldType[object] = FieldType("array", None)
"""Stands for any array where only the width of its count matters."""


class Plan:
    """What one version of one struct has on the wire."""

    def __init__(self, cls: type[Struct], version: int) -> None:
        self.flexible = version in cls.FLEXIBLE
        self.plain: list[Field] = []
        self.tagged: list[Field] = []
        self.absent: list[Field] = []
        highest = cls.MAX_VERSION
        for declared in cls.FIELDS:
            if version not in version_range(declared.versions, highest):
                self.absent.append(declared)
            elif declared.tag is not None and version in version_range(declared.tagged or declared.versions, highest):
                self.tagged.append(declared)
            else:
                self.plain.append(declared)
        present = {declared.tag for declared in self.tagged}
        self.foreign_tags = [d.tag for d in cls.FIELDS if d.tag is not None and d.tag not in present]
        """Tags that only other versions have: Kafka takes them for an error, not for unknown fields."""


def is_nullable(cls: type[Struct], declared: Field, version: int) -> bool:
    return version in version_range(declared.nullable, cls.MAX_VERSION)


def is_compact(cls: type[Struct], declared: Field, version: int) -> bool:
    if declared.flexible is not None:
        return version in version_range(declared.flexible, cls.MAX_VERSION)
    return version in cls.FLEXIBLE


def min_size(cls: type[Struct], version: int) -> int:
    """The fewest bytes that a value of `cls` can have."""
    plan = Plan(cls, version)
    size = 1 if plan.flexible else 0
    for declared in plan.plain:
        kind = declared.type
        if kind.struct is not None:
            size += 1 if is_nullable(cls, declared, version) else min_size(kind.struct, version)
        elif kind.size:
            size += kind.size
        else:
            size += _prefix_size(kind, is_compact(cls, declared, version))
    return size


def _prefix_size(kind: FieldType[object], compact: bool) -> int:
    if compact:
        return 1
    return 2 if kind.kind == "string" else 4


def element_min_size(element: FieldType[object], version: int, compact: bool) -> int:
    if element.struct is not None:
        return min_size(element.struct, version)
    return element.size or _prefix_size(element, compact)
