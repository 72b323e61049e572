"""A minute of random faults, one or two at a time, of nodes, of the network between them, and of clients."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Sequence

import pytest

from tests.support.histories.fleet import Part
from tests.support.histories.trial import LINUX_ONLY, WILD, Trial, new_seed
from tests.support.network import Link

DURATION_S = float(os.environ.get("ODRADEK_FAULTS_S", "60"))

pytestmark = [LINUX_ONLY, pytest.mark.timeout(DURATION_S + 180)]


class Faults:
    """Each makes one, with what it is in the trial's notes; healing ends them all."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._chance = trial.chance
        self._kinds: list[tuple[int, Callable[[], None]]] = [
            (4, self._kill_node),
            (2, self._kill_controller),
            (1, self._kill_all),
            (3, self._pause_node),
            (2, self._stop_node),
            (4, self._isolate),
            (3, self._harm_link),
            (2, self._delay),
            (1, self._reset),
            (2, self._kill_client),
            (1, self._haunt_client),
        ]

    def one(self) -> None:
        """Any of them."""
        ((_, make),) = self._chance.choices(self._kinds, [weight for weight, _ in self._kinds])
        make()

    def _kill_node(self) -> None:
        self._kill(self._chance.choice(list(self._trial.cluster.nodes)))

    def _kill_controller(self) -> None:
        """Or any node, where the fault before this one has left no controller."""
        found = self._trial.controller_now()
        if found is None:
            self._kill_node()
        else:
            self._kill(found)

    def _kill(self, node_id: int) -> None:
        node = self._trial.cluster.nodes[node_id]
        if node.running:
            self._trial.note(f"node {node_id} is killed")
            node.kill()

    def _kill_all(self) -> None:
        self._trial.note("all nodes are killed")
        self._trial.cluster.kill()

    def _pause_node(self) -> None:
        node_id = self._chance.choice(list(self._trial.cluster.nodes))
        node = self._trial.cluster.nodes[node_id]
        if node.running:
            self._trial.note(f"node {node_id} hangs")
            node.pause()

    def _stop_node(self) -> None:
        node_id = self._chance.choice(list(self._trial.cluster.nodes))
        node = self._trial.cluster.nodes[node_id]
        if node.running:
            self._trial.note(f"node {node_id} is told to stop")
            # It may hang, or not reach the others.
            node.resume()
            self._trial.network.heal()
            node.stop()

    def _isolate(self) -> None:
        node_id = self._chance.choice(list(self._trial.cluster.nodes))
        out, back = self._trial.around(node_id)
        self._harm(self._chance.choice([out, back, out + back, out + back]))

    def _harm_link(self) -> None:
        links = [Link(*pair) for pair in itertools.permutations(self._trial.cluster.nodes, 2)]
        self._harm(self._chance.sample(links, self._chance.randint(1, 2)))

    def _harm(self, links: Sequence[Link]) -> None:
        shown = ", ".join(f"{link.source} to {link.target}" for link in links)
        if self._chance.random() < 0.7:
            self._trial.note(f"nothing passes from {shown}")
            self._trial.network.hold(*links)
        else:
            self._trial.note(f"no connections from {shown}")
            self._trial.network.cut(*links)

    def _delay(self) -> None:
        delay_s = self._chance.uniform(0.02, 0.4)
        links = [Link(*pair) for pair in itertools.permutations(self._trial.cluster.nodes, 2)]
        slow = self._chance.sample(links, self._chance.randint(1, len(links)))
        self._trial.note(f"{len(slow)} links are {delay_s * 1000:.0f} ms slower")
        self._trial.network.delay(delay_s, *slow)

    def _reset(self) -> None:
        self._trial.note("all connections between nodes are lost")
        self._trial.network.reset(*[Link(*pair) for pair in itertools.permutations(self._trial.cluster.nodes, 2)])

    def _kill_client(self) -> None:
        slot = self._chance.choice(list(self._trial.fleet.parts))
        self._trial.note(f"client {slot} is killed")
        self._trial.fleet.kill(slot)

    def _haunt_client(self) -> None:
        slot = self._chance.choice(list(self._trial.fleet.transactional_ids))
        self._trial.note(f"client {slot} hangs until its successor has come up")
        self._trial.fleet.haunt(slot, self._chance.uniform(1.0, 4.0))


def parts(protocol: str) -> dict[str, Part]:
    """All clients, those in the group that reads in transactions with this protocol."""
    return {
        slot: part._replace(protocol=protocol) if part.role == "transactor" else part for slot, part in WILD.items()
    }


def test_a_minute_of_random_faults() -> None:
    seed = new_seed()
    with Trial.held(seed, parts(random.Random(seed).choice(("classic", "consumer")))) as trial:
        faults = Faults(trial)
        while trial.age_s < DURATION_S:
            trial.fleet.let_pass(trial.chance.uniform(0.5, 3.0))
            faults.one()
            if trial.chance.random() < 0.4:
                trial.fleet.let_pass(trial.chance.uniform(0.1, 1.0))
                faults.one()
            trial.fleet.let_pass(trial.chance.choice((0.3, 1.0, 2.0, 4.0)))
            trial.heal()
        trial.may_lose_clients = True
        with trial.ordeal("no more faults"):
            pass
