"""A quorum under crashes, partitions and lost writes: one leader in an epoch, and nothing committed is lost."""

from __future__ import annotations

import os
import random

import pytest

from tests.sim.quorum.run import Run

STEPS = 4000
FIXED = range(8)
FOUND = [1213, 1380]
"""Runs whose voters changed just when the high watermark moved."""
SEEDS = [int(seed) for seed in os.environ.get("ODRADEK_SEED", "").split()] or [
    *FIXED,
    *FOUND,
    random.randrange(1 << 30),
    random.randrange(1 << 30),
]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_committed_stays_and_a_leader_emerges(seed: int) -> None:
    run = Run(seed)
    run.go(STEPS)
    run.heal()
    if seed in FIXED:
        # The runs have to have been some: several leaders, and something committed under them.
        assert len(run.invariants.leaders) > 1
        assert run.invariants.committed_end > 20


@pytest.mark.parametrize("seed", SEEDS)
def test_static_voters_become_dynamic_ones_in_the_middle_of_it(seed: int) -> None:
    run = Run(seed, static=True)
    run.go(STEPS)
    run.heal()


def test_some_of_those_runs_get_as_far_as_that() -> None:
    runs = [Run(seed, static=True) for seed in FIXED]
    for run in runs:
        run.go(STEPS)
    assert any(run.upgrades for run in runs)
