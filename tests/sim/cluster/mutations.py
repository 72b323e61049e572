"""`python -m tests.sim.cluster.mutations`: bugs put into the code on purpose, each of which a simulation must catch.

Each replaces a piece of real code by a plausible mistake. Every one is run under seed after seed until an invariant
does not hold; one that survives all seeds says that the simulation is blind to that mistake.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

from odradek.metadata import snapshot
from odradek.node.metadata_log import MetadataLog
from odradek.ports import Promise
from odradek.storage import batches, log, log_loader, recovery
from tests.sim.cluster.world import Options, World

MAX_SEEDS = 12


class Mutation(NamedTuple):
    """A mistake: (object, attribute, what is there instead), all of them at once."""

    name: str
    patches: Callable[[], Iterable[tuple[object, str, object]]]


class Caught(NamedTuple):
    """By which seed, and what it said."""

    seed: int
    violation: str


def run(mutation: Mutation, max_seeds: int = MAX_SEEDS, minutes: float = 1.5) -> Caught | None:
    """Who catches a mutation; None if nobody does."""
    for seed in range(1, max_seeds + 1):
        with ExitStack() as stack:
            for target, attribute, replacement in mutation.patches():
                stack.enter_context(patch.object(target, attribute, replacement))
            result = World(seed, Options(minutes=minutes)).run()
        if result.violations:
            return Caught(seed, result.violations[0])
    return None


def _flush_forgotten() -> Iterable[tuple[object, str, object]]:
    yield log.Log, "flush", lambda _self: None


def _metadata_committed_unflushed() -> Iterable[tuple[object, str, object]]:
    yield MetadataLog, "flush", lambda self: Promise.of(self.end_offset)


def _sequences_unchecked() -> Iterable[tuple[object, str, object]]:
    yield log, "check_leader_append", lambda *_arguments: None


def _recovery_cuts_too_much() -> Iterable[tuple[object, str, object]]:
    original = batches.scan_valid

    def scan(*arguments: object) -> Iterable[object]:
        before = None
        for found in original(*arguments):  # type: ignore[arg-type] # handed on
            if before is not None:
                yield before
            before = found

    yield recovery, "scan_valid", scan


def _recovery_skipped() -> Iterable[tuple[object, str, object]]:
    original = log_loader._Loader.load

    def load(self: log_loader._Loader, high_watermark: int, _is_clean: bool) -> object:
        return original(self, high_watermark, True)

    yield log_loader._Loader, "load", load


def _checksums_ignored() -> Iterable[tuple[object, str, object]]:
    yield recovery, "scan_valid", partial(batches.scan_valid, checks_crc=False)


def _topics_missing_in_snapshots() -> Iterable[tuple[object, str, object]]:
    yield snapshot, "_topics", lambda _image: iter(())


MUTATIONS = (
    Mutation("a record is acknowledged before the flush that flush.messages asks for", _flush_forgotten),
    Mutation("metadata is committed before it is on the disk", _metadata_committed_unflushed),
    Mutation("sequences of producers are not checked", _sequences_unchecked),
    Mutation("recovery drops the last batch", _recovery_cuts_too_much),
    Mutation("a log is not recovered after a crash", _recovery_skipped),
    Mutation("recovery takes batches whose checksum is wrong", _checksums_ignored),
    Mutation("snapshots of the metadata have no topics", _topics_missing_in_snapshots),
)


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
