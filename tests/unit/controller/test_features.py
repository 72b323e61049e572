"""UpdateFeatures in a cluster, whose brokers and controllers all have a say."""

from __future__ import annotations

import pytest

from odradek.controller.features import FeatureUpdate, update_features
from odradek.metadata.snapshot import VersionedRecord
from odradek.ports import Promise
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.broker_registration import BrokerRegistrationResponse, Feature
from odradek.wire.messages.controller_registration import (
    ControllerRegistrationRequest,
    ControllerRegistrationResponse,
)
from odradek.wire.messages.controller_registration import Feature as ControllerFeature
from odradek.wire.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest, UpdateFeaturesResponse
from odradek.wire.persistent.metadata.config_record import ConfigRecord
from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord
from tests.unit.controller.harness import NODE_ID, Disk, Node
from tests.unit.controller.several_brokers import Cluster

UPGRADE = 1
SAFE_DOWNGRADE = 2
UNSAFE_DOWNGRADE = 3
ELR = "eligible.leader.replicas.version"
BROKER = 4


def update(node: Node, *updates: tuple[str, int, int], validate_only: bool = False) -> str | None:
    """The error message of an update of (feature, level, type), without what all of them begin with."""
    request = UpdateFeaturesRequest(
        feature_updates=[
            FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=upgrade_type)
            for name, level, upgrade_type in updates
        ],
        validate_only=validate_only,
    )
    answer = node.send(request, UpdateFeaturesResponse)
    if answer.error_code == 0:
        return None
    assert answer.error_code == ErrorCode.INVALID_UPDATE_VERSION
    assert answer.error_message is not None
    return answer.error_message.partition("had an error: ")[2]


def finalize(node: Node, name: str, level: int) -> None:
    """Put the log into a state that formatting could have left."""
    node.raft.append([VersionedRecord(FeatureLevelRecord(name=name, feature_level=level), 0)], atomic=True)
    node.controller.leader_changed(None, node.raft.epoch)
    node.controller.leader_changed(NODE_ID, node.raft.epoch)


def level_of(node: Node, name: str) -> int:
    return node.image.features.finalized.get(name, 0)


def test_a_broker_that_does_not_support_a_level_stands_in_its_way() -> None:
    cluster = Cluster(1)
    finalize(cluster.node, "share.version", 0)
    request = cluster.node.registration(2)
    request.features = [each for each in request.features if each.name != "share.version"]
    request.features.append(Feature(name="share.version", min_supported_version=0, max_supported_version=1))
    assert cluster.node.send(request, BrokerRegistrationResponse).error_code == 0
    assert update(cluster.node, ("share.version", 2, UPGRADE)) == (
        "Invalid update version 2 for feature share.version. Broker 2 only supports versions 0-1"
    )
    assert update(cluster.node, ("share.version", 1, UPGRADE), ("group.version", 0, SAFE_DOWNGRADE)) is None
    assert (level_of(cluster.node, "share.version"), level_of(cluster.node, "group.version")) == (1, 0)


def test_a_controller_that_does_not_know_a_feature_stands_in_its_way() -> None:
    cluster = Cluster(1)
    finalize(cluster.node, "group.version", 0)
    request = ControllerRegistrationRequest(
        controller_id=7,
        incarnation_id=b"c" * 16,
        features=[ControllerFeature(name="metadata.version", min_supported_version=7, max_supported_version=33)],
    )
    assert cluster.node.send(request, ControllerRegistrationResponse).error_code == 0
    refused = update(cluster.node, ("streams.version", 1, UPGRADE), ("group.version", 1, UPGRADE))
    assert (
        refused == "Invalid update version 1 for feature streams.version. Controller 7 does not support this feature."
    )
    assert level_of(cluster.node, "group.version") == 0


def test_all_static_voters_have_to_be_heard() -> None:
    node = Node(Disk(), properties={"controller.quorum.voters": f"{NODE_ID}@localhost:9093,5@localhost:9095"}).start()
    assert update(node, ("group.version", 0, SAFE_DOWNGRADE)) == (
        "Invalid update version 0 for feature group.version. "
        "controller 5 has not registered, and may not support this feature"
    )
    assert (
        node.send(
            ControllerRegistrationRequest(controller_id=5, incarnation_id=b"c" * 16), ControllerRegistrationResponse
        ).error_code
        == 0
    )
    assert update(node, ("group.version", 0, SAFE_DOWNGRADE)) is None


@pytest.mark.parametrize(
    ("current", "level", "upgrade_type", "reason"),
    [
        (31, 30, SAFE_DOWNGRADE, None),
        (29, 23, UNSAFE_DOWNGRADE, None),
        (
            29,
            22,
            SAFE_DOWNGRADE,
            "Refusing to perform the requested downgrade because it might delete metadata information.",
        ),
        (32, 31, UNSAFE_DOWNGRADE, "Unsafe metadata downgrade is not supported in this version."),
        (29, 33, UPGRADE, None),
    ],
)
def test_metadata_can_only_go_back_to_a_version_with_the_same_records(
    current: int, level: int, upgrade_type: int, reason: str | None
) -> None:
    node = Node(Disk()).start()
    finalize(node, "metadata.version", current)
    refused = update(node, ("metadata.version", level, upgrade_type))
    if reason is None:
        assert refused is None
    else:
        assert refused == f"Unsupported metadata.version downgrade from {current} to {level}. {reason}"
    assert level_of(node, "metadata.version") == (level if reason is None else current)


def test_eligible_replicas_need_a_metadata_version_which_may_come_with_them() -> None:
    node = Node(Disk()).start()
    finalize(node, ELR, 0)
    finalize(node, "metadata.version", 22)
    assert update(node, (ELR, 1, UPGRADE)) == (
        f"Invalid update version 1 for feature {ELR}. {ELR} could not be set to 1 because it depends on "
        "metadata.version level 23"
    )
    assert update(node, (ELR, 1, UPGRADE), ("metadata.version", 23, UPGRADE)) is None


def test_eligible_replicas_make_all_brokers_count_with_the_same_minimum() -> None:
    node = Node(Disk(), properties={"min.insync.replicas": "3"}).start()
    finalize(node, ELR, 0)
    records = [
        VersionedRecord(
            ConfigRecord(resource_type=BROKER, resource_name=broker, name="min.insync.replicas", value=value), 0
        )
        for broker, value in (("", None), ("1", "2"))
    ]
    node.raft.append(records, atomic=True)
    finalize(node, "group.version", 0)
    assert update(node, (ELR, 1, UPGRADE), validate_only=True) is None
    assert node.image.configs.properties(BROKER, "1") == {"min.insync.replicas": "2"}
    assert update(node, (ELR, 1, UPGRADE)) is None
    assert node.image.configs.properties(BROKER, "1") == {}
    assert node.image.configs.properties(BROKER, "") == {"min.insync.replicas": "3"}
    assert level_of(node, ELR) == 1


class StaticQuorum:
    """A quorum of static voters, which can be upgraded or not."""

    def __init__(self, *, is_ready: bool) -> None:
        self.kraft_version = 0
        self._is_ready = is_ready

    def upgrade_kraft_version(self, version: int, *, validate_only: bool) -> None:
        if not self._is_ready:
            raise KafkaError(ErrorCode.INVALID_UPDATE_VERSION, "not all of them support it")
        if not validate_only:
            self.kraft_version = version


def upgrade_quorum(quorum: StaticQuorum, *others: FeatureUpdate, validate_only: bool = False) -> Promise[None]:
    updates = [FeatureUpdate("kraft.version", 1, UPGRADE), *others]
    node = Node(Disk()).start()
    end_offset = node.raft.end_offset
    decided = node.controller.submit(lambda state: update_features(state, updates, quorum, validate_only=validate_only))
    assert node.raft.end_offset - end_offset == (quorum.kraft_version == 1)
    return decided


def test_kraft_version_is_raised_by_the_quorum_and_answered_once_a_record_behind_it_is_committed() -> None:
    quorum = StaticQuorum(is_ready=True)
    assert upgrade_quorum(quorum, validate_only=True).error is None
    assert quorum.kraft_version == 0
    assert upgrade_quorum(quorum).error is None
    assert quorum.kraft_version == 1


def test_kraft_version_stays_where_the_quorum_or_another_update_refuses() -> None:
    refused = upgrade_quorum(StaticQuorum(is_ready=False)).error
    assert isinstance(refused, KafkaError)
    assert refused.message == "not all of them support it"
    quorum = StaticQuorum(is_ready=True)
    assert upgrade_quorum(quorum, FeatureUpdate("group.version", 7, UPGRADE)).error is not None
    assert quorum.kraft_version == 0


def test_a_kraft_version_in_force_can_be_asked_for_but_not_taken_back() -> None:
    node = Node(Disk()).start()
    assert update(node, ("kraft.version", 1, UPGRADE)) is None
    assert update(node, ("kraft.version", 1, SAFE_DOWNGRADE)) is None
    assert update(node, ("kraft.version", 0, SAFE_DOWNGRADE)) == (
        "Invalid update version 0 for feature kraft.version. Can't downgrade the version of this feature."
    )
