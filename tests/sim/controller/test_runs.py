"""Random lives of brokers under one controller; a failure names its seed, which repeats it."""

from __future__ import annotations

import pytest

from tests.sim.controller.run import Run

STEPS = 400


@pytest.mark.parametrize("seed", range(12))
def test_no_sequence_of_events_breaks_a_promise(seed: int) -> None:
    Run(seed).go(STEPS)
