"""What a node's properties say of its quorum, and the fixed voters that they may name."""

from __future__ import annotations

import pytest

from odradek.config import BrokerConfig
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT
from odradek.quorum.settings import QuorumSettings
from odradek.quorum.snapshots import SnapshotTimes, build_snapshot
from odradek.quorum.voters import VoterSet
from odradek.wire.errors import ErrorCode
from tests.unit.quorum.scene import LISTENER, Scene
from tests.unit.quorum.test_voter_changes import add, code

PROPERTIES = {
    "process.roles": "controller",
    "node.id": "1",
    "listeners": "CONTROLLER://localhost:9093",
    "controller.listener.names": "CONTROLLER",
}


def settings(properties: dict[str, str]) -> QuorumSettings:
    return QuorumSettings.from_config(BrokerConfig({**PROPERTIES, **properties}))


def test_voters_are_asked_who_leads_unless_others_are_named() -> None:
    fixed = settings({"controller.quorum.voters": "2@n2:19093,1@[::1]:9093"})
    assert fixed.static_voters.ids == (1, 2)
    assert {voter.max_kraft_version for voter in fixed.static_voters.voters} == {0}, "they have yet to say more"
    assert fixed.bootstrap_servers == (("n2", 19093), ("::1", 9093))
    found = fixed.static_voters.by_id(2)
    assert found is not None
    assert found.address("CONTROLLER") == ("n2", 19093)
    named = settings({"controller.quorum.bootstrap.servers": "a:1,b:2"})
    assert (named.static_voters, named.bootstrap_servers) == (VoterSet(), (("a", 1), ("b", 2)))


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("controller.quorum.election.timeout.ms", "election_timeout_ms"),
        ("controller.quorum.election.backoff.max.ms", "election_backoff_max_ms"),
        ("controller.quorum.fetch.timeout.ms", "fetch_timeout_ms"),
        ("controller.quorum.request.timeout.ms", "request_timeout_ms"),
        ("controller.quorum.retry.backoff.ms", "retry_backoff_ms"),
        ("metadata.max.retention.ms", "retention_ms"),
    ],
)
def test_times_come_from_the_properties(name: str, field: str) -> None:
    given = settings({"controller.quorum.bootstrap.servers": "a:1", name: "4321"})
    assert getattr(given, field) == 4321


def test_fixed_voters_elect_a_leader_and_cannot_change() -> None:
    """kraft.version 0: nobody's directory is known."""
    fixed = settings({"controller.quorum.voters": "1@n1:9093,2@n2:9093,3@n3:9093"})
    scene = Scene(settings=fixed)
    times = SnapshotTimes(1, 1)
    scene.snapshots.files[BOOTSTRAP_SNAPSHOT] = build_snapshot(BOOTSTRAP_SNAPSHOT, VoterSet(), 0, [], times)
    scene.restart()
    assert (scene.raft.voters.ids, scene.raft.kraft_version) == ((1, 2, 3), 0)
    scene.lead(3)
    assert scene.raft.end_offset == 1, "no voters are written into the log"
    assert scene.raft.leader_endpoint(LISTENER) == ("n1", 9093)
    assert code(add(scene)) is ErrorCode.UNSUPPORTED_VERSION
    scene.restart()
    assert not scene.vote(2, 1).vote_granted
    assert scene.vote(2, 2, (1, 1)).vote_granted
