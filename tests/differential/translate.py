"""A request as the other broker has to be sent it: with its own names for the same things."""

from __future__ import annotations

from typing import TypeVar, cast

from odradek.wire.schema import FieldType, Struct
from tests.differential.ids import Ids
from tests.differential.record_batches import renamed
from tests.differential.rules import id_kind

S = TypeVar("S", bound=Struct)


def translated(value: S, ids: Ids) -> S:
    """A copy with every id that Kafka knows by another one."""
    made = type(value)()
    for declared in value.FIELDS:
        content = getattr(value, declared.name)
        setattr(made, declared.name, _translated(declared.type, id_kind(declared), content, ids))
    return made


def _translated(kind: FieldType[object], names: str | None, content: object, ids: Ids) -> object:
    if content is None:
        return None
    if kind.element is not None:
        return [_translated(kind.element, names, element, ids) for element in cast("list[object]", content)]
    if kind.struct is not None:
        return translated(cast("Struct", content), ids)
    if kind.kind == "records":
        return renamed(bytes(cast("bytes", content)), ids)
    return content if names is None else ids.theirs(names, content)
