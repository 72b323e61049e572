"""`python -m tests.sim.cluster.mutations`: bugs put into the code on purpose, each of which a simulation must catch.

Each replaces a piece of real code by a plausible mistake. Every one is run under seed after seed until an invariant
does not hold; one that survives all seeds says that the simulation is blind to that mistake.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from typing import NamedTuple
from unittest.mock import patch

from tests.sim.cluster.mutants import MUTATIONS, Mutation
from tests.sim.cluster.world import Options, World

MAX_SEEDS = 12


class Caught(NamedTuple):
    """By which seed, and what it said."""

    seed: int
    violation: str


def run(mutation: Mutation, max_seeds: int = MAX_SEEDS, minutes: float = 1.5) -> Caught | None:
    """Who catches a mutation; None if nobody does. Whatever the code raises for it counts, too."""
    for seed in range(1, max_seeds + 1):
        with ExitStack() as stack:
            for target, attribute, replacement in mutation.patches():
                stack.enter_context(patch.object(target, attribute, replacement))
            try:
                violations = World(seed, Options(minutes=minutes, nodes=mutation.nodes)).run().violations
            except Exception as error:  # noqa: BLE001 - shown; it ends that simulation
                violations = [f"{type(error).__name__}: {error}"]
        if violations:
            return Caught(seed, violations[0])
    return None


def main() -> int:
    """Returns 1 if one is not caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.cluster.mutations", description=__doc__)
    parser.add_argument("--only", default="", help="those whose name has this in it")
    parser.add_argument("--seeds", type=int, default=MAX_SEEDS)
    arguments = parser.parse_args()
    missed = 0
    for mutation in MUTATIONS:
        if arguments.only not in mutation.name:
            continue
        began = time.process_time()
        caught = run(mutation, arguments.seeds)
        missed += caught is None
        said = "NOT CAUGHT" if caught is None else f"seed {caught.seed}: {caught.violation.splitlines()[0][:120]}"
        sys.stdout.write(f"{mutation.name}\n    {said} ({time.process_time() - began:.0f} s)\n")
        sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
