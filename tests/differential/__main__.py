"""`python -m tests.differential --seed N --steps M`: prints the seed, and the first difference where there is one."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom

from tests.differential.nodes import Nodes, started
from tests.differential.operations import OPERATIONS
from tests.differential.runner import Finding, Run
from tests.support.apache import Unavailable
from tests.support.targets import ExternalBroker


def main() -> int:
    """Returns the exit code: 1 where answers part, 2 where Apache Kafka cannot be run."""
    asked = _arguments()
    new = asked.new_seeds if asked.seed else max(asked.new_seeds, 1)
    seeds = [*(asked.seed or ()), *(SystemRandom().randrange(1 << 32) for _ in range(new))]
    sys.stdout.write(f"seeds {', '.join(map(str, seeds))}\n")
    sys.stdout.flush()
    try:
        with ExitStack() as stack:
            nodes = _nodes(asked, stack)
            return _run(nodes, asked, seeds)
    except Unavailable as missing:
        sys.stderr.write(f"Apache Kafka cannot be run here: {missing}\n")
        return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--seed", type=int, action="append", help="a seed, or several; a new one by default")
    parser.add_argument("--new-seeds", type=int, default=0, help="further seeds that nobody has tried")
    parser.add_argument("--steps", type=int, default=80, help="requests of a sequence (80)")
    parser.add_argument("--sequences", type=int, default=1, help="sequences for each seed (1)")
    parser.add_argument("--seconds", type=float, default=0.0, help="begin no further sequence after this time")
    parser.add_argument("--only", action="append", choices=sorted(OPERATIONS), help="just these operations")
    parser.add_argument("--keep-going", action="store_true", help="print the first difference of every sequence")
    parser.add_argument("--first", type=int, default=0, help="the first sequence of each seed (0)")
    parser.add_argument("--trace", action="store_true", help="print every request and Odradek's answer")
    parser.add_argument("--names", default="d", help="what all names begin with, where nodes have seen the seed before")
    parser.add_argument("--running", nargs=2, metavar="HOST:PORT", help="nodes that run already: Odradek, Apache Kafka")
    return parser.parse_args()


def _nodes(asked: argparse.Namespace, stack: ExitStack) -> Nodes:
    if asked.running:
        nodes = Nodes(ExternalBroker(asked.running[0]), ExternalBroker(asked.running[1]), asked.names)
        stack.callback(nodes.close)
        nodes.prepare()
        return nodes
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="odradek-differential-"))
    return stack.enter_context(started(Path(directory)))


def _run(nodes: Nodes, asked: argparse.Namespace, seeds: list[int]) -> int:
    trace = (lambda line: print(line, file=sys.stderr)) if asked.trace else None  # noqa: T201 - a command
    kinds: Counter[str] = Counter()
    begun, run = time.monotonic(), 0
    for seed in seeds:
        for number in range(asked.first, asked.first + asked.sequences):
            if asked.seconds and time.monotonic() - begun > asked.seconds:
                break
            run += 1
            found = Run(nodes, f"{seed}-{number}", only=asked.only or (), trace=trace).run(asked.steps)
            if found is None:
                continue
            kinds[_kind(found)] += 1
            if kinds[_kind(found)] == 1:
                sys.stdout.write(f"\nseed {seed}, sequence {number}: {found}\n")
                sys.stdout.flush()
            if not asked.keep_going:
                return 1
    for kind, count in kinds.most_common():
        sys.stdout.write(f"{count:5} {kind}\n")
    sys.stdout.write(f"seeds {', '.join(map(str, seeds))}: {run} sequences, {sum(kinds.values())} with a difference\n")
    return 1 if kinds else 0


def _kind(found: Finding) -> str:
    first = found.differences[0]
    path = re.sub(r"\d+", "*", first.path)
    values = ""
    if isinstance(first.ours, int) and isinstance(first.theirs, int):
        values = f" {first.ours} {first.theirs}" if path.endswith("error_code") else ""
    return f"{type(found.request).__name__} {path}{values}"


if __name__ == "__main__":
    sys.exit(main())
