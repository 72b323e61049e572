"""AddRaftVoter, RemoveRaftVoter and UpdateRaftVoter, with Kafka's checks (KIP-853)."""

from __future__ import annotations

from odradek.ports import Promise
from odradek.quorum.roles import Resigned
from odradek.quorum.settings import QuorumSettings
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.add_raft_voter import AddRaftVoterRequest, AddRaftVoterResponse, Listener
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse, SupportedFeatureKey
from odradek.wire.messages.begin_quorum_epoch import BeginQuorumEpochRequest
from odradek.wire.messages.fetch import EpochEndOffset, PartitionData
from odradek.wire.messages.remove_raft_voter import RemoveRaftVoterRequest
from odradek.wire.messages.update_raft_voter import KRaftVersionFeature, UpdateRaftVoterRequest
from odradek.wire.messages.update_raft_voter import Listener as UpdatedListener
from tests.unit.quorum.scene import CLUSTER_ID, LISTENER, Scene, directory
from tests.unit.quorum.test_fetching import leaders_batches


def add(
    scene: Scene, node_id: int = 4, *, listener: str = LISTENER, committed: bool = True
) -> Promise[AddRaftVoterResponse]:
    return scene.raft.voter_changes.add(
        AddRaftVoterRequest(
            cluster_id=CLUSTER_ID,
            voter_id=node_id,
            voter_directory_id=directory(node_id),
            listeners=[Listener(name=listener, host=f"n{node_id}", port=9093)],
            ack_when_committed=committed,
        )
    )


def remove(scene: Scene, node_id: int, key: int | None = None) -> Promise[ErrorCode]:
    request = RemoveRaftVoterRequest(
        cluster_id=CLUSTER_ID, voter_id=node_id, voter_directory_id=directory(node_id if key is None else key)
    )
    return scene.raft.voter_changes.remove(request).then(lambda answer: ErrorCode(answer.error_code))


def update(
    scene: Scene, node_id: int, host: str, *, lowest: int = 0, highest: int = 1, epoch: int = 1
) -> Promise[ErrorCode]:
    request = UpdateRaftVoterRequest(
        cluster_id=CLUSTER_ID, current_leader_epoch=epoch, voter_id=node_id, voter_directory_id=directory(node_id),
        listeners=[UpdatedListener(name=LISTENER, host=host, port=9093)],
        kraft_version_feature=KRaftVersionFeature(min_supported_version=lowest, max_supported_version=highest),
    )  # fmt: skip
    return scene.raft.voter_changes.update(request, LISTENER).then(lambda answer: ErrorCode(answer.error_code))


def answer_versions(scene: Scene, highest: int = 1) -> None:
    [(host, _request, answer)] = scene.wire.take(ApiVersionsRequest)
    assert host == "n4"
    feature = SupportedFeatureKey(name="kraft.version", min_version=0, max_version=highest)
    answer.resolve(ApiVersionsResponse(supported_features=[feature]))


def code(answer: Promise[AddRaftVoterResponse]) -> ErrorCode:
    return ErrorCode(answer.result().error_code)


def test_an_observer_that_has_caught_up_becomes_a_voter() -> None:
    scene = Scene()
    scene.lead()
    scene.fetched(4, 3, 1)
    answer = add(scene)
    assert not answer.done
    answer_versions(scene)
    assert scene.raft.voters.ids == (1, 2, 3, 4)
    scene.fetched(2, 4, 1)
    assert not answer.done, "two of four are no majority"
    scene.fetched(4, 4, 1)
    assert code(answer) is ErrorCode.NONE
    scene.restart()
    assert scene.raft.voters.ids == (1, 2, 3, 4)


def test_one_that_joins_by_itself_is_answered_when_it_is_appended() -> None:
    scene = Scene()
    scene.lead()
    scene.fetched(4, 3, 1)
    answer = add(scene, committed=False)
    answer_versions(scene)
    assert code(answer) is ErrorCode.NONE
    assert scene.raft.high_watermark == 3


def test_changes_come_one_at_a_time_and_not_before_the_epoch_is_committed() -> None:
    scene = Scene()
    scene.elect()
    assert code(add(scene)) is ErrorCode.REQUEST_TIMED_OUT
    scene.fetched(2, 3, 1)
    scene.fetched(4, 3, 1)
    first = add(scene)
    assert code(add(scene, 5)) is ErrorCode.REQUEST_TIMED_OUT
    answer_versions(scene)
    assert remove(scene, 3).result() is ErrorCode.REQUEST_TIMED_OUT
    scene.world.advance(scene.settings.request_timeout_ms)
    assert code(first) is ErrorCode.REQUEST_TIMED_OUT
    assert remove(scene, 3).result() is ErrorCode.REQUEST_TIMED_OUT, "its record is not committed yet"
    assert scene.raft.voters.ids == (1, 2, 3, 4)


def test_why_a_voter_is_not_added() -> None:
    scene = Scene()
    assert code(add(scene)) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    scene.lead()
    assert code(add(scene, 2)) is ErrorCode.DUPLICATE_VOTER
    assert code(add(scene, listener="OTHER")) is ErrorCode.INVALID_REQUEST
    lagging = add(scene)
    answer_versions(scene)
    assert code(lagging) is ErrorCode.REQUEST_TIMED_OUT
    scene.fetched(4, 3, 1)
    old = add(scene)
    answer_versions(scene, highest=0)
    assert code(old) is ErrorCode.INVALID_REQUEST
    assert scene.raft.voters.ids == (1, 2, 3)


def test_a_voter_is_removed() -> None:
    scene = Scene()
    scene.lead()
    assert remove(scene, 9).result() is ErrorCode.VOTER_NOT_FOUND
    assert remove(scene, 3, key=8).result() is ErrorCode.VOTER_NOT_FOUND
    answer = remove(scene, 3)
    assert scene.raft.voters.ids == (1, 2)
    scene.fetched(3, 4, 1)
    assert not answer.done, "it does not count any more"
    scene.fetched(2, 4, 1)
    assert answer.result() is ErrorCode.NONE


def test_a_leader_that_removes_itself_leads_until_that_is_committed() -> None:
    scene = Scene()
    scene.lead()
    answer = remove(scene, 1)
    scene.fetched(2, 4, 1)
    assert scene.raft.is_leader
    scene.fetched(3, 4, 1)
    assert answer.result() is ErrorCode.NONE
    assert isinstance(scene.raft.role, Resigned)
    scene.world.advance(60_000)
    assert not scene.raft.is_leader
    assert scene.raft.epoch == 2, "it votes for nobody, and calls no election"


def test_a_change_that_is_not_committed_when_the_leader_goes_is_answered_so() -> None:
    scene = Scene()
    scene.lead()
    answer = remove(scene, 3)
    scene.begin(2, 2)
    assert answer.result() is ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_voter_moves() -> None:
    scene = Scene()
    scene.lead()
    assert update(scene, 2, "elsewhere", epoch=0).result() is ErrorCode.FENCED_LEADER_EPOCH
    assert update(scene, 9, "elsewhere").result() is ErrorCode.VOTER_NOT_FOUND
    assert update(scene, 2, "elsewhere", highest=0).result() is ErrorCode.INVALID_REQUEST
    answer = update(scene, 2, "elsewhere")
    found = scene.raft.voters.by_id(2)
    assert found is not None
    assert found.address(LISTENER) == ("elsewhere", 9093)
    scene.fetched(3, 4, 1)
    assert answer.result() is ErrorCode.NONE


def test_a_controller_joins_by_itself_where_it_is_told_to() -> None:
    """KIP-853's `controller.quorum.auto.join.enable`."""
    for is_told in (True, False):
        scene = Scene(4, settings=QuorumSettings(bootstrap_servers=(("boot", 9093),), auto_join=is_told))
        scene.begin(2, 1)
        scene.answer_fetch(2, 1, PartitionData(high_watermark=3, records=leaders_batches("a")))
        scene.world.advance(scene.settings.fetch_timeout_ms - 1)
        assert scene.wire.take(AddRaftVoterRequest) == []
        scene.world.advance(1)
        scene.answer_fetch(2, 1, PartitionData(high_watermark=4))
        asked = scene.wire.take(AddRaftVoterRequest)
        said = [(host, request.voter_id, request.ack_when_committed) for host, request, _answer in asked]
        expected = [("n2", 4, False)] if is_told else []
        assert said == expected


def test_a_change_that_is_cut_off_the_log_is_undone() -> None:
    scene = Scene()
    scene.lead()
    remove(scene, 3)
    assert list(scene.raft.voters.ids) == [1, 2]
    scene.begin(2, 2)
    scene.answer_fetch(2, 2, PartitionData(diverging_epoch=EpochEndOffset(epoch=1, end_offset=3)))
    assert scene.raft.end_offset == 3
    assert list(scene.raft.voters.ids) == [1, 2, 3]


def test_an_only_voter_needs_nobody_until_there_is_another() -> None:
    scene = Scene(voters=(1,))
    assert scene.raft.is_leader
    scene.world.advance(60_000)
    assert (scene.raft.is_leader, scene.wire.sent) == (True, [])
    scene.fetched(4, 3, 1)
    add(scene, committed=False)
    answer_versions(scene)
    scene.world.advance(scene.settings.fetch_timeout_ms)
    assert scene.raft.is_leader
    assert {host for host, _request, _answer in scene.wire.take(BeginQuorumEpochRequest)} == {"n4"}
    scene.world.advance(scene.settings.fetch_timeout_ms)
    assert isinstance(scene.raft.role, Resigned)
