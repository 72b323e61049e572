"""What the group coordinator takes from the configuration."""

from __future__ import annotations

from odradek.broker.groups.options import GroupOptions, offsets_topic
from odradek.config import BrokerConfig, single_node_defaults
from odradek.wire.records.compression import Codec


def config(**properties: str) -> BrokerConfig:
    """A single node with these properties, whose dots are written as double underscores."""
    defaults = single_node_defaults("localhost", 9092, data_dir="/data")
    return BrokerConfig.load(defaults | {name.replace("__", "."): value for name, value in properties.items()})


def test_the_options_default_to_the_properties_defaults() -> None:
    assert GroupOptions.from_config(config(group__initial__rebalance__delay__ms="3000")) == GroupOptions()


def test_properties_that_are_set() -> None:
    options = GroupOptions.from_config(
        config(
            offsets__retention__minutes="2",
            offsets__topic__compression__codec="3",
            group__max__size="7",
            offset__metadata__max__bytes="11",
        )
    )
    assert options.offsets_retention_ms == 120_000
    assert options.compression is Codec.LZ4
    assert (options.max_size, options.offset_metadata_max_bytes) == (7, 11)


def test_the_topic_of_the_groups() -> None:
    topic = offsets_topic(config(offsets__topic__num__partitions="3"))
    assert (topic.name, topic.num_partitions, topic.replication_factor) == ("__consumer_offsets", 3, 1)
    assert {entry.name: entry.value for entry in topic.configs} == {
        "cleanup.policy": "compact",
        "compression.type": "producer",
        "segment.bytes": "104857600",
    }
