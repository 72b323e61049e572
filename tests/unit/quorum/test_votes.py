"""Who is voted for, and when an election is called: Raft's rules as KIP-595, KIP-853 and KIP-996 have them."""

from __future__ import annotations

import pytest

from odradek.quorum.roles import Follower, Nominee, Resigned, Unattached
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages import vote
from odradek.wire.messages.begin_quorum_epoch import BeginQuorumEpochRequest
from odradek.wire.messages.end_quorum_epoch import (
    EndQuorumEpochRequest,
    EndQuorumEpochRequestPartitionData,
    EndQuorumEpochRequestTopicData,
    ReplicaInfo,
)
from odradek.wire.messages.fetch import PartitionData
from tests.unit.quorum.scene import CLUSTER_ID, LISTENER, TOPIC, Scene, directory, topics


def test_a_vote_is_on_the_disk_before_it_is_granted_and_is_given_once_in_an_epoch() -> None:
    scene = Scene()
    assert scene.vote(2, 5).vote_granted
    assert (scene.saved.leader_epoch, scene.saved.voted_id, scene.saved.voted_directory_id) == (5, 2, directory(2))
    assert not scene.vote(3, 5).vote_granted
    scene.restart()
    assert not scene.vote(3, 5).vote_granted
    assert scene.vote(2, 5).vote_granted
    assert scene.vote(3, 6).vote_granted


@pytest.mark.parametrize(
    ("log", "granted"), [((2, 9), True), ((1, 4), True), ((1, 5), True), ((1, 3), False), ((0, 9), False)]
)
def test_a_vote_needs_a_log_that_is_at_least_as_long(log: tuple[int, int], granted: bool) -> None:
    """KIP-595: epochs of the last records are compared first, then offsets. This node's log ends at 4 in epoch 1."""
    scene = Scene()
    scene.lead()
    scene.raft.append(topics("a"), atomic=True)
    assert (scene.raft.epoch, scene.raft.end_offset) == (1, 4)
    assert scene.vote(2, 3, log).vote_granted is granted
    assert scene.raft.epoch == 3


def test_a_pre_vote_changes_nothing_here_and_is_refused_while_a_leader_is_heard() -> None:
    """KIP-996."""
    scene = Scene()
    assert scene.vote(2, 0, pre=True).vote_granted
    assert scene.vote(3, 0, pre=True).vote_granted
    assert scene.begin(2, 1) is ErrorCode.NONE
    assert scene.vote(3, 1, pre=True).vote_granted
    scene.answer_fetch(2, 1, PartitionData(high_watermark=0))
    assert not scene.vote(3, 1, pre=True).vote_granted
    assert (scene.raft.epoch, scene.saved.voted_id) == (1, -1)


def test_a_vote_is_refused_in_an_epoch_that_has_a_leader() -> None:
    scene = Scene()
    assert scene.begin(2, 1) is ErrorCode.NONE
    assert not scene.vote(3, 1).vote_granted
    scene.world.advance(scene.settings.fetch_timeout_ms)
    assert isinstance(scene.raft.role, Nominee)
    assert not scene.vote(3, 1).vote_granted


def test_a_vote_says_why_it_is_refused() -> None:
    scene = Scene()
    scene.vote(2, 5)
    assert scene.vote(3, 4).error_code == ErrorCode.FENCED_LEADER_EPOCH
    assert scene.vote(3, 6, (6, 1)).error_code == ErrorCode.INVALID_REQUEST
    assert scene.vote(3, 6, (5, 1), to=2).error_code == ErrorCode.INVALID_VOTER_KEY
    voting = scene.raft.voting
    assert voting.vote(vote.VoteRequest(cluster_id="other"), LISTENER).error_code == ErrorCode.INCONSISTENT_CLUSTER_ID
    assert voting.vote(vote.VoteRequest(cluster_id=CLUSTER_ID), LISTENER).error_code == ErrorCode.INVALID_REQUEST
    empty = [vote.VoteRequestTopicData(topic_name=TOPIC, partitions=[])]
    assert voting.vote(vote.VoteRequest(topics=empty), LISTENER).error_code == ErrorCode.INVALID_REQUEST


def test_an_election_that_is_won() -> None:
    scene = Scene()
    assert isinstance(scene.raft.role, Unattached)
    scene.world.advance(2 * scene.settings.election_timeout_ms)
    assert scene.raft.epoch == 0
    assert scene.answer_votes(granted=True, pre=True) == 2
    assert (scene.raft.epoch, scene.saved.voted_id, scene.raft.is_leader) == (1, 1, False)
    assert scene.answer_votes(granted=True, pre=False) == 2
    assert (scene.saved.leader_id, scene.raft.is_leader) == (1, True)
    assert [host for host, _request, _answer in scene.wire.take(BeginQuorumEpochRequest)] == ["n2", "n3"]
    assert scene.listener.leaders == []
    scene.fetched(2, scene.raft.end_offset, 1)
    assert scene.listener.leaders == [(1, 1)]


def test_who_would_not_be_elected_calls_no_election() -> None:
    scene = Scene()
    scene.world.advance(2 * scene.settings.election_timeout_ms)
    scene.answer_votes(granted=False, pre=True)
    assert scene.raft.epoch == 0
    assert isinstance(scene.raft.role, Unattached)


def test_a_silent_leader_is_followed_again_when_nobody_else_misses_it() -> None:
    scene = Scene()
    scene.begin(2, 1)
    scene.world.advance(scene.settings.fetch_timeout_ms)
    assert isinstance(scene.raft.role, Nominee)
    scene.answer_votes(granted=False, pre=True)
    assert isinstance(scene.raft.role, Follower)
    assert (scene.raft.epoch, scene.raft.leader_id) == (1, 2)


def test_a_candidate_that_loses_backs_off_and_asks_again() -> None:
    scene = Scene()
    scene.world.advance(2 * scene.settings.election_timeout_ms)
    scene.answer_votes(granted=True, pre=True)
    scene.answer_votes(granted=False, pre=False)
    assert scene.raft.epoch == 1
    scene.world.advance(scene.settings.election_backoff_max_ms)
    assert scene.answer_votes(granted=True, pre=True) == 2
    assert scene.raft.epoch == 2


def test_peers_without_pre_votes_are_asked_in_earnest() -> None:
    scene = Scene()
    scene.world.advance(2 * scene.settings.election_timeout_ms)
    _host, _request, answer = scene.wire.take(vote.VoteRequest)[0]
    answer.reject(KafkaError(ErrorCode.UNSUPPORTED_VERSION))
    assert scene.answer_votes(granted=True, pre=False)
    assert scene.raft.is_leader


def test_a_leader_that_comes_back_leads_no_more_and_votes_in_no_epoch_that_it_led() -> None:
    scene = Scene()
    scene.lead()
    scene.restart()
    assert isinstance(scene.raft.role, Resigned)
    assert not scene.vote(2, 1).vote_granted
    scene.world.advance(2 * scene.settings.election_timeout_ms)
    assert scene.raft.epoch == 2


def test_a_leader_that_no_majority_fetches_from_resigns_after_one_and_a_half_fetch_timeouts() -> None:
    """KIP-595, check-quorum."""
    scene = Scene()
    scene.lead()
    scene.world.advance(1.4 * scene.settings.fetch_timeout_ms)
    assert scene.raft.is_leader
    scene.fetched(4, scene.raft.end_offset, 1)
    scene.fetched(3, scene.raft.end_offset, 1)
    scene.world.advance(1.4 * scene.settings.fetch_timeout_ms)
    assert scene.raft.is_leader
    scene.fetched(4, scene.raft.end_offset, 1)
    scene.world.advance(0.2 * scene.settings.fetch_timeout_ms)
    assert isinstance(scene.raft.role, Resigned)
    assert scene.listener.leaders == [(1, 1), (None, 1)]


def test_a_leader_that_shuts_down_names_its_successors_the_most_caught_up_first() -> None:
    scene = Scene()
    scene.lead(3)
    stopped = scene.raft.shutdown()
    told = scene.wire.take(EndQuorumEpochRequest)
    assert [host for host, _request, _answer in told] == ["n3", "n2"]
    partition = told[0][1].topics[0].partitions[0]
    assert [candidate.candidate_id for candidate in partition.preferred_candidates] == [3, 2]
    assert not stopped.done
    scene.begin(3, 2)
    assert stopped.done
    assert scene.raft.leader_endpoint(LISTENER) == ("n3", 9093)


@pytest.mark.parametrize(("successors", "backoff_ms"), [([1, 3], 0), ([3, 1], 500), ([3, 4], 1000)])
def test_a_successor_calls_an_election_the_sooner_the_better_it_is(successors: list[int], backoff_ms: int) -> None:
    scene = Scene()
    scene.begin(2, 1)
    partition = EndQuorumEpochRequestPartitionData(
        leader_id=2,
        leader_epoch=1,
        preferred_candidates=[
            ReplicaInfo(candidate_id=each, candidate_directory_id=directory(each)) for each in successors
        ],
    )
    request = EndQuorumEpochRequest(
        cluster_id=CLUSTER_ID, topics=[EndQuorumEpochRequestTopicData(topic_name=TOPIC, partitions=[partition])]
    )
    assert scene.raft.voting.end_quorum_epoch(request, LISTENER).topics[0].partitions[0].error_code == 0
    if backoff_ms:
        scene.world.advance(backoff_ms - 1)
        assert isinstance(scene.raft.role, Follower)
    scene.world.advance(1)
    assert isinstance(scene.raft.role, Nominee)


def test_an_older_leader_is_fenced() -> None:
    scene = Scene()
    scene.begin(2, 3)
    assert scene.begin(3, 2) is ErrorCode.FENCED_LEADER_EPOCH
    with pytest.raises(KafkaError):
        scene.begin(3, 3)
    assert (scene.raft.epoch, scene.raft.leader_id) == (3, 2)


def test_a_vote_that_cannot_be_written_is_not_granted() -> None:
    scene = Scene()

    def fail(_state: object, _voters: object) -> None:
        raise OSError("disk gone")

    scene.state.save = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(KafkaError):
        scene.vote(2, 5)
    assert len(scene.fatal) == 1


def test_a_node_that_cannot_write_that_it_is_a_candidate_says_so_once_and_asks_nobody() -> None:
    scene = Scene()

    def fail(_state: object, _voters: object) -> None:
        raise OSError("disk gone")

    scene.world.advance(scene.settings.election_timeout_ms / 10)
    scene.state.save = fail  # type: ignore[method-assign, assignment]
    assert scene.answer_votes(granted=True, pre=True)
    assert len(scene.fatal) == 1
    assert not scene.answer_votes(granted=True, pre=False)
    assert not scene.raft.is_leader


def test_an_epoch_that_was_heard_of_is_not_forgotten_by_a_restart() -> None:
    scene = Scene()
    scene.lead()
    assert not scene.vote(2, 5).vote_granted
    scene.restart()
    assert scene.raft.epoch == 5


def test_a_quorum_that_never_had_a_leader_elects_one_at_once_and_another_gives_its_leader_time() -> None:
    scene = Scene()
    scene.world.advance(scene.settings.election_timeout_ms / 10)
    assert scene.answer_votes(granted=True, pre=True)
    assert scene.answer_votes(granted=True, pre=False)
    assert scene.raft.is_leader
    voter = Scene()
    assert voter.vote(2, 5).vote_granted
    voter.restart()
    voter.world.advance(voter.settings.election_timeout_ms / 2)
    assert voter.answer_votes(granted=True, pre=True) == 0


def test_who_does_not_vote_calls_no_election() -> None:
    scene = Scene(own_id=4)
    scene.world.advance(10_000)
    assert scene.answer_votes(granted=True, pre=True) == 0
