"""Who is told which keys moved."""

from __future__ import annotations

from odradek.broker.replication.watching import Watchers
from tests.unit.fakes import FakeWorld


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def moved(self, key: str) -> None:
        self.told.append(key)

    def wake(self) -> None:
        self.told.append("woken")


def test_all_moves_of_a_turn_are_told_once() -> None:
    world = FakeWorld()
    watchers: Watchers[str] = Watchers(world)
    one, other = Listener(), Listener()
    watchers.watch("a", one)
    watchers.watch("b", one)
    watchers.watch("b", other)
    for key in ("b", "a", "b", "nobody's"):
        watchers.moved(key)
    assert one.told == []
    world.run_soon()
    assert one.told == ["b", "a", "woken"]
    assert other.told == ["b", "woken"]
    world.run_soon()
    assert other.told == ["b", "woken"]


def test_those_who_ask_are_told_before_the_turn_ends_and_woken_then() -> None:
    world = FakeWorld()
    watchers: Watchers[str] = Watchers(world)
    listener = Listener()
    watchers.watch("a", listener)
    watchers.moved("a")
    watchers.tell()
    assert listener.told == ["a"]
    watchers.moved("a")
    world.run_soon()
    assert listener.told == ["a", "a", "woken"]


def test_who_watches_no_more_is_not_told() -> None:
    world = FakeWorld()
    watchers: Watchers[str] = Watchers(world)
    listener = Listener()
    watchers.watch("a", listener)
    watchers.watch("b", listener)
    assert watchers.count == 2
    watchers.moved("a")
    watchers.unwatch("a", listener)
    world.run_soon()
    assert listener.told == []
    assert watchers.count == 1
