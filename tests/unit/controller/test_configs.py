from __future__ import annotations

import pytest

from odradek.wire.errors import ErrorCode
from odradek.wire.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntityData,
    AlterClientQuotasRequestEntryData,
    AlterClientQuotasResponse,
    OpData,
)
from odradek.wire.messages.alter_configs import (
    AlterableConfig as LegacyConfig,
)
from odradek.wire.messages.alter_configs import (
    AlterConfigsRequest,
    AlterConfigsResponse,
)
from odradek.wire.messages.alter_configs import (
    AlterConfigsResource as LegacyResource,
)
from odradek.wire.messages.alter_user_scram_credentials import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    ScramCredentialDeletion,
    ScramCredentialUpsertion,
)
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from odradek.wire.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest, UpdateFeaturesResponse
from tests.unit.controller.harness import Node, started
from tests.unit.controller.test_topics import create, topic

TOPIC, BROKER, CLIENT_METRICS, GROUP = 2, 4, 16, 32
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3


def alter(
    node: Node, kind: int, name: str, *changes: tuple[str, int, str | None], validate_only: bool = False
) -> tuple[int, str | None]:
    configs = [AlterableConfig(name=key, config_operation=op, value=value) for key, op, value in changes]
    resource = AlterConfigsResource(resource_type=kind, resource_name=name, configs=configs)
    request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=validate_only)
    (result,) = node.send(request, IncrementalAlterConfigsResponse).responses
    return result.error_code, result.error_message


def test_values_are_set_appended_to_taken_from_and_deleted() -> None:
    node = started()
    create(node, topic("t"))
    assert alter(node, TOPIC, "t", ("retention.ms", SET, "5"), ("cleanup.policy", APPEND, "compact")) == (0, None)
    assert node.image.configs.properties(TOPIC, "t") == {"retention.ms": "5", "cleanup.policy": "delete,compact"}
    assert alter(node, TOPIC, "t", ("retention.ms", DELETE, None), ("cleanup.policy", SUBTRACT, "delete"))[0] == 0
    assert node.image.configs.properties(TOPIC, "t") == {"cleanup.policy": "compact"}


def test_a_change_that_changes_nothing_writes_nothing() -> None:
    node = started()
    create(node, topic("t", retention_ms="5"))
    offset = node.raft.end_offset
    assert alter(node, TOPIC, "t", ("retention.ms", SET, "5"))[0] == 0
    assert alter(node, TOPIC, "t", ("retention.ms", SET, "6"), validate_only=True)[0] == 0
    assert node.raft.end_offset == offset


@pytest.mark.parametrize(
    ("kind", "name", "change", "code"),
    [
        (TOPIC, "t", ("nope", SET, "1"), ErrorCode.INVALID_CONFIG),
        (TOPIC, "t", ("retention.ms", SET, "soon"), ErrorCode.INVALID_CONFIG),
        (TOPIC, "t", ("retention.ms", APPEND, "1"), ErrorCode.INVALID_CONFIG),
        (TOPIC, "nope", ("retention.ms", SET, "1"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "", ("retention.ms", SET, "1"), ErrorCode.INVALID_REQUEST),
        (TOPIC, "a b", ("retention.ms", SET, "1"), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (GROUP, "g", ("nope", SET, "1"), ErrorCode.INVALID_CONFIG),
        (CLIENT_METRICS, "", ("interval.ms", SET, "1000"), ErrorCode.INVALID_REQUEST),
        (BROKER, "x", ("log.cleaner.threads", SET, "1"), ErrorCode.INVALID_REQUEST),
        (BROKER, "-1", ("log.cleaner.threads", SET, "1"), ErrorCode.INVALID_REQUEST),
        (BROKER, "1", ("min.insync.replicas", SET, "1"), ErrorCode.INVALID_CONFIG),
        (BROKER, "", ("min.insync.replicas", DELETE, None), ErrorCode.INVALID_CONFIG),
        (99, "t", ("retention.ms", SET, "1"), ErrorCode.UNSUPPORTED_VERSION),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_changes_nothing(
    kind: int, name: str, change: tuple[str, int, str | None], code: ErrorCode
) -> None:
    node = started()
    create(node, topic("t"))
    offset = node.raft.end_offset
    assert alter(node, kind, name, change)[0] == code
    assert node.raft.end_offset == offset


def test_a_legacy_change_replaces_all_that_is_set() -> None:
    node = started()
    create(node, topic("t", retention_ms="5", segment_bytes="2000000"))
    resource = LegacyResource(
        resource_type=TOPIC, resource_name="t", configs=[LegacyConfig(name="flush.ms", value="9")]
    )
    (result,) = node.send(AlterConfigsRequest(resources=[resource]), AlterConfigsResponse).responses
    assert result.error_code == 0
    assert node.image.configs.properties(TOPIC, "t") == {"flush.ms": "9"}


def test_cluster_wide_values_are_the_defaults_of_topics_that_come_after() -> None:
    node = started()
    assert alter(node, BROKER, "", ("log.retention.ms", SET, "77"))[0] == 0
    (result,) = create(node, topic("t"))
    shown = {config.name: (config.value, config.config_source) for config in result.configs or ()}
    assert shown["retention.ms"] == ("77", 3)


def test_another_minimum_of_replicas_clears_who_was_eligible() -> None:
    node = started()
    node.register(2)
    node.register(3)
    create(node, topic("t", 1, 3, min_insync_replicas="3"))
    node.heartbeat(2, node.image.cluster.brokers[2].epoch, want_fence=True)
    assert list(node.image.topics.by_name["t"].partitions[0].elr) == [2]
    assert alter(node, TOPIC, "t", ("min.insync.replicas", SET, "2"))[0] == 0
    assert list(node.image.topics.by_name["t"].partitions[0].elr) == []


def quota(
    node: Node, entity: dict[str, str | None], key: str, value: float, *, remove: bool = False
) -> tuple[int, str | None]:
    entry = AlterClientQuotasRequestEntryData(
        entity=[
            AlterClientQuotasRequestEntityData(entity_type=kind, entity_name=name) for kind, name in entity.items()
        ],
        ops=[OpData(key=key, value=value, remove=remove)],
    )
    (result,) = node.send(AlterClientQuotasRequest(entries=[entry]), AlterClientQuotasResponse).entries
    return result.error_code, result.error_message


def test_quotas_are_kept_by_entity_whatever_the_order_of_its_parts() -> None:
    node = started()
    assert quota(node, {"user": "u", "client-id": None}, "producer_byte_rate", 100.0) == (0, None)
    assert quota(node, {"client-id": None, "user": "u"}, "consumer_byte_rate", 200.0) == (0, None)
    assert dict(node.image.client_quotas.entities) == {
        (("client-id", None), ("user", "u")): {"producer_byte_rate": 100.0, "consumer_byte_rate": 200.0}
    }
    quota(node, {"user": "u", "client-id": None}, "producer_byte_rate", 0.0, remove=True)
    quota(node, {"user": "u", "client-id": None}, "consumer_byte_rate", 0.0, remove=True)
    assert not node.image.client_quotas.entities


@pytest.mark.parametrize(
    ("entity", "key", "value", "message"),
    [
        ({"user": "u"}, "nope", 1.0, "Invalid configuration key nope"),
        ({"user": "u"}, "producer_byte_rate", 0.0, "Quota producer_byte_rate must be greater than 0"),
        ({"user": "u"}, "producer_byte_rate", 1.5, "producer_byte_rate cannot be a fractional value."),
        ({"user": "u"}, "producer_byte_rate", 1e30, "Proposed value for producer_byte_rate is too large for a LONG."),
        ({"user": ""}, "producer_byte_rate", 1.0, "Empty user not supported"),
        ({"planet": "x"}, "producer_byte_rate", 1.0, "Unhandled client quota entity type: planet"),
        ({}, "producer_byte_rate", 1.0, "Invalid empty client quota entity"),
        ({"ip": "no host!"}, "connection_creation_rate", 1.0, "no host! is not a valid IP or resolvable host."),
    ],
)
def test_a_quota_that_cannot_be_is_refused(entity: dict[str, str | None], key: str, value: float, message: str) -> None:
    node = started()
    assert quota(node, entity, key, value) == (ErrorCode.INVALID_REQUEST, message)
    assert not node.image.client_quotas.entities


def test_a_password_is_kept_as_the_keys_that_scram_defines() -> None:
    node = started()
    upsertion = ScramCredentialUpsertion(
        name="user",
        mechanism=1,
        iterations=4096,
        salt=bytes.fromhex("5b6d99689d123b3b"),
        salted_password=bytes.fromhex("1d96ee3a529b5a5f9e47c01f229a2cb8a6e15f7d"),
    )
    request = AlterUserScramCredentialsRequest(upsertions=[upsertion])
    (result,) = node.send(request, AlterUserScramCredentialsResponse).results
    assert (result.user, result.error_code) == ("user", 0)
    credential = node.image.scram.credentials[1, "user"]
    assert len(credential.stored_key) == len(credential.server_key) == 32
    assert credential.iterations == 4096
    assert "stored" not in repr(credential)
    twice = AlterUserScramCredentialsRequest(
        upsertions=[upsertion], deletions=[ScramCredentialDeletion(name="user", mechanism=1)]
    )
    (result,) = node.send(twice, AlterUserScramCredentialsResponse).results
    assert result.error_code == ErrorCode.DUPLICATE_RESOURCE
    deletion = AlterUserScramCredentialsRequest(deletions=[ScramCredentialDeletion(name="user", mechanism=1)])
    assert node.send(deletion, AlterUserScramCredentialsResponse).results[0].error_code == 0
    assert not node.image.scram.credentials
    again = node.send(deletion, AlterUserScramCredentialsResponse).results[0]
    assert again.error_code == ErrorCode.RESOURCE_NOT_FOUND


@pytest.mark.parametrize(
    ("name", "level", "upgrade_type", "reason"),
    [
        ("metadata.version", 34, 1, "Local controller 1 only supports versions 7-33"),
        ("nope", 1, 1, "Local controller 1 does not support this feature."),
        ("group.version", -1, 2, "A feature version cannot be less than 0."),
        ("group.version", 1, 7, "The controller does not support the given upgrade type."),
        ("kraft.version", 0, 2, "Can't downgrade the version of this feature."),
    ],
)
def test_a_feature_level_that_cannot_be_is_refused(name: str, level: int, upgrade_type: int, reason: str) -> None:
    node = started()
    update = FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=upgrade_type)
    answer = node.send(UpdateFeaturesRequest(feature_updates=[update]), UpdateFeaturesResponse)
    assert answer.error_code == ErrorCode.INVALID_UPDATE_VERSION
    assert answer.error_message is not None
    assert answer.error_message.endswith(f"Invalid update version {level} for feature {name}. {reason}")


def test_a_feature_can_be_turned_off_and_on() -> None:
    node = started()
    for level, upgrade_type in ((0, 2), (1, 1)):
        update = FeatureUpdateKey(feature="group.version", max_version_level=level, upgrade_type=upgrade_type)
        answer = node.send(UpdateFeaturesRequest(feature_updates=[update]), UpdateFeaturesResponse)
        assert answer.error_code == 0
        assert node.image.features.finalized.get("group.version", 0) == level
