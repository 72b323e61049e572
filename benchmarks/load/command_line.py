"""The command line of a generator, which is the fields of a frozen dataclass: those without a default come first."""

from __future__ import annotations

import argparse
import dataclasses
from typing import ClassVar, Protocol, TypeVar, get_type_hints


class Options(Protocol):
    """A dataclass whose fields are strings, integers and floating-point numbers."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[object]]]


OptionsType = TypeVar("OptionsType", bound=Options)


def arguments(options: Options) -> list[str]:
    """The command line, behind the program's name, that says the same as ``options``."""
    line: list[str] = []
    for field in dataclasses.fields(options):
        value = str(getattr(options, field.name))
        line += [value] if _is_needed(field) else [f"--{field.name.replace('_', '-')}", value]
    return line


def parse(kind: type[OptionsType], program: str, description: str, argv: list[str]) -> OptionsType:
    """The options of a command line; ends the process where it is not one."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    types = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if _is_needed(field):
            parser.add_argument(field.name, type=types[field.name])
        else:
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=types[field.name], default=field.default)
    return kind(**vars(parser.parse_args(argv)))


def _is_needed(field: dataclasses.Field[object]) -> bool:
    return field.default is dataclasses.MISSING
