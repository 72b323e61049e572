"""What a replica is told that has all of a partition: nothing, unless something is wrong."""

from __future__ import annotations

import pytest

from odradek.broker.fetch.reader import FetchOptions, FetchReader
from odradek.broker.fetch.session import FetchedPartition
from odradek.broker.replication.partition import Isolation
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from tests.unit.broker.replication.cluster import Cluster

T0 = TopicPartition("t", 0)


@pytest.mark.parametrize(
    ("epochs_ahead", "last_epochs_ahead", "error"),
    [
        (0, 0, None),
        (-1, 0, ErrorCode.FENCED_LEADER_EPOCH),
        (1, 0, ErrorCode.UNKNOWN_LEADER_EPOCH),
        (0, 1, ErrorCode.OFFSET_OUT_OF_RANGE),
    ],
)
def test_a_replica_at_the_end_is_told_what_is_wrong(
    epochs_ahead: int, last_epochs_ahead: int, error: ErrorCode | None
) -> None:
    """It names another leader epoch than this leader's, or has records of one that this leader does not know."""
    cluster = Cluster(2)
    topic_id = cluster.controller.create_topic("t", [1, 2])
    for leader in (2, 1):
        cluster.settle(500)
        assert cluster.controller.move_leader(T0, leader)
    cluster.settle(500)
    node = cluster.node(1)
    node.produce(T0, b"a")
    cluster.settle(500)
    partition = node.partition(T0)
    epoch, end_offset = partition.leader_epoch, node.log(T0).log_end_offset
    assert node.log(T0).high_watermark == end_offset == 1
    reader = FetchReader(node.replicas)
    options = FetchOptions(1 << 20, Isolation.LOG_END, replica_id=2)
    for _ in range(2):
        asked = FetchedPartition(
            (topic_id, 0), end_offset, 1 << 20, epoch + epochs_ahead, epoch + last_epochs_ahead, 0, end_offset, 0
        )
        told = [ErrorCode(answer.error_code) for _, answer in reader.read([asked], options).responses]
        assert told == ([] if error is None else [error])
