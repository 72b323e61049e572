"""Replicated partitions under crashes, cuts, elections and reassignments: nothing that is acknowledged is lost."""

from __future__ import annotations

import os
import random

import pytest

from tests.sim.replication.run import Run

STEPS = 700
SEEDS = [int(seed) for seed in os.environ.get("ODRADEK_SEED", "").split()] or [*range(6), random.randrange(1 << 30)]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_acknowledged_survives(seed: int) -> None:
    run = Run(seed)
    run.go(STEPS)
    # The run has to have been one: records acknowledged, leaders changed.
    assert len(run.acknowledged) > 20
    assert run.cluster.controller.elections > 5
