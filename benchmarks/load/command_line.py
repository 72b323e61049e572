"""What a generator is told and tells: the fields of a frozen dataclass, as its command line and as a line of JSON.

Of the command line's, those without a default come first.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


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


def report(work: Callable[[], DataclassInstance], *failures: type[Exception]) -> int:
    """Write what ``work`` comes to on stdout, or on stderr which of the ``failures`` it was; returns the exit code."""
    try:
        result = work()
    except failures as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(dataclasses.asdict(result)) + "\n")
    return 0


def _is_needed(field: dataclasses.Field[object]) -> bool:
    return field.default is dataclasses.MISSING
