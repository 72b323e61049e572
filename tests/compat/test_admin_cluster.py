"""What else the clients' admin classes call on one node."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from odradek.wire.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntityData,
    AlterClientQuotasRequestEntryData,
    AlterClientQuotasResponse,
    OpData,
)
from odradek.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignableTopic,
)
from odradek.wire.messages.alter_replica_log_dirs import (
    AlterReplicaLogDir,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopic,
)
from odradek.wire.messages.alter_user_scram_credentials import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    ScramCredentialDeletion,
)
from odradek.wire.messages.create_acls import AclCreation, CreateAclsRequest, CreateAclsResponse
from odradek.wire.messages.create_delegation_token import CreateDelegationTokenRequest, CreateDelegationTokenResponse
from odradek.wire.messages.delete_acls import DeleteAclsFilter, DeleteAclsRequest, DeleteAclsResponse
from odradek.wire.messages.describe_acls import DescribeAclsRequest, DescribeAclsResponse
from odradek.wire.messages.describe_client_quotas import (
    ComponentData,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
)
from odradek.wire.messages.describe_delegation_token import (
    DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse,
)
from odradek.wire.messages.describe_log_dirs import (
    DescribableLogDirTopic,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
)
from odradek.wire.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    TopicRequest,
)
from odradek.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
    DescribeQuorumResponse,
)
from odradek.wire.messages.describe_user_scram_credentials import (
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
    UserName,
)
from odradek.wire.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse, TopicPartitions
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)
from odradek.wire.messages.sasl_handshake import SaslHandshakeRequest, SaslHandshakeResponse
from odradek.wire.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest, UpdateFeaturesResponse
from tests.support.batches import batch
from tests.support.process import wait_for
from tests.support.requests import code, metadata, produce
from tests.support.wire import Connection

NewTopic = Callable[..., str]
Unique = Callable[[str], str]


@pytest.mark.parametrize("version", range(1, 6))
def test_log_dirs_tell_the_size_of_a_partition(connection: Connection, new_topic: NewTopic, version: int) -> None:
    """KIP-113; from version 4 on the volume's size (KIP-827)."""
    topic = new_topic()
    sent = batch([b"x" * 1000])
    produce(connection, topic, sent)
    wanted = [DescribableLogDirTopic(topic=topic, partitions=[0])]
    answer = connection.call(DescribeLogDirsRequest(topics=wanted), DescribeLogDirsResponse, version)
    (directory,) = answer.results
    assert code(directory.error_code) == "NONE"
    (found,) = directory.topics
    (partition,) = found.partitions
    assert (found.name, partition.partition_size, partition.offset_lag) == (topic, len(sent), 0)
    assert not partition.is_future_key
    assert (directory.total_bytes > 0) == (version >= 4)


def test_log_dirs_of_everything_and_of_nothing(connection: Connection, new_topic: NewTopic) -> None:
    """Null is all partitions."""
    topic = new_topic()
    everything = connection.call(DescribeLogDirsRequest(topics=None), DescribeLogDirsResponse)
    assert topic in {found.name for found in everything.results[0].topics}
    nothing = connection.call(DescribeLogDirsRequest(topics=[]), DescribeLogDirsResponse)
    assert [found for directory in nothing.results for found in directory.topics] == []


def test_active_producers_are_described(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-664."""
    topic = new_topic()
    answers: list[InitProducerIdResponse] = []

    def has_id() -> bool:
        answers.append(connection.call(InitProducerIdRequest(transactional_id=None), InitProducerIdResponse))
        return answers[-1].error_code == 0

    wait_for(has_id, "a producer id")
    producer_id = answers[-1].producer_id
    produce(connection, topic, batch([b"a", b"b"], producer=(producer_id, 0, 0)))
    request = DescribeProducersRequest(topics=[TopicRequest(name=topic, partition_indexes=[0, 9])])
    known, missing = connection.call(request, DescribeProducersResponse).topics[0].partitions
    (producer,) = known.active_producers
    assert (producer.producer_id, producer.producer_epoch, producer.last_sequence) == (producer_id, 0, 1)
    assert (producer.coordinator_epoch, producer.current_txn_start_offset) == (-1, -1)
    assert code(missing.error_code) == "UNKNOWN_TOPIC_OR_PARTITION"


def test_acls_are_disabled_without_an_authorizer(connection: Connection) -> None:
    """SECURITY_DISABLED to all three."""
    wanted = DescribeAclsRequest(resource_type_filter=1, operation=1, permission_type=1, pattern_type_filter=1)
    assert code(connection.call(wanted, DescribeAclsResponse).error_code) == "SECURITY_DISABLED"
    creation = AclCreation(
        resource_type=2, resource_name="t", principal="User:a", host="*", operation=3, permission_type=3
    )
    created = connection.call(CreateAclsRequest(creations=[creation]), CreateAclsResponse)
    assert [code(result.error_code) for result in created.results] == ["SECURITY_DISABLED"]
    pattern = DeleteAclsFilter(resource_type_filter=2, operation=1, permission_type=1, pattern_type_filter=1)
    deleted = connection.call(DeleteAclsRequest(filters=[pattern]), DeleteAclsResponse)
    assert [code(result.error_code) for result in deleted.filter_results] == ["SECURITY_DISABLED"]


@pytest.mark.parametrize("version", range(1, 4))
def test_delegation_tokens_are_refused_on_a_plain_connection(connection: Connection, version: int) -> None:
    """KIP-48: DELEGATION_TOKEN_REQUEST_NOT_ALLOWED."""
    request = CreateDelegationTokenRequest(max_lifetime_ms=-1)
    if version >= 3:
        request.owner_principal_type = request.owner_principal_name = ""
    created = connection.call(request, CreateDelegationTokenResponse, version)
    assert code(created.error_code) == "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED"
    described = connection.call(DescribeDelegationTokenRequest(owners=None), DescribeDelegationTokenResponse)
    assert code(described.error_code) == "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED"


def test_scram_credentials_of_nobody(connection: Connection) -> None:
    """KIP-554: RESOURCE_NOT_FOUND per user."""
    request = DescribeUserScramCredentialsRequest(users=[UserName(name="nobody")])
    answer = connection.call(request, DescribeUserScramCredentialsResponse)
    assert code(answer.error_code) == "NONE"
    assert [code(result.error_code) for result in answer.results] == ["RESOURCE_NOT_FOUND"]
    deletion = AlterUserScramCredentialsRequest(deletions=[ScramCredentialDeletion(name="nobody", mechanism=1)])
    altered = connection.call(deletion, AlterUserScramCredentialsResponse)
    assert [code(result.error_code) for result in altered.results] == ["RESOURCE_NOT_FOUND"]


def test_sasl_is_an_illegal_state_on_a_plain_listener(connection: Connection) -> None:
    """KIP-43: ILLEGAL_SASL_STATE."""
    answer = connection.call(SaslHandshakeRequest(mechanism="PLAIN"), SaslHandshakeResponse)
    assert code(answer.error_code) == "ILLEGAL_SASL_STATE"


def quota(connection: Connection, user: str, key: str, value: float, *, remove: bool = False) -> str:
    entry = AlterClientQuotasRequestEntryData(
        entity=[AlterClientQuotasRequestEntityData(entity_type="user", entity_name=user)],
        ops=[OpData(key=key, value=value, remove=remove)],
    )
    answer = connection.call(AlterClientQuotasRequest(entries=[entry]), AlterClientQuotasResponse)
    return code(answer.entries[0].error_code)


def quotas_of(connection: Connection, user: str) -> dict[str, float]:
    component = ComponentData(entity_type="user", match_type=0, match=user)
    request = DescribeClientQuotasRequest(components=[component], strict=True)
    answer = connection.call(request, DescribeClientQuotasResponse)
    assert code(answer.error_code) == "NONE"
    return {value.key: value.value for entry in answer.entries or [] for value in entry.values}


def test_quotas_are_set_described_and_removed(connection: Connection, unique: Unique) -> None:
    """KIP-546."""
    user = unique("user")
    assert quota(connection, user, "producer_byte_rate", 12345.0) == "NONE"
    wait_for(lambda: quotas_of(connection, user) == {"producer_byte_rate": 12345.0}, "the quota is set")
    assert quota(connection, user, "producer_byte_rate", 0.0, remove=True) == "NONE"
    wait_for(lambda: quotas_of(connection, user) == {}, "the quota is gone")


@pytest.mark.parametrize(("key", "value"), [("no_such_quota", 1.0), ("producer_byte_rate", 0.5)])
def test_quotas_that_cannot_be(connection: Connection, unique: Unique, key: str, value: float) -> None:
    """INVALID_REQUEST."""
    assert quota(connection, unique("user"), key, value) == "INVALID_REQUEST"


def test_the_quorum_is_this_node(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-595 and KIP-836: one voter, which leads, and the node's controller listener (KIP-853)."""
    node = metadata(connection, new_topic()).partitions[0].leader_id
    wanted = DescribeQuorumRequestTopicData(
        topic_name="__cluster_metadata", partitions=[DescribeQuorumRequestPartitionData(partition_index=0)]
    )
    answer = connection.call(DescribeQuorumRequest(topics=[wanted]), DescribeQuorumResponse)
    assert code(answer.error_code) == "NONE"
    (partition,) = answer.topics[0].partitions
    assert (partition.leader_id, [voter.replica_id for voter in partition.current_voters]) == (node, [node])
    assert partition.leader_epoch >= 1
    assert partition.high_watermark > 0
    assert partition.current_voters[0].replica_directory_id != bytes(16)
    assert partition.observers == []
    assert [entry.node_id for entry in answer.nodes] == [node]


def elect(connection: Connection, topic: str, partition: int, kind: int) -> str:
    request = ElectLeadersRequest(
        election_type=kind, topic_partitions=[TopicPartitions(topic=topic, partitions=[partition])], timeout_ms=10_000
    )
    answer = connection.call(request, ElectLeadersResponse)
    assert code(answer.error_code) == "NONE"
    return code(answer.replica_election_results[0].partition_result[0].error_code)


def test_elections_with_one_replica(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-183, KIP-460: the leader leads already."""
    topic = new_topic()
    assert elect(connection, topic, 0, 0) == "ELECTION_NOT_NEEDED"
    assert elect(connection, topic, 0, 1) == "ELECTION_NOT_NEEDED"
    assert elect(connection, topic, 7, 0) == "UNKNOWN_TOPIC_OR_PARTITION"


def reassign(connection: Connection, topic: str, replicas: list[int] | None) -> str:
    wanted = ReassignableTopic(name=topic, partitions=[ReassignablePartition(partition_index=0, replicas=replicas)])
    request = AlterPartitionReassignmentsRequest(topics=[wanted], timeout_ms=10_000)
    answer = connection.call(request, AlterPartitionReassignmentsResponse)
    assert code(answer.error_code) == "NONE"
    return code(answer.responses[0].partitions[0].error_code)


def test_reassignments_on_one_node(connection: Connection, new_topic: NewTopic, unique: Unique) -> None:
    """KIP-455: to where it is already, to nowhere, to nobody; and there is nothing to cancel."""
    topic = new_topic()
    node = metadata(connection, topic).partitions[0].leader_id
    assert reassign(connection, topic, [node]) == "NONE"
    assert reassign(connection, topic, [999]) == "INVALID_REPLICA_ASSIGNMENT"
    assert reassign(connection, topic, []) == "INVALID_REPLICA_ASSIGNMENT"
    assert reassign(connection, topic, None) == "NO_REASSIGNMENT_IN_PROGRESS"
    assert reassign(connection, unique("missing"), [node]) == "UNKNOWN_TOPIC_OR_PARTITION"
    listed = connection.call(ListPartitionReassignmentsRequest(topics=None), ListPartitionReassignmentsResponse)
    assert (code(listed.error_code), listed.topics) == ("NONE", [])


@pytest.mark.parametrize(
    ("feature", "level", "expected"),
    [
        ("no.such.feature", 1, "INVALID_UPDATE_VERSION"),
        ("metadata.version", 99, "INVALID_UPDATE_VERSION"),
        ("metadata.version", 33, "NONE"),
    ],
)
def test_features_are_checked(connection: Connection, feature: str, level: int, expected: str) -> None:
    """KIP-584: validate_only; the level that is there already is no error."""
    update = FeatureUpdateKey(feature=feature, max_version_level=level, upgrade_type=1)
    request = UpdateFeaturesRequest(feature_updates=[update], validate_only=True)
    assert code(connection.call(request, UpdateFeaturesResponse, 2).error_code) == expected


def test_replicas_stay_in_their_log_directory(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-113: to where it is already is fine; LOG_DIR_NOT_FOUND comes before UNKNOWN_TOPIC_OR_PARTITION."""
    topic = new_topic()
    (described,) = connection.call(DescribeLogDirsRequest(topics=None), DescribeLogDirsResponse).results
    for path, expected in (
        (described.log_dir, ["NONE", "UNKNOWN_TOPIC_OR_PARTITION"]),
        ("/no/such", ["LOG_DIR_NOT_FOUND", "LOG_DIR_NOT_FOUND"]),
    ):
        topics = [AlterReplicaLogDirTopic(name=name, partitions=[0]) for name in (topic, f"{topic}-missing")]
        request = AlterReplicaLogDirsRequest(dirs=[AlterReplicaLogDir(path=path, topics=topics)])
        answer = connection.call(request, AlterReplicaLogDirsResponse)
        outcomes = {result.topic_name: code(result.partitions[0].error_code) for result in answer.results}
        assert [outcomes[asked.name] for asked in topics] == expected
