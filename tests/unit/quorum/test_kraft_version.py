"""Static voters, and raising kraft.version so that they can change (KIP-853)."""

from __future__ import annotations

import json

import pytest

from odradek.quorum.voters import VoterEndpoint
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.fetch import FetchRequest, PartitionData
from odradek.wire.messages.update_raft_voter import UpdateRaftVoterRequest, UpdateRaftVoterResponse
from tests.unit.quorum.scene import LISTENER, Scene, directory, topics
from tests.unit.quorum.test_voter_changes import add, code, remove, update

NOT_ALL = "Invalid upgrade of kraft.version to 1 because not all of the voters support it"


def refusal(scene: Scene, version: int = 1, *, validate_only: bool = False) -> str | None:
    """Why an upgrade is refused, or None."""
    try:
        scene.raft.upgrade_kraft_version(version, validate_only=validate_only)
    except KafkaError as error:
        return error.message if error.code is ErrorCode.INVALID_UPDATE_VERSION else error.code.name
    return None


def leading() -> Scene:
    """Node 1 leads voters that the configuration names; 2 and 3 follow it."""
    scene = Scene(static=True)
    scene.lead(2, 3)
    return scene


def upgraded() -> Scene:
    """All voters have reported themselves, and the upgrade is committed."""
    scene = leading()
    for node_id in (2, 3):
        assert update(scene, node_id, f"n{node_id}").result() is ErrorCode.NONE
    assert refusal(scene) is None
    scene.fetched(3, scene.raft.end_offset, scene.raft.epoch)
    assert scene.raft.high_watermark == scene.raft.end_offset
    return scene


def test_static_voters_elect_and_commit_and_cannot_change() -> None:
    scene = leading()
    assert scene.raft.kraft_version == 0
    scene.raft.append(topics("a"), atomic=True)
    scene.fetched(3, scene.raft.end_offset, scene.raft.epoch)
    assert scene.listener.names == ["a"]
    assert code(add(scene)) is ErrorCode.UNSUPPORTED_VERSION
    assert add(scene).result().error_message == (
        "Cluster doesn't support adding voter because the kraft.version feature is 0"
    )
    assert remove(scene, 2).result() is ErrorCode.UNSUPPORTED_VERSION


def test_an_upgrade_waits_until_every_voter_has_said_that_it_supports_it() -> None:
    scene = leading()
    end_offset = scene.raft.end_offset
    assert refusal(scene) == NOT_ALL
    assert update(scene, 2, "n2").result() is ErrorCode.NONE
    assert refusal(scene) == NOT_ALL
    assert update(scene, 3, "n3", highest=0).result() is ErrorCode.NONE
    assert refusal(scene) == NOT_ALL
    assert update(scene, 4, "n4").result() is ErrorCode.VOTER_NOT_FOUND
    assert update(scene, 3, "n3", lowest=1).result() is ErrorCode.INVALID_REQUEST
    assert update(scene, 3, "elsewhere").result() is ErrorCode.NONE
    assert refusal(scene, validate_only=True) is None
    assert (scene.raft.kraft_version, scene.raft.end_offset) == (0, end_offset)
    assert refusal(scene) is None
    assert (scene.raft.kraft_version, scene.raft.end_offset) == (1, end_offset + 2)
    voters = {voter.id: voter for voter in scene.raft.voters.voters}
    assert {voter.directory_id for voter in voters.values()} == {directory(each) for each in (1, 2, 3)}
    assert voters[3].endpoints == (VoterEndpoint(LISTENER, "elsewhere", 9093),)


def test_what_voters_have_fetched_counts_across_an_upgrade() -> None:
    scene = leading()
    for node_id in (2, 3):
        update(scene, node_id, f"n{node_id}")
    assert refusal(scene) is None
    assert scene.raft.leader is not None
    held = {each.id: each.end_offset for each in scene.raft.leader.voters.values()}
    assert held == {1: scene.raft.end_offset, 2: scene.raft.end_offset - 2, 3: scene.raft.end_offset - 2}


def test_a_version_in_force_can_be_asked_for_again_and_not_be_taken_back() -> None:
    scene = upgraded()
    end_offset = scene.raft.end_offset
    assert refusal(scene) is None
    assert scene.raft.end_offset == end_offset
    refused = refusal(scene, 0)
    assert refused == "Invalid upgrade of kraft.version from version 1 to 0 because the new version is a downgrade"


def test_voters_can_change_after_an_upgrade_and_a_restart_knows_of_it() -> None:
    scene = upgraded()
    assert remove(scene, 2).done is False
    assert scene.raft.voters.ids == (1, 3)
    scene.fetched(3, scene.raft.end_offset, scene.raft.epoch)
    scene.restart()
    assert (scene.raft.kraft_version, scene.raft.voters.ids) == (1, (1, 3))


def test_only_a_leader_upgrades() -> None:
    scene = Scene(static=True)
    with pytest.raises(KafkaError) as raised:
        scene.raft.upgrade_kraft_version(1, validate_only=False)
    assert raised.value.code is ErrorCode.NOT_CONTROLLER


def test_a_follower_tells_each_leader_once_what_it_supports() -> None:
    scene = Scene(own_id=2, static=True)
    for epoch, leader in ((1, 1), (2, 3)):
        assert scene.begin(leader, epoch) is ErrorCode.NONE
        assert scene.wire.take(UpdateRaftVoterRequest) == []
        scene.world.advance(scene.settings.fetch_timeout_ms - 1)
        scene.answer_fetch(leader, epoch, PartitionData(high_watermark=0))
        scene.world.advance(scene.settings.fetch_timeout_ms / 2)
        scene.answer_fetch(leader, epoch, PartitionData(high_watermark=0))
        [(host, request, answer)] = scene.wire.take(UpdateRaftVoterRequest)
        assert (host, request.voter_id, request.voter_directory_id) == (f"n{leader}", 2, directory(2))
        assert request.kraft_version_feature.max_supported_version == 1
        answer.resolve(UpdateRaftVoterResponse())
        for _ in range(4):
            scene.world.advance(scene.settings.fetch_timeout_ms * 0.9)
            assert scene.wire.sent
            assert all(isinstance(each.request, FetchRequest) for each in scene.wire.sent)
            scene.answer_fetch(leader, epoch, PartitionData(high_watermark=0))


def follow(scene: Scene) -> None:
    """Let the follower get so many answers that it looks at the voter set."""
    scene.world.advance(scene.settings.fetch_timeout_ms - 1)
    scene.answer_fetch(1, 1, PartitionData(high_watermark=0))
    scene.world.advance(10)
    scene.answer_fetch(1, 1, PartitionData(high_watermark=0))


def test_a_report_that_fails_is_sent_again_unless_the_leader_knows_none() -> None:
    scene = Scene(own_id=2, static=True)
    assert scene.begin(1, 1) is ErrorCode.NONE
    for refusal in (ErrorCode.REQUEST_TIMED_OUT, ErrorCode.UNSUPPORTED_VERSION):
        follow(scene)
        [(_host, _request, answer)] = scene.wire.take(UpdateRaftVoterRequest)
        answer.reject(KafkaError(refusal))
    follow(scene)
    assert scene.wire.take(UpdateRaftVoterRequest) == []


def test_who_only_observes_static_voters_reports_nothing() -> None:
    scene = Scene(own_id=4, static=True)
    assert scene.begin(1, 1) is ErrorCode.NONE
    follow(scene)
    assert scene.wire.take(UpdateRaftVoterRequest) == []


def test_reports_are_taken_once_the_leaders_epoch_is_committed_and_count_as_a_sign_of_life() -> None:
    scene = Scene(static=True)
    scene.elect()
    assert update(scene, 2, "n2").result() is ErrorCode.REQUEST_TIMED_OUT
    scene.fetched(2, scene.raft.end_offset, scene.raft.epoch)
    for _ in range(4):
        scene.world.advance(1.2 * scene.settings.fetch_timeout_ms)
        assert update(scene, 2, "n2").result() is ErrorCode.NONE
    assert scene.raft.is_leader


def test_after_an_upgrade_only_the_directories_that_were_reported_count() -> None:
    scene = upgraded()
    assert scene.raft.leader is not None
    assert [voter.directory_id for voter in scene.raft.leader.voters.values()] == [
        directory(each) for each in (1, 2, 3)
    ]
    scene.raft.append(topics("a"), atomic=True)
    scene.fetched(2, scene.raft.end_offset, scene.raft.epoch, key=directory(9))
    assert scene.listener.names == []
    scene.fetched(2, scene.raft.end_offset, scene.raft.epoch)
    assert scene.listener.names == ["a"]


def test_quorum_state_is_of_version_0_until_the_upgrade() -> None:
    scene = leading()
    assert json.loads(scene.state.saved[-1]) == {
        "clusterId": "", "leaderId": 1, "leaderEpoch": 1, "votedId": 1, "appliedOffset": 0,
        "currentVoters": [{"voterId": 1}, {"voterId": 2}, {"voterId": 3}], "data_version": 0,
    }  # fmt: skip
    scene = upgraded()
    scene.raft.shutdown()
    scene.begin(2, 2)
    assert json.loads(scene.state.saved[-1])["data_version"] == 1
