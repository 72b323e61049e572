"""Configurations of groups, as they are set at run time."""

from __future__ import annotations

from collections.abc import Mapping

from odradek.broker.groups.consumer.environment import ConsumerGroupConfig, GroupConfigs
from odradek.config import BrokerConfig, single_node_defaults
from odradek.config.types import ResourceType
from odradek.metadata.image import ConfigsImage, MetadataImage
from odradek.metadata.persistent_map import PersistentMap

BROKER = BrokerConfig.load(
    {**single_node_defaults("localhost", 9092, data_dir="data"), "group.consumer.min.heartbeat.interval.ms": "1000"}
)


def image_with(**groups: Mapping[str, str]) -> MetadataImage:
    resources = {(int(ResourceType.GROUP), name): properties for name, properties in groups.items()}
    return MetadataImage.empty()._replace(configs=ConfigsImage(PersistentMap(resources)))


def test_a_group_has_its_own_values_within_the_brokers_bounds() -> None:
    image = image_with(g={"consumer.heartbeat.interval.ms": "10", "share.session.timeout.ms": "odd"})
    broker = BROKER
    configs = GroupConfigs(lambda: image, lambda: broker)
    assert configs.of("other") == ConsumerGroupConfig(45_000, 5000, 1000)
    assert configs.of("g") == ConsumerGroupConfig(45_000, 1000, 1000)
    assert configs.of("g") is configs.of("g")
    image = image_with(g={"consumer.heartbeat.interval.ms": "2000"})
    assert configs.of("g").heartbeat_interval_ms == 2000
    broker = BROKER.with_dynamic({"group.consumer.assignment.interval.ms": "500"}, {})
    assert configs.of("g") == ConsumerGroupConfig(45_000, 2000, 500)
    image = image_with()
    assert configs.of("g") == ConsumerGroupConfig(45_000, 5000, 500)
