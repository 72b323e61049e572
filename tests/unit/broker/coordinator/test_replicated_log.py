"""The replica manager as what coordinators write to."""

from __future__ import annotations

import pytest

from odradek.broker.coordinator.replicated_log import ReplicatedLogs
from odradek.broker.coordinator.result import Producer
from odradek.broker.coordinator.writer import LogOffsets
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.header import iter_batches
from tests.unit.broker.scene import Scene, batch_of

TOPIC = "__consumer_offsets"
PARTITION = TopicPartition(TOPIC, 0)


def make() -> tuple[Scene, ReplicatedLogs]:
    """A led partition."""
    scene = Scene()
    scene.create_topic(TOPIC)
    return scene, ReplicatedLogs(scene.replicas, scene.world)


def test_appends_are_read_back_whole() -> None:
    scene, logs = make()
    assert logs.append(PARTITION, bytearray(batch_of(b"1", b"2")), 0) == 1
    assert logs.append(PARTITION, bytearray(batch_of(b"3")), 0) == 2
    assert logs.offsets(PARTITION) == LogOffsets(0, 3, 3)
    one = logs.read(PARTITION, 1, 1)
    scene.world.run_soon()
    assert [header.base_offset for _, header in iter_batches(one.result())] == [0]
    everything = logs.read(PARTITION, 0, 1 << 20)
    scene.world.run_soon()
    assert [header.base_offset for _, header in iter_batches(everything.result())] == [0, 2]
    assert logs.read(PARTITION, 3, 1 << 20).result() == b""


def test_appends_in_an_old_leader_epoch_are_refused() -> None:
    _, logs = make()
    with pytest.raises(KafkaError) as raised:
        logs.append(PARTITION, bytearray(batch_of(b"1")), 7)
    assert raised.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert logs.offsets(PARTITION).log_end == 0


def test_watchers_hear_of_the_high_watermark_until_they_stop() -> None:
    _, logs = make()
    heard: list[int] = []
    logs.watch(PARTITION, heard.append)
    logs.append(PARTITION, bytearray(batch_of(b"1")), 0)
    logs.unwatch(PARTITION, heard.append)
    logs.append(PARTITION, bytearray(batch_of(b"2")), 0)
    assert heard == [1]


def test_partitions_that_are_not_here() -> None:
    _, logs = make()
    with pytest.raises(KafkaError) as raised:
        logs.offsets(TopicPartition(TOPIC, 9))
    assert raised.value.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_producer_whose_transaction_nobody_knows_may_not_commit() -> None:
    """KIP-890: what was held up behind the end of its transaction would begin one that nobody ends."""
    scene, logs = make()
    log = scene.replicas.partition(PARTITION).leader_log()

    def append(producer: Producer) -> None:
        records = batch_of(b"a", producer_id=5, producer_epoch=0, is_transactional=True)
        logs.append(PARTITION, bytearray(records), 0, producer=producer)

    with pytest.raises(KafkaError) as refused:
        append(Producer(5, 0))
    assert refused.value.code is ErrorCode.INVALID_TXN_STATE
    append(Producer(5, 0, log.producers.start_verification(5, 0, -1, 0, adds_partitions=False)))
    append(Producer(5, 0))
    assert log.log_end_offset == 2
