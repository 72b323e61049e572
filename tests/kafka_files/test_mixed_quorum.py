"""A quorum whose voters are of both kinds: an Apache Kafka controller joins ours, follows, votes, and may lead."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from odradek.wire.errors import ErrorCode
from odradek.wire.uuids import ZERO_UUID
from tests.support.apache import ApacheKafka, Unavailable
from tests.support.cluster import CLUSTER_ID
from tests.support.process import HOST, wait_for
from tests.support.quorum import QUICK, SAFE_DOWNGRADE, UPGRADE, Controllers, eventually

OURS, THEIRS = (1, 3), 2
JOIN_TIMEOUT_S = 60.0


class ApacheController(ApacheKafka):
    """A controller of Apache Kafka that joins by itself."""

    def join(self, controllers: Controllers) -> None:
        """Format and start it as a node that is no voter yet."""
        quorum = {
            "controller.quorum.bootstrap.servers": controllers.servers,
            "controller.quorum.auto.join.enable": "true",
        }
        self._prepare(controllers, quorum, "--no-initial-controllers")
        self.launch()

    def take_part(self, controllers: Controllers) -> None:
        """Format and start it as one of the static voters."""
        self._prepare(controllers, {"controller.quorum.voters": controllers.static_voters})
        self.launch()

    def _prepare(self, controllers: Controllers, quorum: Mapping[str, str], *options: str) -> None:
        properties = {
            "process.roles": "controller",
            "node.id": str(THEIRS),
            "listeners": f"CONTROLLER://{HOST}:{controllers.ports[THEIRS]}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.data_dir),
            **quorum,
            **QUICK,
        }
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        format_it = ("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties), *options)
        subprocess.run(self._java(*format_it), check=True, capture_output=True, timeout=60)

    def launch(self) -> None:
        """Start it, without waiting."""
        self._spawn(self._java("kafka.Kafka", str(self._properties)), pipe_stdout=False)


@pytest.fixture
def controllers(tmp_path: Path) -> Iterator[Controllers]:
    made = Controllers(tmp_path, (1, 2, 3))
    yield made
    made.kill()


@pytest.fixture
def apache(tmp_path: Path) -> Iterator[ApacheController]:
    directory = tmp_path / "apache"
    directory.mkdir()
    try:
        kafka = ApacheController(directory, {})
    except Unavailable as missing:
        pytest.skip(str(missing))
    yield kafka
    kafka.close()


def test_an_apache_controller_joins_votes_and_leads(controllers: Controllers, apache: ApacheController) -> None:
    controllers.add(1, "--standalone")
    controllers.add(3, "--no-initial-controllers")
    for node_id in OURS:
        controllers.nodes[node_id].launch()
    eventually(lambda: controllers.add_voter(3), "our second voter")
    apache.join(controllers)
    wait_for(lambda: set(controllers.voters()) == {1, 2, 3}, "Apache Kafka's has joined", JOIN_TIMEOUT_S)

    first = controllers.leader()
    assert controllers.nodes[first].stop() == 0
    controllers.watched[THEIRS] = apache
    wait_for(lambda: controllers.leader() != first, "the two that are left elect one")
    assert controllers.update("group.version", 0, SAFE_DOWNGRADE) == ""
    controllers.nodes[first].start()

    # Only with the vote and the log of one of ours can Apache Kafka's lead, and the other way round.
    other = next(each for each in OURS if each != first)
    eventually(lambda: controllers.remove_voter(other), "one of ours is no voter any more")
    controllers.nodes[other].kill()
    wait_for(lambda: set(controllers.voters()) == {first, THEIRS}, "two voters are left")
    assert controllers.update("group.version", 1, UPGRADE) == ""
    eventually(lambda: controllers.remove_voter(first), "the last of ours goes")
    wait_for(lambda: controllers.leader() == THEIRS, "Apache Kafka's leads alone", JOIN_TIMEOUT_S)
    assert controllers.level("group.version") == 1
    assert controllers.add_voter(first) in (ErrorCode.NONE, ErrorCode.REQUEST_TIMED_OUT)


def test_static_voters_of_both_kinds_are_upgraded_and_change(tmp_path: Path, apache: ApacheController) -> None:
    controllers = Controllers(tmp_path / "static", (1, 2, 3), voters=(1, 2, 3))
    try:
        for node_id in OURS:
            controllers.add(node_id)
            controllers.nodes[node_id].launch()
        assert controllers.leader() in OURS
        apache.take_part(controllers)
        controllers.watched[THEIRS] = apache
        wait_for(
            lambda: not controllers.update("kraft.version", 1, validate_only=True),
            "all report themselves",
            JOIN_TIMEOUT_S,
        )
        assert controllers.update("kraft.version", 1) == ""
        assert ZERO_UUID not in controllers.voters().values()
        last = next(each for each in OURS if each != controllers.leader())
        eventually(lambda: controllers.remove_voter(last), "one of ours is no voter any more")
        wait_for(lambda: set(controllers.voters()) == {1, 2, 3} - {last}, "one of each kind is left")
        assert controllers.update("group.version", 0, SAFE_DOWNGRADE) == "", "both have what is committed"
    finally:
        controllers.kill()
