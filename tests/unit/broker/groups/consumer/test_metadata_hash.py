"""The hash of a group's topics; the numbers are hash4j's, which Kafka uses."""

from __future__ import annotations

import pytest

from odradek.broker.groups.consumer.metadata_hash import TopicHashes, topic_hash
from odradek.broker.groups.consumer.xxh3 import xxh3_64
from tests.unit.broker.groups.consumer.scene import Consumers

OF_HASH4J = {
    0: 3244421341483603138,
    1: 1433843135270481901,
    3: -6266602912829716452,
    4: 7895465118229274323,
    8: 6941064856527638883,
    9: -72226354546400344,
    16: -5131753158909839995,
    17: 8163341949877205007,
    32: 1873302701886544469,
    33: 4486878507168070088,
    64: 2917965298538373825,
    96: -1115511928276236477,
    128: 7440608504995537343,
    129: -4150982730466284604,
    200: 8389308914288017243,
    240: 7229805477010515663,
    241: -8364630114420064745,
    256: 4339360625268998362,
    500: -5135160933809773974,
    1024: -7241394453710343503,
    1025: -9192937061388044938,
    2048: -6060151295482384687,
    5000: 8762507191635236893,
}
"""By length, of bytes 3, 10, 17, ..."""


@pytest.mark.parametrize("size", OF_HASH4J)
def test_xxh3_of_every_branch(size: int) -> None:
    assert xxh3_64(bytes((index * 7 + 3) & 255 for index in range(size))) == OF_HASH4J[size]


def test_the_hash_of_a_topic() -> None:
    scene = Consumers({"orders": 3})
    topic = scene.image.topics.by_name["orders"]
    scene.set_racks("b", None, "a")
    with_racks = topic_hash(topic, scene.image.cluster)
    assert with_racks == 2931161757653016869
    scene.set_racks()
    assert topic_hash(topic, scene.image.cluster) == -2084488436095635715


def test_the_hash_of_a_group_goes_by_existing_topics_in_the_order_of_their_names() -> None:
    scene = Consumers({"a": 1, "b": 2})
    hashes = TopicHashes(lambda: scene.image)
    both = hashes.group_hash(["b", "missing", "a"])
    assert both == hashes.group_hash({"a": 1, "b": 1})
    assert hashes.group_hash(["missing"]) == 0
    scene.put_topic("b", 3)
    changed = hashes.group_hash(["a", "b"])
    assert changed != both
    scene.remove_topic("a")
    assert hashes.group_hash(["a", "b"]) not in (changed, both)
