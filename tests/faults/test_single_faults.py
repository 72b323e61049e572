"""One fault after the other, as in tests/cluster/test_faults.py."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.histories.trial import CALM, LINUX_ONLY, SESSION_S, Trial, new_seed

pytestmark = LINUX_ONLY


@pytest.fixture(scope="module")
def started() -> Iterator[Trial]:
    with Trial.held(new_seed(), CALM) as trial:
        yield trial


@pytest.fixture
def trial(started: Trial, request: pytest.FixtureRequest) -> Iterator[Trial]:
    with started.ordeal(request.node.name):
        yield started


def test_the_leader_of_a_partition_is_killed(trial: Trial) -> None:
    trial.cluster.nodes[trial.leader()].kill()
    time.sleep(SESSION_S)


def test_a_leader_is_cut_off_from_the_others(trial: Trial) -> None:
    out, back = trial.around(trial.leader())
    trial.network.cut(*out, *back)
    time.sleep(2 * SESSION_S)


def test_a_leader_that_is_cut_off_is_killed(trial: Trial) -> None:
    leader = trial.leader()
    out, back = trial.around(leader)
    trial.network.hold(*out, *back)
    time.sleep(0.3 * SESSION_S)
    trial.cluster.nodes[leader].kill()
    time.sleep(SESSION_S)


def test_nothing_comes_to_a_leader(trial: Trial) -> None:
    _, back = trial.around(trial.leader())
    trial.network.hold(*back)
    time.sleep(2 * SESSION_S)


def test_nothing_comes_to_the_active_controller(trial: Trial) -> None:
    _, back = trial.around(trial.controller())
    trial.network.hold(*back)
    time.sleep(2 * SESSION_S)


def test_the_active_controller_hangs(trial: Trial) -> None:
    trial.cluster.nodes[trial.controller()].pause()
    time.sleep(2 * SESSION_S)


def test_all_links_are_slow(trial: Trial) -> None:
    for node_id in trial.cluster.nodes:
        trial.network.delay(0.1, *trial.around(node_id)[0])
    time.sleep(2.0)


def test_nodes_are_restarted_one_after_the_other_and_no_application_is_told_of_an_error(trial: Trial) -> None:
    trial.errors()
    for node in trial.cluster.nodes.values():
        assert node.stop() == 0
        node.start()
        trial.recover()
    assert trial.errors() == []
