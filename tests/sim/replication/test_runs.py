"""Replicated partitions under crashes, cuts, elections and reassignments: nothing that is acknowledged is lost."""

from __future__ import annotations

import os
import random

import pytest

from tests.sim.replication.run import Run

STEPS = 700
FOUND = [231, 346]
"""Runs that went wrong once: a follower whose answer was dropped, or whose log was cut, did not hear of the high
watermark any more."""
SEEDS = [int(seed) for seed in os.environ.get("ODRADEK_SEED", "").split()] or [
    *range(5),
    *FOUND,
    random.randrange(1 << 30),
]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_acknowledged_survives(seed: int) -> None:
    run = Run(seed)
    run.go(STEPS)
    # The run has to have been one: records acknowledged, leaders changed.
    assert len(run.acknowledged) > 20
    assert run.cluster.controller.elections > 5
