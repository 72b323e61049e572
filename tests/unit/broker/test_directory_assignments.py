"""Telling the controller where replicas are, and who is told when it has noted that."""

from __future__ import annotations

from typing import TypeVar, cast

import pytest

from odradek.broker.directory_assignments import DirectoryAssignments
from odradek.ports import Promise
from odradek.server.context import RequestContext
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.assign_replicas_to_dirs import (
    AssignReplicasToDirsRequest,
    AssignReplicasToDirsResponse,
    AssignReplicasToDirsResponseDirectoryData,
    AssignReplicasToDirsResponsePartitionData,
    AssignReplicasToDirsResponseTopicData,
)
from odradek.wire.schema import Message
from tests.unit.fakes import FakeWorld

Resp = TypeVar("Resp", bound=Message)
TOPIC, ONE, TWO = bytes([1] * 16), bytes([2] * 16), bytes([3] * 16)
REPLICA = (TOPIC, 0)


class Controller:
    """Keeps requests until the test answers them."""

    def __init__(self) -> None:
        self.requests: list[AssignReplicasToDirsRequest] = []
        self._answers: list[Promise[AssignReplicasToDirsResponse]] = []

    def send(self, request: Message, response: type[Resp], context: RequestContext | None = None) -> Promise[Resp]:
        assert isinstance(request, AssignReplicasToDirsRequest)
        assert response is AssignReplicasToDirsResponse
        assert context is None
        answer: Promise[AssignReplicasToDirsResponse] = Promise()
        self.requests.append(request)
        self._answers.append(answer)
        return cast("Promise[Resp]", answer)

    def directories(self) -> list[bytes]:
        """The directory of each request, which has one replica."""
        return [directory.id for request in self.requests for directory in request.directories]

    def answer(self, code: ErrorCode = ErrorCode.NONE) -> None:
        """Answer the oldest request, whose replicas all get this code."""
        request = self.requests[len(self.requests) - len(self._answers)]
        self._answers.pop(0).resolve(
            AssignReplicasToDirsResponse(
                directories=[
                    AssignReplicasToDirsResponseDirectoryData(
                        id=directory.id,
                        topics=[
                            AssignReplicasToDirsResponseTopicData(
                                topic_id=topic.topic_id,
                                partitions=[
                                    AssignReplicasToDirsResponsePartitionData(
                                        partition_index=partition.partition_index, error_code=code
                                    )
                                    for partition in topic.partitions
                                ],
                            )
                            for topic in directory.topics
                        ],
                    )
                    for directory in request.directories
                ]
            )
        )


class Scene:
    def __init__(self) -> None:
        self.world = FakeWorld()
        self.controller = Controller()
        self.assignments = DirectoryAssignments(self.controller, self.world, 1, Promise.of(7), lambda: 7)
        self.noted: list[bytes] = []

    def assign(self, directory: bytes) -> None:
        self.assignments.assign(REPLICA, directory, lambda: self.noted.append(directory))
        self.world.advance(0)

    def answer(self, code: ErrorCode = ErrorCode.NONE) -> None:
        self.controller.answer(code)
        self.world.advance(0)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_whoever_assigns_a_replica_is_told_when_that_is_noted(scene: Scene) -> None:
    scene.assign(TWO)
    assert scene.noted == []
    scene.answer()
    assert scene.noted == [TWO]
    assert scene.controller.directories() == [TWO]


def test_nothing_is_assigned_while_the_metadata_version_knows_no_directories() -> None:
    world, controller, is_supported = FakeWorld(), Controller(), False
    assignments = DirectoryAssignments(controller, world, 1, Promise.of(7), lambda: 7, lambda: is_supported)
    assignments.assign(REPLICA, TWO)
    world.advance(60_000)
    assert controller.directories() == []
    is_supported = True
    assignments.look()
    world.advance(0)
    assert controller.directories() == [TWO]


def test_an_assignment_that_is_taken_back_on_its_way_is_told_of_to_nobody(scene: Scene) -> None:
    scene.assign(TWO)
    scene.assign(ONE)
    scene.answer()
    assert scene.noted == []
    scene.answer()
    assert scene.noted == [ONE]
    assert scene.controller.directories() == [TWO, ONE]


def test_an_assignment_that_is_made_again_waits_for_the_last_answer(scene: Scene) -> None:
    scene.assign(TWO)
    scene.assign(ONE)
    scene.assign(TWO)
    scene.answer()
    assert scene.noted == []
    scene.answer()
    assert scene.noted == [TWO]


def test_a_refusal_is_tried_again_and_a_replica_that_is_gone_is_not(scene: Scene) -> None:
    scene.assign(TWO)
    scene.answer(ErrorCode.NOT_CONTROLLER)
    assert scene.noted == []
    scene.world.advance(10_000)
    scene.answer()
    assert scene.noted == [TWO]
    scene.assign(ONE)
    scene.answer(ErrorCode.UNKNOWN_TOPIC_ID)
    scene.world.advance(100_000)
    assert scene.noted == [TWO]
    assert scene.controller.directories() == [TWO, TWO, ONE]
