"""A leader that stops: it hands over to whoever has its whole log, and does not wait for nobody."""

from __future__ import annotations

import pytest

from odradek.quorum.leader import LeaderState
from odradek.quorum.raft import HANDOVER_MS
from odradek.quorum.roles import Resigned
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.end_quorum_epoch import (
    EndQuorumEpochRequest,
    EndQuorumEpochRequestPartitionData,
    EndQuorumEpochRequestTopicData,
)
from odradek.wire.messages.fetch import PartitionData
from tests.unit.quorum.scene import CLUSTER_ID, TOPIC, Scene, topics


def told(scene: Scene) -> dict[str, list[int]]:
    """Whom it has told that its epoch is over, with the successors it proposes."""
    return {
        host: request.topics[0].partitions[0].preferred_successors
        for host, request, _answer in scene.wire.take(EndQuorumEpochRequest)
    }


def stopping() -> Scene:
    """Node 1 leads and is told to stop while its last record is at no other voter."""
    scene = Scene()
    scene.lead(2, 3)
    scene.raft.append(topics("a"), atomic=True)
    scene.raft.shutdown()
    return scene


def test_it_resigns_once_a_successor_has_the_whole_log_and_appends_nothing_meanwhile() -> None:
    scene = stopping()
    assert isinstance(scene.raft.role, LeaderState)
    assert not scene.raft.is_leader
    with pytest.raises(KafkaError) as raised:
        scene.raft.append(topics("b"), atomic=True)
    assert raised.value.code is ErrorCode.NOT_CONTROLLER
    scene.fetched(3, scene.raft.end_offset, scene.raft.epoch)
    assert scene.listener.names == ["a"]
    assert isinstance(scene.raft.role, Resigned)
    assert told(scene) == {"n2": [3, 2], "n3": [3, 2]}


def test_it_resigns_anyway_after_a_while() -> None:
    scene = stopping()
    scene.world.advance(HANDOVER_MS - 1)
    assert isinstance(scene.raft.role, LeaderState)
    scene.world.advance(1)
    assert isinstance(scene.raft.role, Resigned)


def test_what_it_gave_up_it_can_be_elected_to_again() -> None:
    scene = stopping()
    scene.world.advance(HANDOVER_MS)
    scene.elect()
    scene.raft.append(topics("b"), atomic=True)


def test_it_does_not_wait_for_another_leader_where_there_is_nobody() -> None:
    scene = Scene()
    scene.lead(2, 3)
    done = scene.raft.shutdown()
    first, second = scene.wire.take(EndQuorumEpochRequest)
    first[2].reject(KafkaError(ErrorCode.NETWORK_EXCEPTION))
    assert not done.done
    second[2].reject(KafkaError(ErrorCode.NETWORK_EXCEPTION))
    assert done.done


def test_a_follower_that_hears_of_the_end_stands_in_nobodys_way() -> None:
    scene = Scene()
    scene.begin(2, 1)
    scene.answer_fetch(2, 1, PartitionData(high_watermark=0))
    assert not scene.vote(3, 1, pre=True).vote_granted
    partition = EndQuorumEpochRequestPartitionData(
        partition_index=0, leader_id=2, leader_epoch=1, preferred_successors=[3, 1]
    )
    topic = EndQuorumEpochRequestTopicData(topic_name=TOPIC, partitions=[partition])
    scene.raft.voting.end_quorum_epoch(EndQuorumEpochRequest(cluster_id=CLUSTER_ID, topics=[topic]), "CONTROLLER")
    assert scene.vote(3, 1, pre=True).vote_granted


def test_a_leader_that_comes_back_tells_the_others_so_that_they_elect_one_at_once() -> None:
    scene = Scene()
    scene.lead(2, 3)
    scene.restart()
    assert isinstance(scene.raft.role, Resigned)
    assert told(scene) == {"n2": [], "n3": []}


def test_a_flush_that_the_stop_cuts_short_is_no_failure_of_the_disk() -> None:
    scene = Scene()
    scene.lead(2, 3)
    scene.log.hold_flushes = True
    scene.raft.append(topics("a"), atomic=True)
    scene.raft.close()
    scene.log.fail_with = OSError("the node is shutting down")
    scene.log.finish_flushes()
    assert not scene.fatal
