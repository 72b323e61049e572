"""All operations by name."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tests.differential.world import Step, World

Make = Callable[[Random, World], list[Step]]


class Operation(NamedTuple):
    """How often an operation is chosen, and what makes its requests: none where the world has no use for it."""

    weight: float
    make: Make


OPERATIONS: dict[str, Operation] = {}


def operation(weight: float) -> Callable[[Make], Make]:
    """Register a function under its name."""

    def register(make: Make) -> Make:
        OPERATIONS[make.__name__] = Operation(weight, make)
        return make

    return register
