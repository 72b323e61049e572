"""AlterPartition requests: one at a time, until the controller has answered."""

from __future__ import annotations

from typing import TypeVar, cast

from odradek.broker.replication.alter_partition import RETRY_MS, AlterPartitions, Answer
from odradek.broker.replication.leadership import IsrProposal
from odradek.ports import Promise
from odradek.server.context import RequestContext
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.alter_partition import (
    AlterPartitionRequest,
    AlterPartitionResponse,
    AlterPartitionResponsePartitionData,
    AlterPartitionResponseTopicData,
)
from odradek.wire.schema import Message
from tests.unit.fakes import FakeWorld

Resp = TypeVar("Resp", bound=Message)
TOPIC_ID = bytes(range(16))
PROPOSAL = IsrProposal((1, 2), (11, 22), 3, 4)


class Controller:
    """Lets the test answer."""

    def __init__(self) -> None:
        self.requests: list[AlterPartitionRequest] = []
        self._answers: list[Promise[AlterPartitionResponse]] = []

    def send(self, request: Message, response: type[Resp], context: RequestContext | None = None) -> Promise[Resp]:
        assert isinstance(request, AlterPartitionRequest)
        self.requests.append(request)
        answer: Promise[AlterPartitionResponse] = Promise()
        self._answers.append(answer)
        return cast("Promise[Resp]", answer)

    def answer(self, codes: dict[int, ErrorCode], top: ErrorCode = ErrorCode.NONE) -> None:
        partitions = [
            AlterPartitionResponsePartitionData(partition_index=index, error_code=code, isr=[1, 2], partition_epoch=5)
            for index, code in codes.items()
        ]
        topics = [AlterPartitionResponseTopicData(topic_id=TOPIC_ID, partitions=partitions)]
        self._answers.pop(0).resolve(AlterPartitionResponse(error_code=top, topics=topics))

    def fail(self, error: BaseException) -> None:
        self._answers.pop(0).reject(error)


class Scene:
    def __init__(self) -> None:
        self.world = FakeWorld()
        self.controller = Controller()
        self.epoch = 7
        self.alterations = AlterPartitions(self.controller, self.world, 1, lambda: self.epoch)

    def submit(self, index: int) -> Answer:
        return self.alterations.submit(TopicPartition("t", index), TOPIC_ID, PROPOSAL)

    def asked(self) -> list[list[int]]:
        """The partitions of each request."""
        return [
            [partition.partition_index for topic in request.topics for partition in topic.partitions]
            for request in self.controller.requests
        ]


def code_of(answer: Answer) -> ErrorCode | None:
    return answer.error.code if isinstance(answer.error, KafkaError) else None


def test_a_request_says_who_asks_for_what() -> None:
    scene = Scene()
    scene.submit(0)
    (request,) = scene.controller.requests
    assert (request.broker_id, request.broker_epoch) == (1, 7)
    (partition,) = request.topics[0].partitions
    assert (partition.leader_epoch, partition.partition_epoch) == (3, 4)
    assert [(state.broker_id, state.broker_epoch) for state in partition.new_isr_with_epochs] == [(1, 11), (2, 22)]
    AlterPartitionRequest.decode(request.encode(3), 3)


def test_what_comes_meanwhile_goes_into_the_next_request() -> None:
    scene = Scene()
    first, second, third = scene.submit(0), scene.submit(1), scene.submit(2)
    assert scene.asked() == [[0]]
    scene.controller.answer({0: ErrorCode.NONE})
    assert first.result().isr == [1, 2]
    assert scene.asked() == [[0], [1, 2]]
    scene.controller.answer({1: ErrorCode.FENCED_LEADER_EPOCH, 2: ErrorCode.NONE})
    assert code_of(second) is ErrorCode.FENCED_LEADER_EPOCH
    assert third.result().partition_epoch == 5


def test_a_partition_is_asked_for_once_at_a_time() -> None:
    scene = Scene()
    scene.submit(0)
    assert code_of(scene.submit(0)) is ErrorCode.OPERATION_NOT_ATTEMPTED
    scene.controller.answer({0: ErrorCode.NONE})
    assert not scene.submit(0).done


def test_what_the_controller_does_not_take_is_sent_again_with_what_came_since_and_the_epoch_of_then() -> None:
    for top in (ErrorCode.STALE_BROKER_EPOCH, ErrorCode.NOT_CONTROLLER, ErrorCode.CLUSTER_AUTHORIZATION_FAILED):
        scene = Scene()
        first = scene.submit(0)
        scene.epoch = 8
        scene.controller.answer({}, top)
        scene.submit(1)
        scene.world.advance(RETRY_MS)
        assert scene.asked()[-1] in ([0, 1], [0], [1])
        assert scene.controller.requests[-1].broker_epoch == 8
        assert not first.done


def test_no_answer_at_all_is_no_end() -> None:
    scene = Scene()
    answer = scene.submit(0)
    scene.controller.fail(KafkaError(ErrorCode.REQUEST_TIMED_OUT))
    assert scene.asked() == [[0]]
    scene.world.advance(RETRY_MS)
    assert scene.asked() == [[0], [0]]
    scene.controller.answer({0: ErrorCode.NONE})
    assert answer.done


def test_a_partition_that_the_answer_leaves_out_is_asked_for_again() -> None:
    scene = Scene()
    answer = scene.submit(0)
    scene.controller.answer({})
    scene.world.advance(RETRY_MS)
    assert scene.asked() == [[0], [0]]
    assert not answer.done


def test_nothing_is_sent_behind_the_end() -> None:
    scene = Scene()
    scene.alterations.close()
    scene.submit(0)
    assert scene.asked() == []
