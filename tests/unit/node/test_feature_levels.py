"""A node under an older metadata.version: what it writes, leaves out and refuses, and what an upgrade brings."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from odradek.metadata.image import DIRECTORY_MIGRATING
from odradek.node.start_error import StartError
from odradek.ports import Promise
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.alter_user_scram_credentials import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    ScramCredentialUpsertion,
)
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatRequest
from odradek.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from odradek.wire.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest, UpdateFeaturesResponse
from odradek.wire.persistent.framing import decode_metadata_record
from odradek.wire.records.batch import iter_records
from odradek.wire.records.header import CONTROL_BIT, iter_batches
from odradek.wire.schema import Message
from tests.unit.node.machine import DATA_DIR, Machine, RunningNode

BROKER = 4
UPGRADE = 1
LOG = f"{DATA_DIR}/__cluster_metadata-0/{0:020d}.log"


def formatted(release: str, settings: Mapping[str, str] | None = None) -> Machine:
    """A machine whose directories are formatted for a release."""
    machine = Machine(settings=settings)
    machine.format(release=release)
    return machine


def update(node: RunningNode, feature: str, level: int) -> ErrorCode:
    key = FeatureUpdateKey(feature=feature, max_version_level=level, upgrade_type=UPGRADE)
    request = UpdateFeaturesRequest(timeout_ms=1000, feature_updates=[key])
    return ErrorCode(node.ask(request, UpdateFeaturesResponse).error_code)


def written(machine: Machine) -> dict[str, set[int]]:
    """The versions of each metadata record in the log."""
    data = machine.files.read(LOG)
    found: dict[str, set[int]] = {}
    for position, header in iter_batches(data):
        if not header.attributes & CONTROL_BIT:
            for record in iter_records(data[position : position + header.size_bytes]):
                message, version = decode_metadata_record(record.value or b"")
                found.setdefault(message.NAME, set()).add(version)
    return found


def joins(node: RunningNode) -> ErrorCode:
    """What somebody gets who joins a group of KIP-848."""
    request = ConsumerGroupHeartbeatRequest(
        group_id="g", member_id="AAAAAAAAAAAAAAAAAAAAAA", member_epoch=0, rebalance_timeout_ms=1000,
        subscribed_topic_names=["a"], topic_partitions=[],
    )  # fmt: skip
    for _ in range(100):
        code = ErrorCode(node.ask(request, ConsumerGroupHeartbeatResponse).error_code)
        if code not in (ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS):
            break
        node.world.advance(100)
    return code


def test_under_the_oldest_version_only_what_it_knows_is_written() -> None:
    machine = formatted("3.3-IV3")
    node = machine.start()
    topic_id = node.create_topic("a")
    assert node.produce("a", b"x") is ErrorCode.NONE
    image = node.node.quorum.loader.image
    assert image.cluster.brokers[1].directories == ()
    assert image.topics.by_id[topic_id].partitions[0].directories == (DIRECTORY_MIGRATING,)
    assert not image.cluster.controllers
    node.world.advance(5_000)
    versions = written(machine)
    assert (versions["RegisterBrokerRecord"], versions["PartitionRecord"]) == ({1}, {0})
    assert "BeginTransactionRecord" not in versions
    assert versions["BrokerRegistrationChangeRecord"] == {0}, "no cordoned directories are noted"
    node.stop()


@pytest.mark.parametrize(("version", "cordoned"), [("4.2-IV1", None), ("4.3-IV0", [])])
def test_heartbeats_say_of_cordoned_directories_what_controllers_of_the_version_know(
    version: str, cordoned: list[bytes] | None
) -> None:
    """A heartbeat that says anything of them has no place in the versions that controllers of before Kafka 4.3 know."""
    node = formatted(version).start()
    sent: list[BrokerHeartbeatRequest] = []
    lifecycle = node.node.broker.lifecycle
    send = lifecycle._controller.send

    def watched(request: Message, response: type[Message]) -> Promise[Message]:
        if isinstance(request, BrokerHeartbeatRequest):
            sent.append(request)
        return send(request, response)

    lifecycle._controller.send = watched  # type: ignore[method-assign, assignment] # only looks
    node.world.advance(5_000)
    assert sent
    assert [beat.cordoned_log_dirs for beat in sent] == [cordoned] * len(sent)
    node.stop()


def test_what_an_older_version_does_not_know_is_refused() -> None:
    node = formatted("3.3-IV3").start()
    credential = ScramCredentialUpsertion(name="u", mechanism=1, iterations=5000, salt=b"s", salted_password=b"p")
    scram = node.ask(AlterUserScramCredentialsRequest(upsertions=[credential]), AlterUserScramCredentialsResponse)
    assert (scram.results[0].error_code, scram.results[0].error_message) == (
        ErrorCode.UNSUPPORTED_VERSION,
        "The current metadata.version does not support SCRAM",
    )
    cordoned = AlterableConfig(name="cordoned.log.dirs", value=DATA_DIR)
    resource = AlterConfigsResource(resource_type=BROKER, resource_name="1", configs=[cordoned])
    altered = node.ask(IncrementalAlterConfigsRequest(resources=[resource]), IncrementalAlterConfigsResponse)
    assert (altered.responses[0].error_code, altered.responses[0].error_message) == (
        ErrorCode.INVALID_CONFIG,
        "The cordoned.log.dirs configuration value cannot be set because it requires metadata.version >= 4.3-IV0",
    )
    assert joins(node) is ErrorCode.UNSUPPORTED_VERSION
    assert update(node, "eligible.leader.replicas.version", 1) is ErrorCode.INVALID_UPDATE_VERSION


def test_an_upgrade_while_the_node_runs_makes_it_register_its_directories_and_its_controller() -> None:
    machine = formatted("3.3-IV3")
    node = machine.start()
    node.create_topic("old")
    assert update(node, "metadata.version", 33) is ErrorCode.NONE
    node.world.advance(5_000)
    image = node.node.quorum.loader.image
    (directory,) = image.cluster.brokers[1].directories
    assert list(image.cluster.controllers) == [1]
    topic_id = node.create_topic("new")
    assert node.node.quorum.loader.image.topics.by_id[topic_id].partitions[0].directories == (directory,)
    assert node.produce("old", b"x") is ErrorCode.NONE
    assert (written(machine)["RegisterBrokerRecord"], written(machine)["PartitionRecord"]) == ({1, 4}, {0, 2})
    assert update(node, "group.version", 1) is ErrorCode.NONE
    assert joins(node) is not ErrorCode.UNSUPPORTED_VERSION
    node.stop()
    assert machine.start().fetch("old") == [b"x"]


def test_several_log_directories_need_a_version_that_knows_of_them() -> None:
    settings = {"log.dirs": f"{DATA_DIR},/more"}
    with pytest.raises(StartError, match=r"Multiple log directories .* MetadataVersion 3\.7-IV1\. Need 3\.7-IV2 or"):
        formatted("3.7-IV1", settings).start()
    formatted("3.7-IV2", settings).start().stop()
