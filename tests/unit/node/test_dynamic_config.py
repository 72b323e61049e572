"""Properties that are set at run time take effect, and cannot keep a node from starting (KIP-226)."""

from __future__ import annotations

import pytest

from odradek.net.limits import NetworkLimits
from odradek.storage.log_config import LogConfig
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    TopicRequest,
)
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from odradek.wire.persistent.metadata.config_record import ConfigRecord
from tests.unit.broker.scene import batch_of
from tests.unit.node.machine import Machine, RunningNode

TOPIC = 2
BROKER = 4
SET, DELETE = 0, 1
EVERYONE, SELF = "", "1"
MINUTE_MS = 60_000


def alter(node: RunningNode, name: str, value: str | None, *, resource: str = EVERYONE) -> None:
    config = AlterableConfig(name=name, config_operation=SET if value is not None else DELETE, value=value)
    request = IncrementalAlterConfigsRequest(
        resources=[AlterConfigsResource(resource_type=BROKER, resource_name=resource, configs=[config])]
    )
    response = node.ask(request, IncrementalAlterConfigsResponse)
    assert response.responses[0].error_code == ErrorCode.NONE, response.responses[0].error_message


def limits(node: RunningNode) -> NetworkLimits:
    """The limits that the socket layer was last told."""
    return NetworkLimits.from_config(node.configs[-1])


def put_into_metadata(node: RunningNode, record: ConfigRecord) -> None:
    """What another version of the controller may have let pass."""
    node.node.controller.raft.append([(record, 0)], atomic=False)
    node.world.advance(0)


def test_limits_of_connections_change_while_the_node_runs() -> None:
    node = Machine().start()
    alter(node, "max.connections.per.ip", "7")
    assert limits(node).max_connections_per_ip == 7
    alter(node, "max.connections.per.ip", "9", resource=SELF)
    assert limits(node).max_connections_per_ip == 9
    alter(node, "max.connections.per.ip", None, resource=SELF)
    alter(node, "max.connections.per.ip", None)
    assert limits(node) == NetworkLimits.from_config(node.node.config)


def test_a_start_takes_over_what_was_set_before() -> None:
    machine = Machine()
    node = machine.start()
    alter(node, "max.connections", "100")
    node = machine.start()
    assert limits(node).max_connections == 100


def test_a_clusters_message_limit_holds_for_topics_without_their_own() -> None:
    node = Machine().start()
    node.create_topic("default")
    node.create_topic("own", configs={"max.message.bytes": "1000000"})
    value = b"v" * 5000
    assert node.produce("default", value) == ErrorCode.NONE
    alter(node, "message.max.bytes", "1000")
    assert node.produce("default", value) == ErrorCode.MESSAGE_TOO_LARGE
    assert node.produce("own", value) == ErrorCode.NONE
    alter(node, "message.max.bytes", None)
    assert node.produce("default", value) == ErrorCode.NONE


def test_a_clusters_retention_deletes_records() -> None:
    node = Machine().start()
    node.create_topic("t", configs={"segment.ms": "1000"})
    node.produce("t", b"old")
    node.world.advance(10 * MINUTE_MS)
    node.produce("t", b"new")
    assert (node.fetch("t"), node.fetch("t", 1)) == ([b"old"], [b"new"])
    alter(node, "log.retention.ms", str(8 * MINUTE_MS))
    node.world.advance(6 * MINUTE_MS)
    assert node.fetch("t", 1) == [b"new"]
    assert node.fetch("t") == ErrorCode.OFFSET_OUT_OF_RANGE


def test_idle_producers_are_forgotten_as_the_property_says_now() -> None:
    node = Machine().start()
    node.create_topic("t")
    batch = batch_of(b"x", timestamp_ms=node.world.now_ms(), producer_id=5, producer_epoch=0, base_sequence=0)
    node.produced("t", batch=batch)
    node.world.advance(20 * MINUTE_MS)
    assert producers(node) == [5]
    alter(node, "producer.id.expiration.ms", str(MINUTE_MS))
    node.world.advance(20 * MINUTE_MS)
    assert producers(node) == []


def producers(node: RunningNode) -> list[int]:
    request = DescribeProducersRequest(topics=[TopicRequest(name="t", partition_indexes=[0])])
    response = node.ask(request, DescribeProducersResponse)
    return [producer.producer_id for producer in response.topics[0].partitions[0].active_producers]


@pytest.mark.parametrize("resource", [EVERYONE, SELF])
def test_a_value_that_does_not_parse_any_more_is_left_out_and_the_others_hold(
    resource: str, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine()
    node = machine.start()
    alter(node, "max.connections", "100")
    bad = ConfigRecord(resource_type=BROKER, resource_name=resource, name="message.max.bytes", value="a lot")
    put_into_metadata(node, bad)
    assert limits(node).max_connections == 100
    caplog.clear()

    node = machine.start()
    assert limits(node).max_connections == 100
    assert "message.max.bytes" in caplog.text
    node.create_topic("t")
    assert node.produce("t", b"x") == ErrorCode.NONE


def test_an_unknown_dynamic_property_does_not_stop_the_start() -> None:
    machine = Machine()
    node = machine.start()
    put_into_metadata(node, ConfigRecord(resource_type=BROKER, resource_name=SELF, name="what.is.this", value="1"))
    node = machine.start()
    node.create_topic("t")
    assert node.produce("t", b"x") == ErrorCode.NONE


def test_a_topic_s_setting_that_cannot_be_read_gives_way_to_the_default_and_can_be_corrected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = Machine()
    node = machine.start()
    node.create_topic("t", configs={"retention.bytes": "77"})
    put_into_metadata(node, ConfigRecord(resource_type=TOPIC, resource_name="t", name="segment.bytes", value="many"))
    assert node.produce("t", b"a") == ErrorCode.NONE
    for _ in range(2):
        node = machine.start()
        assert "segment.bytes" in caplog.text
        config = node.node.broker.replicas.partition(TopicPartition("t", 0)).local_log().config
        assert (config.segment_bytes, config.retention_bytes) == (LogConfig().segment_bytes, 77)
        assert node.produce("t", b"b") == ErrorCode.NONE
        node.create_topic(f"another{machine.boots}")
    change = AlterableConfig(name="segment.bytes", config_operation=SET, value="2000000")
    resource = AlterConfigsResource(resource_type=TOPIC, resource_name="t", configs=[change])
    response = node.ask(IncrementalAlterConfigsRequest(resources=[resource]), IncrementalAlterConfigsResponse)
    assert response.responses[0].error_code == ErrorCode.NONE
    assert node.node.broker.replicas.partition(TopicPartition("t", 0)).local_log().config.segment_bytes == 2_000_000
