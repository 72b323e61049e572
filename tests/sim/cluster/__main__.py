"""`python -m tests.sim.cluster --seed N`: run one simulation, or run it again."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.sim.cluster.world import Options, World


def main() -> int:
    """Returns 1 if an invariant does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.cluster", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from --seed on")
    parser.add_argument("--minutes", type=float, default=1.0, help="simulated, until everything heals")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--trace", action="store_true", help="a line for each thing that happens")
    parser.add_argument("--history", type=Path, help="write what clients saw, for `odradek check`")
    parser.add_argument("--digest", action="store_true", help="print what stands for all that happened, and no figures")
    arguments = parser.parse_args()
    failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        options = Options(minutes=arguments.minutes, faults=not arguments.no_faults, nodes=arguments.nodes)
        world = World(seed, options, _print if arguments.trace else None)
        began = time.process_time()
        result = world.run()
        cpu_seconds = time.process_time() - began
        if arguments.history is not None:
            arguments.history.write_text("".join(f"{line}\n" for line in world.recorder.lines()))
        if arguments.digest:
            _print(result.digest)
            continue
        minutes = result.simulated_ms / 60_000
        _print(
            f"seed {seed}: {minutes:.1f} simulated minutes in {cpu_seconds:.1f} s of CPU "
            f"({minutes * 60 / max(cpu_seconds, 0.001):.0f} a minute), "
            f"{result.requests / result.simulated_ms * 1000:.0f} requests/s, {result.faults} faults, "
            f"{result.boots} boots, {result.events} events, trace {result.digest}"
        )
        for violation in result.violations:
            _print(f"  {violation}")
        failed += bool(result.violations)
    return 1 if failed else 0


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
