"""Which fetcher copies what."""

from __future__ import annotations

import pytest

from odradek.broker.replication.fetchers import fetcher_id
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.messages.fetch import FetchRequest
from tests.unit.broker.replication.cluster import OPTIONS, Cluster


@pytest.mark.parametrize(
    ("topic", "partition", "number"),
    # Java: "test".hashCode() is 3556498, "polygenelubricants".hashCode() is Integer.MIN_VALUE.
    [("test", 0, 31 * 3556498), ("test", 5, 31 * 3556498 + 5), ("polygenelubricants", 0, 0)],
)
def test_partitions_are_spread_by_javas_hash(topic: str, partition: int, number: int) -> None:
    for count in (1, 2, 3, 7):
        assert fetcher_id(TopicPartition(topic, partition), count) == number % count


def test_a_hash_that_overflows_is_made_positive() -> None:
    # "zzzzzzz".hashCode() is 1028222466 - 2**32 + ..., as Java's 32-bit arithmetic has it.
    value = 0
    for character in "zzzzzzz":
        value = (31 * value + ord(character) + 2**31) % 2**32 - 2**31
    number = (31 * value + 2**31) % 2**32 - 2**31
    assert fetcher_id(TopicPartition("zzzzzzz", 0), 1000) == abs(number) % 1000


def fetches(cluster: Cluster, source: int) -> dict[int, list[FetchRequest]]:
    """The fetches of one node, by whom they went to."""
    found: dict[int, list[FetchRequest]] = {}
    for sender, target, request in cluster.network.sent:
        if sender == source and isinstance(request, FetchRequest):
            found.setdefault(target, []).append(request)
    return found


def partitions_of(requests: list[FetchRequest]) -> list[list[int]]:
    """The partitions that full requests name."""
    return sorted(
        sorted(part.partition for topic in request.topics for part in topic.partitions)
        for request in requests
        if request.session_epoch == 0
    )


def test_each_leader_is_fetched_from_by_its_own_fetchers() -> None:
    cluster = Cluster(3, options=OPTIONS._replace(fetchers=2))
    cluster.network.keeps_sent = True
    cluster.controller.create_topic("t", [1, 3], [1, 3], [1, 3], [2, 3], [2, 3])
    cluster.settle()
    sent = fetches(cluster, 3)
    places = [fetcher_id(TopicPartition("t", index), 2) for index in range(5)]
    for leader, indexes in ((1, (0, 1, 2)), (2, (3, 4))):
        expected = [[index for index in indexes if places[index] == place] for place in (0, 1)]
        assert partitions_of(sent[leader]) == sorted(part for part in expected if part)


def test_all_go_on_when_the_number_of_fetchers_changes() -> None:
    cluster = Cluster(3)
    cluster.controller.create_topic("t", [1, 2, 3], [1, 2, 3])
    cluster.settle()
    cluster.options = OPTIONS._replace(fetchers=3)
    for node in cluster.nodes:
        node.replicas.cluster_config_changed()
    answers = [cluster.node(1).produce(TopicPartition("t", index), b"v") for index in (0, 1)]
    cluster.settle(1_000)
    assert [answer.result() for answer in answers] == [0, 0]


def test_a_fetcher_without_partitions_stops() -> None:
    cluster = Cluster(3)
    cluster.controller.create_topic("t", [1, 2, 3])
    cluster.settle()
    assert cluster.controller.move_leader(TopicPartition("t", 0), 2)
    cluster.settle(2_000)
    cluster.network.keeps_sent = True
    cluster.settle(2_000)
    assert list(fetches(cluster, 3)) == [2]
    assert list(fetches(cluster, 1)) == [2]
    assert fetches(cluster, 2) == {}
