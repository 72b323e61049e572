"""Controllers as processes: static voters, and voters that join and leave while the quorum goes on (KIP-853)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from odradek.wire.errors import ErrorCode
from odradek.wire.uuids import ZERO_UUID
from tests.support.process import wait_for
from tests.support.quorum import SAFE_DOWNGRADE, Controllers, eventually

Make = Callable[[Controllers], Controllers]


@pytest.fixture
def made() -> Iterator[Make]:
    """Ends the controllers that a test made."""
    running: list[Controllers] = []

    def keep(controllers: Controllers) -> Controllers:
        running.append(controllers)
        return controllers

    yield keep
    for controllers in running:
        controllers.kill()


def start(controllers: Controllers, *ids: int) -> None:
    for node_id in ids:
        controllers.nodes[node_id].launch()
    for node_id in ids:
        controllers.nodes[node_id].await_ready()


def test_static_voters_fail_over_and_once_upgraded_can_change(tmp_path: Path, made: Make) -> None:
    controllers = made(Controllers(tmp_path, (1, 2, 3, 4), voters=(1, 2, 3)))
    for node_id in (1, 2, 3):
        controllers.add(node_id)
    start(controllers, 1, 2, 3)
    assert controllers.level("kraft.version") == 0
    assert controllers.voters() == {1: ZERO_UUID, 2: ZERO_UUID, 3: ZERO_UUID}

    first = controllers.leader()
    controllers.nodes[first].kill()
    assert controllers.leader() != first
    assert controllers.update("kraft.version", 1), "the new leader has not heard of what that one supports"
    start(controllers, first)
    wait_for(lambda: not controllers.update("kraft.version", 1, validate_only=True), "all have said what they support")
    assert controllers.level("kraft.version") == 0
    assert controllers.update("kraft.version", 1) == ""
    named = {node_id: controllers.directory_id(node_id) for node_id in (1, 2, 3)}
    assert (controllers.level("kraft.version"), controllers.voters()) == (1, named)
    assert "Can't downgrade the version of this feature." in controllers.update("kraft.version", 0, SAFE_DOWNGRADE)

    for node in controllers.nodes.values():
        node.kill()
    start(controllers, 1, 2, 3)
    assert (controllers.level("kraft.version"), controllers.voters()) == (1, named)

    controllers.add(4, "--no-initial-controllers")
    start(controllers, 4)
    eventually(lambda: controllers.add_voter(4), "a fourth voter")
    assert set(controllers.voters()) == {1, 2, 3, 4}


def test_controllers_join_and_leave_and_the_leader_itself(tmp_path: Path, made: Make) -> None:
    controllers = made(Controllers(tmp_path, (1, 2, 3)))
    controllers.add(1, "--standalone")
    controllers.add(2, "--no-initial-controllers")
    controllers.add(3, "--no-initial-controllers", controller_quorum_auto_join_enable="true")
    start(controllers, 1, 2, 3)
    wait_for(lambda: set(controllers.voters()) == {1, 3}, "the one that may join by itself does")
    eventually(lambda: controllers.add_voter(2), "the other is added")
    assert set(controllers.voters()) == {1, 2, 3}
    assert controllers.add_voter(2) is ErrorCode.DUPLICATE_VOTER

    leader = controllers.leader()
    eventually(lambda: controllers.remove_voter(leader), "the leader is removed")
    wait_for(lambda: controllers.leader() != leader, "another one leads")
    follower = next(each for each in (1, 2, 3) if each not in (leader, controllers.leader()))
    if 3 not in (leader, follower):
        assert set(controllers.voters()) == {1, 2, 3} - {leader}
    controllers.nodes[follower].stop()
    controllers.nodes[follower].start()
    assert controllers.update("group.version", 0, SAFE_DOWNGRADE) == ""
