"""Requests that wait."""

from __future__ import annotations

import pytest

from odradek.broker.replication.waiting import WaitingRoom
from tests.unit.fakes import FakeWorld


class Scene:
    """A room, what is ready in it, and who finished when."""

    def __init__(self) -> None:
        self.world = FakeWorld()
        self.room: WaitingRoom[str] = WaitingRoom(self.world)
        self.ready: dict[str, bool] = {}
        self.asked: list[str] = []
        self.finished: list[str] = []

    def park(self, name: str, *keys: str, timeout_ms: float = 1000) -> None:
        def is_ready() -> bool:
            self.asked.append(name)
            return self.ready.get(name, False)

        self.room.park(keys, is_ready=is_ready, finish=lambda: self.finished.append(name), timeout_ms=timeout_ms)


def test_a_move_wakes_those_who_watch_it_and_are_ready() -> None:
    scene = Scene()
    scene.park("a", "x")
    scene.park("b", "x", "y")
    scene.park("c", "z")
    scene.ready = {"a": True, "b": False, "c": True}
    scene.room.moved("x")
    scene.world.run_soon()
    assert scene.finished == ["a"]
    assert scene.asked == ["a", "b"]
    scene.ready["b"] = True
    scene.room.moved("y")
    scene.world.run_soon()
    assert scene.finished == ["a", "b"]


def test_many_moves_in_one_turn_ask_once() -> None:
    scene = Scene()
    scene.park("a", "x", "y")
    for _ in range(5):
        scene.room.moved("x")
        scene.room.moved("y")
    scene.world.run_soon()
    assert scene.asked == ["a"]


def test_the_time_out_finishes_whoever_is_not_ready_and_only_once() -> None:
    scene = Scene()
    scene.park("a", "x", timeout_ms=100)
    scene.world.advance(99)
    assert scene.finished == []
    scene.world.advance(1)
    assert scene.finished == ["a"]
    scene.ready["a"] = True
    scene.room.moved("x")
    scene.world.advance(1000)
    assert scene.finished == ["a"]


def test_the_room_is_empty_when_all_have_left() -> None:
    scene = Scene()
    scene.park("a", "x", "y")
    scene.park("b", "y")
    assert len(scene.room) == 2
    scene.ready["a"] = True
    scene.room.moved("x")
    scene.world.run_soon()
    assert len(scene.room) == 1
    scene.world.advance(1000)
    assert len(scene.room) == 0


def test_a_question_that_fails_finishes_its_waiter_and_the_others_are_still_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()

    def is_ready() -> bool:
        raise RuntimeError("the partition is odd")

    scene.room.park(["x"], is_ready=is_ready, finish=lambda: scene.finished.append("odd"), timeout_ms=1000)
    scene.park("a", "x")
    scene.ready["a"] = True
    scene.room.moved("x")
    scene.world.run_soon()
    assert scene.finished == ["odd", "a"]
    assert "the partition is odd" in caplog.text
    assert len(scene.room) == 0


def test_all_can_be_finished_before_their_time() -> None:
    scene = Scene()
    scene.park("a", "x", "y")
    scene.park("b", "y")
    scene.room.finish_all()
    assert scene.finished == []
    scene.world.run_soon()
    assert scene.finished == ["a", "b"]
    scene.world.advance(1000)
    assert scene.finished == ["a", "b"]
    assert len(scene.room) == 0
