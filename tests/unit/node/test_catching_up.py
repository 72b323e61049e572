"""A start waits for the metadata that the quorum has committed, and a stop for the controller only so long."""

from __future__ import annotations

from typing import TypeVar, cast

import pytest

from odradek.ports import Promise, spawn
from odradek.server.context import RequestContext
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.describe_quorum import (
    DescribeQuorumResponse,
    DescribeQuorumResponsePartitionData,
    DescribeQuorumResponseTopicData,
)
from odradek.wire.schema import Message
from tests.unit.node.machine import Machine, RunningNode

Resp = TypeVar("Resp", bound=Message)
IDLE_MS = 500
"""`metadata.max.idle.interval.ms`: how often the log of an idle cluster moves."""


class Active:
    """The active controller, as far as it says what is committed."""

    def __init__(self, committed: int | KafkaError) -> None:
        self.committed = committed

    def send(self, _request: Message, _response: type[Resp], _context: RequestContext | None = None) -> Promise[Resp]:
        if isinstance(self.committed, KafkaError):
            return Promise.failed(self.committed)
        partition = DescribeQuorumResponsePartitionData(partition_index=0, high_watermark=self.committed)
        topic = DescribeQuorumResponseTopicData(topic_name="__cluster_metadata", partitions=[partition])
        return Promise.of(cast("Resp", DescribeQuorumResponse(topics=[topic])))


def running() -> RunningNode:
    return Machine().start()


def test_an_image_that_lags_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    node = running()
    quorum = node.node.quorum
    target = quorum.loader.image.offset + 1 + 10
    waiting = spawn(quorum.catch_up(Active(target)))
    node.world.advance(9 * IDLE_MS)
    assert not waiting.done
    assert any("waiting for the metadata" in record.message for record in caplog.records)
    node.world.advance(2 * IDLE_MS)
    assert waiting.done
    assert quorum.loader.image.offset + 1 >= target


@pytest.mark.parametrize("unknown", [-1, KafkaError(ErrorCode.REQUEST_TIMED_OUT)], ids=["by the leader", "no leader"])
def test_a_node_waits_until_somebody_knows_what_is_committed(unknown: int | KafkaError) -> None:
    node = running()
    active = Active(unknown)
    waiting = spawn(node.node.quorum.catch_up(active))
    node.world.advance(10 * IDLE_MS)
    assert not waiting.done
    active.committed = 1
    node.world.advance(2 * IDLE_MS)
    assert waiting.done


def test_a_single_node_stops_at_once() -> None:
    node = running()
    assert not node.node.has_others
    begun_ms = node.world.monotonic_ms()
    node.stop()
    assert node.world.monotonic_ms() - begun_ms < 1_000
