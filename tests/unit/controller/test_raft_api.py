"""The quorum's APIs at a controller's listener: who may use them, and who does not get past."""

from __future__ import annotations

import pytest

from odradek.controller.api.raft import RaftApi
from odradek.ports import Turns
from odradek.ports.network import ConnectionInfo
from odradek.security.acl import Operation, ResourceType
from odradek.security.principal import ANONYMOUS, Principal
from odradek.server.context import RequestContext
from odradek.server.handlers import call
from odradek.wire.apis import ApiKey, stable_versions
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.begin_quorum_epoch import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochRequestPartitionData,
    BeginQuorumEpochRequestTopicData,
)
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic, ReplicaState
from odradek.wire.messages.vote import VoteRequest, VoteRequestPartitionData, VoteRequestTopicData
from odradek.wire.schema import Message
from tests.unit.quorum.scene import CLUSTER_ID, LISTENER, TOPIC, TOPIC_ID, Scene, directory


class Only:
    """An authorizer that allows one operation on the cluster."""

    def __init__(self, operation: Operation | None) -> None:
        self.operation = operation

    def allows(self, principal: Principal, host: str, operation: Operation, kind: ResourceType, name: str) -> bool:
        return (operation, kind, name) == (self.operation, ResourceType.CLUSTER, "kafka-cluster")


def ask(scene: Scene, request: Message, allowed: Operation | None, version: int | None = None) -> Message | None:
    api = RaftApi(scene.raft)
    key = ApiKey(request.API_KEY or 0)
    [handler] = [each for each in (*api.handlers(), *api.admin_handlers()) if each.api_key is key]
    connection = ConnectionInfo("test", LISTENER, "PLAINTEXT", "127.0.0.1", 1, "127.0.0.1", 2)
    turns = Turns(scene.world, scene.world)
    version = stable_versions(key)[-1] if version is None else version
    context = RequestContext(key, version, 0, None, connection, ANONYMOUS, Only(allowed), turns)
    answer = call(handler, context, request)
    return answer if isinstance(answer, Message) or answer is None else answer.result()


def handlers() -> dict[ApiKey, Operation]:
    api = RaftApi(Scene().raft)
    return {each.api_key: each.operation for each in (*api.handlers(), *api.admin_handlers())}


def test_nodes_need_cluster_action_and_who_changes_voters_needs_alter() -> None:
    assert handlers() == {
        ApiKey.FETCH: Operation.CLUSTER_ACTION,
        ApiKey.VOTE: Operation.CLUSTER_ACTION,
        ApiKey.BEGIN_QUORUM_EPOCH: Operation.CLUSTER_ACTION,
        ApiKey.END_QUORUM_EPOCH: Operation.CLUSTER_ACTION,
        ApiKey.FETCH_SNAPSHOT: Operation.CLUSTER_ACTION,
        ApiKey.UPDATE_RAFT_VOTER: Operation.CLUSTER_ACTION,
        ApiKey.ADD_RAFT_VOTER: Operation.ALTER,
        ApiKey.REMOVE_RAFT_VOTER: Operation.ALTER,
    }


@pytest.mark.parametrize("key", sorted(handlers()))
def test_who_may_not_is_refused_before_anything_is_looked_at(key: ApiKey) -> None:
    from odradek.wire.apis import request_class

    for allowed in (None, *(each for each in (Operation.CLUSTER_ACTION, Operation.ALTER) if each != handlers()[key])):
        with pytest.raises(KafkaError) as refused:
            ask(Scene(), request_class(key)(), allowed)
        assert refused.value.code is ErrorCode.CLUSTER_AUTHORIZATION_FAILED


def test_requests_without_topics_are_answered() -> None:
    """CVE-2026-83525 and its kin: empty arrays cost nobody anything."""
    from odradek.wire.apis import request_class

    scene = Scene()
    scene.lead()
    for key, operation in handlers().items():
        answer = ask(scene, request_class(key)(), operation)
        assert getattr(answer, "error_code", None), key
    assert scene.raft.is_leader


def test_a_vote_and_a_fetch_reach_the_quorum() -> None:
    scene = Scene()
    assert isinstance(ask(scene, VoteRequest(cluster_id=CLUSTER_ID), Operation.CLUSTER_ACTION), Message)
    answer = ask(scene, FetchRequest(cluster_id="other"), Operation.CLUSTER_ACTION)
    assert getattr(answer, "error_code", None) == ErrorCode.INCONSISTENT_CLUSTER_ID


@pytest.mark.parametrize(("key", "first"), [(ApiKey.FETCH, 17), (ApiKey.VOTE, 1), (ApiKey.BEGIN_QUORUM_EPOCH, 1)])
def test_addresses_are_told_only_in_versions_that_have_a_place_for_them(key: ApiKey, first: int) -> None:
    """Earlier nodes follow the metadata log, too, and what has no place in their version could not be sent at all."""
    scene = Scene()
    scene.lead()
    epoch = scene.raft.epoch
    at_its_end = FetchPartition(
        partition=0, fetch_offset=0, current_leader_epoch=epoch - 1, replica_directory_id=directory(2)
    )
    begins = BeginQuorumEpochRequestPartitionData(leader_id=2, leader_epoch=epoch - 1)
    wants = VoteRequestPartitionData(replica_id=2, replica_epoch=epoch - 1)
    requests: dict[ApiKey, Message] = {
        ApiKey.FETCH: FetchRequest(
            cluster_id=CLUSTER_ID,
            replica_state=ReplicaState(replica_id=2),
            topics=[FetchTopic(topic=TOPIC, topic_id=TOPIC_ID, partitions=[at_its_end])],
        ),
        ApiKey.VOTE: VoteRequest(
            cluster_id=CLUSTER_ID, topics=[VoteRequestTopicData(topic_name=TOPIC, partitions=[wants])]
        ),
        ApiKey.BEGIN_QUORUM_EPOCH: BeginQuorumEpochRequest(
            cluster_id=CLUSTER_ID, topics=[BeginQuorumEpochRequestTopicData(topic_name=TOPIC, partitions=[begins])]
        ),
    }
    for version in (first - 1, first):
        answer = ask(scene, requests[key], Operation.CLUSTER_ACTION, version)
        assert answer is not None
        assert bool(answer.node_endpoints) == (version == first)  # type: ignore[attr-defined] # all of them have some
        answer.encode(version)
