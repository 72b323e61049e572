"""A minute in the life of random clients: they and their broker are killed and paused, and all is recorded."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.support.histories.drain import Drain
from tests.support.histories.fleet import Fleet, Part, Workplace
from tests.support.process import BrokerProcess

PARTITIONS = 4
TRANSACTORS = 3
PARTS = {
    **{f"t{number}": Part("transactor") for number in range(TRANSACTORS)},
    "s0": Part("sender"),
    "p0": Part("poller"),
}
BROKER_KILLS = 2


class Run:
    """One broker with a topic, clients by slot, and the history of all their lives."""

    def __init__(self, broker: BrokerProcess, topic: str, directory: Path, seed: int) -> None:
        self.history = directory / "history.jsonl"
        self.faults: list[str] = []
        self._broker = broker
        self._chance = random.Random(seed)
        self._fleet = Fleet(Workplace(broker.bootstrap, topic, PARTITIONS, self.history, seed), PARTS, directory)
        self._kills_left = BROKER_KILLS

    def go(self, duration_s: float) -> None:
        """Let the clients work under faults, then end them, and read everything to its end."""
        deadline = time.monotonic() + duration_s
        fleet = self._fleet
        try:
            fleet.start_all()
            while time.monotonic() < deadline:
                fleet.let_pass(self._chance.uniform(0.5, 2.0))
                self._chance.choice(
                    (self._kill_client, self._kill_client, self._make_zombie, self._pause_client, self._harm_broker)
                )()
            fleet.let_pass(2.0)
            fleet.stop()
            Drain(fleet.workplace).run(fleet.transactional_ids.values())
        finally:
            fleet.close()

    def _kill_client(self) -> None:
        slot = self._chance.choice(list(PARTS))
        self.faults.append(f"kill {slot}")
        self._fleet.kill(slot)

    def _make_zombie(self) -> None:
        slot = self._chance.choice(list(self._fleet.transactional_ids))
        self.faults.append(f"zombie of {slot}")
        self._fleet.haunt(slot, self._chance.uniform(1.0, 5.0))

    def _pause_client(self) -> None:
        slot = self._chance.choice(list(PARTS))
        self.faults.append(f"pause {slot}")
        self._fleet.pause(slot, self._chance.uniform(0.5, 5.0))

    def _harm_broker(self) -> None:
        if self._kills_left and self._chance.random() < 0.6:
            self._kills_left -= 1
            self.faults.append("kill broker")
            self._broker.restart(kill=True)
        else:
            self.faults.append("pause broker")
            self._broker.pause()
            self._fleet.let_pass(self._chance.uniform(0.2, 2.0))
            self._broker.resume()
