"""Whole nodes under seeded faults: nothing acknowledged is lost, and everything works again once the faults end."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import pytest

from tests.sim.cluster.mutants import MUTATIONS
from tests.sim.cluster.mutations import run
from tests.sim.cluster.world import Options, World

FIXED = [(1, 1), (1, 3), (2, 3)]
"""Seeds, and how many nodes; `make simulate` has more. What they have found has tests of its own, which do not change
when the simulation does: tests/unit/broker/groups/consumer/test_heartbeats.py (a clock that was set back),
tests/unit/broker/coordinator/test_runtime.py (a timer whose records could not be written),
tests/sim/storage/test_power_cuts.py (names of transaction indexes)."""
NEW_SEEDS = int(os.environ.get("ODRADEK_SIM_NEW_SEEDS", "1"))
MINUTES = 0.6


def check(seed: int, options: Options) -> None:
    result = World(seed, options).run()
    again = (
        f"python -m tests.sim.cluster --seed {seed} --nodes {options.nodes} --brokers {options.brokers}"
        f"{' --separate' * options.separate} --minutes {options.minutes} --trace"
    )
    assert not result.violations, "\n".join([*result.violations, f"again: {again}"])
    assert result.requests > 300, f"hardly anything was done: {again}"
    assert result.faults


@pytest.mark.parametrize(("seed", "nodes"), FIXED)
def test_a_seed(seed: int, nodes: int) -> None:
    check(seed, Options(minutes=MINUTES, nodes=nodes))


@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("number", range(NEW_SEEDS))
def test_a_new_seed(number: int, nodes: int) -> None:
    check(secrets.randbelow(1 << 32), Options(minutes=MINUTES, nodes=nodes))


def test_a_seed_replays_event_for_event() -> None:
    arguments = ["--seed", "2", "--nodes", "3", "--minutes", "0.4", "--digest"]
    digests = [
        subprocess.run(
            [sys.executable, "-m", "tests.sim.cluster", *arguments],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            timeout=100,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert len(digests[0].strip()) == 32
    assert digests[0] == digests[1]


@pytest.mark.parametrize("name", ["one node: recovery drops the last batch", "high watermark from the leader alone"])
def test_a_bug_is_caught(name: str) -> None:
    (mutation,) = [each for each in MUTATIONS if each.name == name]
    assert run(mutation, max_seeds=3) is not None
