"""`python -m tests.sim.cluster.mutations`: bugs put into the code on purpose, each of which a simulation must catch.

Each replaces a piece of real code by a plausible mistake. Every one is run under seed after seed until it is caught;
one that survives all seeds says that the simulations are blind to that mistake. Caught it is by a seed that holds
without it, and by an invariant that has a name: one that a simulation looks at, that all becomes available again in
time, or that nodes report no errors that they did not foresee. An exception in a simulation's own code proves nothing,
and ends the command.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

from tests.sim.cluster.mutants import MUTATIONS, Mutation
from tests.sim.cluster.named import NAMES
from tests.sim.cluster.world import Options, World
from tests.sim.quorum.invariants import Violation
from tests.sim.quorum.run import Run as QuorumRun

MAX_SEEDS = 40
MINUTES = 1.5
QUORUM_STEPS = 4000


class Caught(NamedTuple):
    """By which seed, and what it said."""

    seed: int
    violation: str


def run(mutation: Mutation, max_seeds: int = MAX_SEEDS) -> Caught | None:
    """Who catches a mutation; None if nobody does."""
    simulate = _SIMULATIONS[mutation.simulation]
    for seed in range(1, max_seeds + 1):
        with ExitStack() as stack:
            for target, attribute, replacement in mutation.patches():
                stack.enter_context(patch.object(target, attribute, replacement))
            violation = simulate(seed, mutation)
        if violation is not None:
            without = simulate(seed, mutation)
            assert without is None, f"seed {seed} goes wrong without a mutation, too: {without}"
            return Caught(seed, violation)
    return None


def _cluster(seed: int, mutation: Mutation) -> str | None:
    violations = World(seed, Options(minutes=MINUTES, nodes=mutation.nodes)).run().violations
    if not violations:
        return None
    assert violations[0].startswith(NAMES), "a violation is of an invariant"
    return violations[0]


def _quorum(seed: int, _mutation: Mutation) -> str | None:
    simulation = QuorumRun(seed)
    try:
        simulation.go(QUORUM_STEPS)
        simulation.heal()
    except Violation as violation:
        return str(violation)
    return None


_SIMULATIONS: dict[str, Callable[[int, Mutation], str | None]] = {"cluster": _cluster, "quorum": _quorum}


class Line(NamedTuple):
    """Of the table at the end."""

    name: str
    simulation: str
    caught: Caught | None
    cpu_seconds: float

    def __str__(self) -> str:
        found = "NOT CAUGHT" if self.caught is None else f"seed {self.caught.seed}"
        said = "" if self.caught is None else self.caught.violation.partition(":")[0]
        return f"{self.name:68} {self.simulation:8} {found:10} {self.cpu_seconds:6.1f} s  {said}"


def measure(name: str, max_seeds: int) -> Line:
    """Run one by its name."""
    (mutation,) = (each for each in MUTATIONS if each.name == name)
    gc.disable()  # as in `__main__.simulate`
    began = time.process_time()
    caught = run(mutation, max_seeds)
    return Line(name, mutation.simulation, caught, time.process_time() - began)


def main() -> int:
    """Returns 1 if one is not caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.cluster.mutations", description=__doc__)
    parser.add_argument("--only", default="", help="those whose name has this in it")
    parser.add_argument("--seeds", type=int, default=MAX_SEEDS, help="how many to try at most")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time, each in a process of its own")
    arguments = parser.parse_args()
    chosen = [mutation.name for mutation in MUTATIONS if arguments.only in mutation.name]
    lines: list[Line] = []
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for line in pool.map(partial(measure, max_seeds=arguments.seeds), chosen):
            lines.append(line)
            caught = line.caught
            said = "NOT CAUGHT" if caught is None else f"seed {caught.seed}: {caught.violation.splitlines()[0][:160]}"
            _print(f"[{len(lines)}/{len(chosen)}] {line.name} ({line.cpu_seconds:.1f} s)\n    {said}")
    missed = [line for line in lines if line.caught is None]
    _print("\n" + "\n".join(str(line) for line in lines))
    _print(f"{len(lines) - len(missed)} of {len(lines)} caught, {sum(line.cpu_seconds for line in lines):.0f} s of CPU")
    return 1 if missed else 0


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
