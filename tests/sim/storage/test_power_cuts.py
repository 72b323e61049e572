"""Seeded lives of a node whose power is cut and whose disks fail: what was synced stays, and nothing is invented."""

from __future__ import annotations

import os

import pytest

from tests.sim.storage.life import Life

LIVES = int(os.environ.get("ODRADEK_SIM_LIVES", "100"))
"""Each has some forty power cuts; more lives take more time."""
STEPS = 250


@pytest.mark.parametrize("seed", range(LIVES))
def test_nothing_synced_is_lost_and_nothing_is_invented(seed: int) -> None:
    life = Life(seed)
    for _ in range(STEPS):
        life.step()
    life.crash()
    assert life.values > 100
    assert life.cuts >= 20
