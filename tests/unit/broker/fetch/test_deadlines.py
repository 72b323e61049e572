"""One timer lets all that still wait finish when their time is over."""

from __future__ import annotations

import random

from odradek.broker.fetch.deadlines import Deadlines
from odradek.ports import Timing
from tests.unit.fakes import FakeWorld


class _Waiting:
    def __init__(self, world: FakeWorld, deadlines: Deadlines, delay_ms: float) -> None:
        self.due_ms = world.monotonic_ms() + delay_ms
        self.finished_ms: float | None = None
        self.is_done = False
        self._world = world
        self._deadlines = deadlines
        deadlines.add(self, delay_ms)

    def finish(self) -> None:
        self.finished_ms = self._world.monotonic_ms()
        self.answer()

    def answer(self) -> None:
        self.is_done = True
        self._deadlines.done()


def test_each_finishes_when_its_time_is_over_and_what_is_done_does_not() -> None:
    world = FakeWorld()
    random_ = random.Random(1)
    deadlines = Deadlines(Timing(world, world))
    everybody: list[_Waiting] = []
    for _ in range(2_000):
        everybody.append(_Waiting(world, deadlines, random_.choice([0, 3, 50, 500, 5_000])))
        world.advance(random_.choice([0, 0, 1, 7]))
        waiting = random_.choice(everybody)
        if not waiting.is_done:
            waiting.answer()
        assert world.waiting_timers <= 1
    world.advance(6_000)
    assert all(each.is_done for each in everybody)
    late = [each.finished_ms - each.due_ms for each in everybody if each.finished_ms is not None]
    assert len(late) > 100
    assert max(map(abs, late)) <= 1
    assert (len(deadlines), world.waiting_timers) == (0, 0)


def test_what_is_done_is_forgotten() -> None:
    world = FakeWorld()
    deadlines = Deadlines(Timing(world, world))
    for _ in range(10_000):
        _Waiting(world, deadlines, 3_600_000).answer()
    assert len(deadlines) < 200


def test_one_that_is_added_while_others_finish_is_not_late() -> None:
    world = FakeWorld()
    deadlines = Deadlines(Timing(world, world))
    added: list[_Waiting] = []

    class Adds(_Waiting):
        def finish(self) -> None:
            super().finish()
            added.append(_Waiting(world, deadlines, 400))

    Adds(world, deadlines, 100)
    others = [_Waiting(world, deadlines, delay_ms) for delay_ms in (200, 300)]
    world.advance(600)
    assert [each.finished_ms == each.due_ms for each in (*others, *added)] == [True, True, True]
