"""`python -m tests.faults.mutations`: bugs put into real nodes on purpose, each of which the history must show.

Most are of those of `python -m tests.sim.cluster.mutations`. A leader that nobody hears any more is killed while
clients still write to it, and comes back.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from unittest.mock import patch

from odradek.broker.api.produce import ProduceApi
from odradek.ports import Promise
from tests.sim.cluster.mutants import MUTATIONS, Mutation
from tests.support.cluster import Node
from tests.support.histories.trial import CALM, SESSION_S, Trial
from tests.support.odradek import ROOT

NAMES = (
    "acks=all answered at once",
    "high watermark from the leader alone",
    "consumers read past the high watermark",
    "followers do not truncate",
)
ROUNDS = 4
OWN = Mutation(
    NAMES[0],
    3,
    lambda: [(ProduceApi, "_wait", lambda _self, _context, _request, response, _uncommitted: Promise.of(response))],
)
_NODE = "--node"


class Mutant(Node):
    """A node with a bug."""

    mutation = ""

    def launch(self) -> None:
        argv = [sys.executable, "-m", "tests.faults.mutations", _NODE, self.mutation]
        self._spawn([*argv, "serve", "--config", str(self.config)], pipe_stdout=True, env={"PYTHONPATH": str(ROOT)})


def serve(mutation: str, arguments: list[str]) -> None:
    """The `odradek` command with a bug in it."""
    from odradek.cli import main as odradek

    (meant,) = (each for each in (OWN, *MUTATIONS) if each.name == mutation)
    with ExitStack() as stack:
        for target, attribute, replacement in meant.patches():
            stack.enter_context(patch.object(target, attribute, replacement))
        odradek(arguments)


def run(mutation: str, seed: int) -> str | None:
    """How it shows; None if it does not."""
    kind = type("Mutant", (Mutant,), {"mutation": mutation}) if mutation else Node
    try:
        with Trial.held(seed, CALM, kind=kind) as trial:
            for _ in range(ROUNDS):
                with trial.ordeal("a leader that nobody hears is killed"):
                    leader = trial.leader()
                    out, back = trial.around(leader)
                    trial.network.hold(*out, *back)
                    time.sleep(0.5 * SESSION_S)
                    trial.cluster.nodes[leader].kill()
                    trial.network.heal()
                    time.sleep(SESSION_S)
    except (AssertionError, OSError) as found:
        return f"{type(found).__name__}: {found}"
    return None


def main() -> int:
    """Returns 1 if one is not caught, or if something is found without any."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutations", description=__doc__)
    parser.add_argument("--only", default="", help="those whose name has this in it")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    missed = 0
    for name in ("", *NAMES):
        if arguments.only in name:
            found = run(name, arguments.seed)
            missed += (found is None) != (name == "")
            said = "nothing" if found is None else found[:2000]
            sys.stdout.write(f"== {name or 'without a bug'}: {said}\n")
            sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    if _NODE in sys.argv:
        serve(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
