"""Three nodes under faults, and clients whose history has nothing in it that Kafka rules out.

One cluster and its clients live through all of these. Each test harms something, has it healed, and waits until all
replicas are in sync again and all clients work. ODRADEK_SEED repeats what the clients of a failed run did, as far as
time allows; tests/faults has more of these.
"""

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


def test_the_active_controller_is_killed(trial: Trial) -> None:
    trial.cluster.nodes[trial.controller()].kill()
    time.sleep(SESSION_S)


def test_all_nodes_are_killed_at_once(trial: Trial) -> None:
    trial.cluster.kill()
    trial.may_lose_clients = True


def test_a_leader_hangs_until_others_lead(trial: Trial) -> None:
    trial.cluster.nodes[trial.leader()].pause()
    time.sleep(1.5 * SESSION_S)


def test_nothing_comes_from_a_leader(trial: Trial) -> None:
    out, _ = trial.around(trial.leader())
    trial.network.hold(*out)
    time.sleep(1.5 * SESSION_S)
