"""Large topics on a single node: who has made or deleted one finds it so."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from odradek.ports import Promise
from odradek.storage.log_creation import WantedLog
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
)
from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.schema import Message
from tests.unit.node.machine import Machine, RunningNode

MANY = 100
TIMEOUT_MS = 1000
CREATION = CreateTopicsRequest(
    topics=[CreatableTopic(name="t", num_partitions=MANY, replication_factor=1)], timeout_ms=TIMEOUT_MS
)


def usable(node: RunningNode) -> int:
    """How many partitions take records."""
    replicas = node.node.broker.replicas
    return sum(each.is_leader and each.log is not None for each in replicas.partitions.values())


def usable_when_answered(node: RunningNode, request: Message) -> int:
    """How many partitions take records in the turn that brings the answer, which is not the one of the request."""
    reply = node.send(request)
    assert isinstance(reply, Promise)
    assert not reply.done
    while not reply.done:
        node.world.run_one_turn()
    return usable(node)


def test_all_partitions_of_a_new_topic_are_there_when_its_creation_is_answered() -> None:
    node = Machine().start()
    assert usable_when_answered(node, CREATION) == MANY


def test_all_partitions_added_to_a_topic_are_there_when_that_is_answered() -> None:
    node = Machine().start()
    node.create_topic("t")
    topic = CreatePartitionsTopic(name="t", count=MANY, assignments=None)
    assert usable_when_answered(node, CreatePartitionsRequest(topics=[topic], timeout_ms=TIMEOUT_MS)) == MANY


def test_no_partition_of_a_deleted_topic_is_there_when_its_deletion_is_answered() -> None:
    node = Machine().start()
    node.create_topic("t", partitions=MANY)
    node.node.broker.replicas.catching_up.clock = Ticking()
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=TIMEOUT_MS)
    assert usable_when_answered(node, request) == 0


class Ticking:
    """A clock by which each look is a slice later."""

    def __init__(self) -> None:
        self._now_ms = 0.0

    def now_ms(self) -> int:
        return int(self._now_ms)

    def monotonic_ms(self) -> float:
        self._now_ms += 1.0
        return self._now_ms


def test_a_creation_whose_files_take_too_long_is_answered_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Machine().start()

    def never(_wanted: Sequence[WantedLog]) -> Promise[None]:
        return Promise()

    monkeypatch.setattr(node.node.broker.logs, "make_files_later", never)
    reply = node.send(CREATION)
    assert isinstance(reply, Promise)
    node.world.advance(TIMEOUT_MS - 1)
    assert not reply.done
    node.world.advance(1)
    answer = node.answer(reply, CREATION, CreateTopicsResponse)
    assert answer.topics[0].error_code == ErrorCode.NONE


def test_what_is_refused_is_answered_at_once() -> None:
    node = Machine().start()
    grown = node.ask(
        CreatePartitionsRequest(topics=[CreatePartitionsTopic(name="t", count=2, assignments=None)], timeout_ms=1),
        CreatePartitionsResponse,
    )
    gone = node.ask(
        DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=TIMEOUT_MS), DeleteTopicsResponse
    )
    assert (grown.results[0].error_code, gone.responses[0].error_code) == (3, 3)


def test_a_large_topic_is_there_after_a_crash_while_it_is_made() -> None:
    machine = Machine()
    node = machine.start()
    reply = node.send(CREATION)
    assert isinstance(reply, Promise)
    while usable(node) == 0:
        node.world.run_one_turn()
    assert usable(node) < MANY
    again = machine.start()
    assert usable(again) == MANY
    assert again.produce("t", b"a", partition=MANY - 1) == ErrorCode.NONE
