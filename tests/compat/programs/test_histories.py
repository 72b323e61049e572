"""The history of random transactional clients, under faults of every kind, has nothing in it that Kafka rules out."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from odradek.checker.history import History, Operation, Outcome, read_history
from odradek.cli import main
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
    checked = CliRunner().invoke(main, ["check", str(run.history)])
    assert checked.exit_code == 0, f"{told}\n{checked.output}"
    assert read_twice(history) == [], told
    assert read_by_none(history) == [], told
    kinds = Counter((operation.kind, operation.outcome) for operation in history.operations)
    assert kinds["txn", Outcome.OK] >= 100, kinds
    assert kinds["txn", Outcome.FAIL] >= 20, kinds
    assert kinds["send", Outcome.OK] >= 100, kinds
    assert kinds["poll", Outcome.OK] >= 100, kinds


Place = tuple[str, int]


def read_twice(history: History) -> list[Place]:
    """What two transactions that succeeded have both polled: their group's offsets were part of them."""
    polled = Counter(
        place
        for operation in history.operations
        if operation.is_transaction and operation.outcome is Outcome.OK
        for place in places(operation)
    )
    return [place for place, count in polled.items() if count > 1]


def read_by_none(history: History) -> list[Place]:
    """What lies before what a successful transaction polled, and was polled by none that may have succeeded."""
    everything: dict[Place, None] = {}
    accounted: dict[Place, None] = {}
    ends: dict[str, int] = {}
    for operation in history.operations:
        if not operation.is_transaction:
            everything |= dict.fromkeys(places(operation))
        elif operation.committing is not None and operation.outcome is not Outcome.FAIL:
            accounted |= dict.fromkeys(places(operation))
            if operation.outcome is Outcome.OK:
                for name, offset in places(operation):
                    ends[name] = max(ends.get(name, 0), offset)
    return [place for place in everything if place not in accounted and place[1] < ends.get(place[0], 0)]


def places(operation: Operation) -> Iterator[Place]:
    """What it polled."""
    for poll in operation.polls():
        for name, records in poll.records.items():
            for offset, _ in records:
                yield name, offset
