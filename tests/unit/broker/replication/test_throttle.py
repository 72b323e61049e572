"""Replication quotas (KIP-73)."""

from __future__ import annotations

from collections.abc import Mapping

from odradek.broker.replication.throttle import FOLLOWER, LEADER, UNLIMITED, ReplicationThrottle
from odradek.metadata.image import ConfigsImage, ResourceKey
from odradek.metadata.persistent_map import PersistentMap
from odradek.storage.topic_partition import TopicPartition

KIB = 1024


def configs(**topics: str) -> ConfigsImage:
    name = "follower.replication.throttled.replicas"
    resources: PersistentMap[ResourceKey, Mapping[str, str]] = PersistentMap()
    return ConfigsImage(resources.changed({(2, topic): {name: value} for topic, value in topics.items()}))


def throttle(image: ConfigsImage, quota: int = KIB) -> ReplicationThrottle:
    return ReplicationThrottle(FOLLOWER, 1, lambda: image, lambda: quota)


def test_topics_say_which_replicas_are_throttled() -> None:
    follower = throttle(configs(some="0:1,1:2, 2:1", all="*"))
    assert [follower.is_throttled(TopicPartition("some", index)) for index in range(4)] == [True, False, True, False]
    assert follower.is_throttled(TopicPartition("all", 9))
    assert not follower.is_throttled(TopicPartition("none", 0))


def test_without_a_rate_nothing_is() -> None:
    assert not throttle(configs(all="*"), UNLIMITED).is_throttled(TopicPartition("all", 0))


def test_the_leaders_list_is_another_one() -> None:
    leader = ReplicationThrottle(LEADER, 1, lambda: configs(all="*"), lambda: KIB)
    assert not leader.is_throttled(TopicPartition("all", 0))


def test_a_change_of_the_configuration_counts_at_once() -> None:
    image = configs(t="0:1")
    follower = ReplicationThrottle(FOLLOWER, 1, lambda: image, lambda: KIB)
    assert follower.is_throttled(TopicPartition("t", 0))
    image = configs()
    assert not follower.is_throttled(TopicPartition("t", 0))


def test_a_quota_is_used_up_until_time_has_made_up_for_it() -> None:
    follower = throttle(configs(all="*"))
    assert not follower.is_exceeded(0)
    follower.record(TopicPartition("all", 0), 5 * KIB, 0)
    assert follower.is_exceeded(0)
    assert follower.is_exceeded(4_999)
    assert not follower.is_exceeded(5_000)


def test_what_is_not_throttled_does_not_count() -> None:
    follower = throttle(configs(t="0:1"))
    follower.record(TopicPartition("t", 1), 1 << 30, 0)
    assert not follower.is_exceeded(0)
