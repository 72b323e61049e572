"""Makes constructors."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from odradek.wire.compiler.source import Source, default_expression
from odradek.wire.schema import KAFKA_DEFAULT, Struct

if TYPE_CHECKING:
    from collections.abc import Callable


def compile_init(cls: type[Struct]) -> Callable[..., None]:
    """The constructor: keyword arguments, each with its default."""
    source = Source()
    parameters = ["unknown_tags=()"]
    for declared in cls.FIELDS:
        if declared.default is KAFKA_DEFAULT:
            parameters.append(f"{declared.name}=MISSING")
            made = default_expression(source, declared)
            source.add(f"self.{declared.name} = {made} if {declared.name} is MISSING else {declared.name}")
        else:
            parameters.append(f"{declared.name}={default_expression(source, declared)}")
            source.add(f"self.{declared.name} = {declared.name}")
    source.constants["MISSING"] = KAFKA_DEFAULT
    source.add("self.unknown_tags = unknown_tags")
    return cast("Callable[..., None]", source.function(f"def __init__(self, *, {', '.join(parameters)}):"))
