"""`python -m tests.sim.cluster --seed N`: run one simulation, or run it again; or many, some under new seeds."""

from __future__ import annotations

import argparse
import gc
import secrets
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.sim.cluster.world import Options, Result, World

_MINUTE_MS = 60_000


class Run(NamedTuple):
    """A simulation that is over."""

    result: Result
    cpu_seconds: float


def simulate(options: Options, seed: int) -> Run:
    """Run one."""
    # A simulation collects its garbage itself, and must not be followed by a collection of all that is still there.
    gc.disable()
    began = time.process_time()
    result = World(seed, options).run()
    return Run(result, time.process_time() - began)


def main() -> int:
    """Returns 1 if an invariant does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.cluster", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from --seed on")
    parser.add_argument("--new-seeds", type=int, default=0, help="how many that nobody has tried, before the others")
    parser.add_argument("--minutes", type=float, default=1.0, help="simulated, until everything heals")
    parser.add_argument("--nodes", type=int, default=1, help="of the quorum, brokers and controllers in one")
    parser.add_argument("--brokers", type=int, default=0, help="that are brokers only, and join a little later")
    parser.add_argument("--separate", action="store_true", help="the nodes of the quorum are controllers only")
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time, each in a process of its own")
    parser.add_argument("--trace", action="store_true", help="a line for each thing that happens; of one seed")
    parser.add_argument("--history", type=Path, help="write what clients saw, for `odradek check`; of one seed")
    parser.add_argument("--digest", action="store_true", help="print what stands for all that happened; of one seed")
    arguments = parser.parse_args()
    options = Options(
        minutes=arguments.minutes,
        faults=not arguments.no_faults,
        nodes=arguments.nodes,
        brokers=arguments.brokers,
        separate=arguments.separate,
    )
    if arguments.trace or arguments.history is not None or arguments.digest:
        return _look_at_one(arguments, options)
    new = [secrets.randbelow(1 << 32) for _ in range(arguments.new_seeds)]
    if new:
        _print(f"new seeds: {' '.join(str(seed) for seed in new)}")
    seeds = [*new, *range(arguments.seed, arguments.seed + arguments.seeds)]
    if arguments.jobs == 1:
        runs = [_shown(options, simulate(options, seed)) for seed in seeds]
    else:
        with ProcessPoolExecutor(arguments.jobs) as pool:
            runs = [_shown(options, run) for run in pool.map(partial(simulate, options), seeds)]
    return _summary(runs)


def _look_at_one(arguments: argparse.Namespace, options: Options) -> int:
    world = World(arguments.seed, options, _print if arguments.trace else None)
    result = world.run()
    if arguments.history is not None:
        arguments.history.write_text("".join(f"{line}\n" for line in world.recorder.lines()))
    if arguments.digest:
        _print(result.digest)
    for violation in result.violations:
        _print(f"  {violation}")
    return 1 if result.violations else 0


def _shown(options: Options, run: Run) -> Run:
    result = run.result
    minutes = result.simulated_ms / _MINUTE_MS
    _print(
        f"seed {result.seed}: {minutes:.1f} simulated minutes in {run.cpu_seconds:.1f} s of CPU, "
        f"{result.requests / result.simulated_ms * 1000:.0f} requests/s, {result.faults} faults, "
        f"{result.boots} boots, {result.events} events, trace {result.digest}"
    )
    for violation in result.violations:
        _print(f"  {violation}")
    if result.violations:
        _print(
            f"  again: python -m tests.sim.cluster --seed {result.seed} --nodes {options.nodes} "
            f"--brokers {options.brokers}{' --separate' * options.separate} --minutes {options.minutes} --trace"
        )
    return run


def _summary(runs: list[Run]) -> int:
    minutes = sum(run.result.simulated_ms for run in runs) / _MINUTE_MS
    cpu_minutes = sum(run.cpu_seconds for run in runs) / 60
    requests = sum(run.result.requests for run in runs)
    faults = sum(run.result.faults for run in runs)
    failed = [run.result.seed for run in runs if run.result.violations]
    _print(
        f"{len(runs)} seeds: {minutes:.0f} simulated minutes, {minutes / max(cpu_minutes, 1e-6):.0f} a minute of CPU, "
        f"{requests / minutes / 60:.0f} requests/s, a fault every {minutes * 60 / max(faults, 1):.0f} s; "
        f"{f'FAILED: {failed}' if failed else 'all held'}"
    )
    return 1 if failed else 0


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
