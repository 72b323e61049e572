"""The history of random transactional clients, under faults of every kind, has nothing in it that Kafka rules out."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from odradek.checker.history import Outcome, read_history
from tests.support.histories.checks import anomalies
from tests.support.histories.run import Run
from tests.support.process import BrokerProcess
from tests.support.requests import connect, create_topic

pytestmark = [pytest.mark.owns_broker, pytest.mark.timeout(240)]

DURATION_S = 45.0
SEED_VARIABLE = "ODRADEK_SEED"
SETTINGS = {
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "200",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
}


def test_a_minute_of_random_transactions_under_faults(
    own_broker: Callable[..., BrokerProcess], unique: Callable[[str], str], tmp_path: Path
) -> None:
    """Crashes, pauses, zombies and a broker that is killed. ODRADEK_SEED repeats what a failed run did."""
    seed = int(os.environ.get(SEED_VARIABLE, random.SystemRandom().randrange(1 << 32)))
    broker, topic = own_broker(SETTINGS), unique("topic")
    with connect(broker) as connection:
        create_topic(connection, topic, 4)
    run = Run(broker, topic, tmp_path, seed)
    try:
        run.go(DURATION_S)
    except BaseException as failed:
        failed.add_note(f"{SEED_VARIABLE}={seed}, faults: {run.faults}")
        raise
    told = f"{SEED_VARIABLE}={seed}, faults: {run.faults}, the history is {run.history}"
    with run.history.open(encoding="utf-8") as lines:
        history = read_history(lines)
    assert anomalies(run.history) == [], told
    kinds = Counter((operation.kind, operation.outcome) for operation in history.operations)
    assert kinds["txn", Outcome.OK] >= 100, kinds
    assert kinds["txn", Outcome.FAIL] >= 20, kinds
    assert kinds["send", Outcome.OK] >= 100, kinds
    assert kinds["poll", Outcome.OK] >= 100, kinds
