from __future__ import annotations

import itertools
import time

import pytest

from benchmarks.load.steady import SteadyLoop


def test_a_sender_that_is_held_up_is_told_when_its_work_was_due() -> None:
    due_s: list[float] = []

    def send(since_s: float) -> None:
        due_s.append(since_s)
        time.sleep(0.005)

    loop = SteadyLoop()
    begun_s = time.perf_counter()
    try:
        elapsed_s = loop.run(4, 1000, send, lambda: True)
    finally:
        loop.close()
    assert due_s[0] >= begun_s
    assert [later - earlier for earlier, later in itertools.pairwise(due_s)] == pytest.approx([0.001] * 3)
    assert elapsed_s >= 0.02
