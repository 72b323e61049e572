"""Asking the controller to change ISRs: AlterPartition, one request at a time (KIP-497)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from odradek.broker.controller_client import ControllerClient
from odradek.broker.replication.leadership import IsrProposal
from odradek.ports import Promise, Scheduler
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.alter_partition import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionRequestTopicData,
    AlterPartitionResponse,
    AlterPartitionResponsePartitionData,
    BrokerState,
)
from odradek.wire.uuids import Uuid

_log = logging.getLogger(__name__)

RETRY_MS = 50
"""How soon a request that the controller did not take is sent again."""

Answer = Promise[AlterPartitionResponsePartitionData]


class _Item(NamedTuple):
    topic_id: Uuid
    proposal: IsrProposal
    answer: Answer


class AlterPartitions:
    """Collects what the leaders of this broker ask for while a request is under way, and sends it in the next."""

    def __init__(
        self, controller: ControllerClient, scheduler: Scheduler, broker_id: int, broker_epoch: Callable[[], int]
    ) -> None:
        self._controller = controller
        self._scheduler = scheduler
        self._broker_id = broker_id
        self._broker_epoch = broker_epoch
        self._unanswered: dict[TopicPartition, _Item] = {}
        self._is_in_flight = False
        self._is_closed = False

    def submit(self, name: TopicPartition, topic_id: Uuid, proposal: IsrProposal) -> Answer:
        """The partition as the controller has it now.

        Fails with KafkaError: the controller's error, or OPERATION_NOT_ATTEMPTED where it has yet to answer what was
        asked for before of a partition of this name. There is no time-out.
        """
        answer: Answer = Promise()
        if name in self._unanswered:
            answer.reject(KafkaError(ErrorCode.OPERATION_NOT_ATTEMPTED))
            return answer
        self._unanswered[name] = _Item(topic_id, proposal, answer)
        self._send()
        return answer

    def close(self) -> None:
        """Send nothing more."""
        self._is_closed = True

    def _send(self) -> None:
        if self._is_in_flight or self._is_closed or not self._unanswered:
            return
        self._is_in_flight = True
        items = dict(self._unanswered)
        request = AlterPartitionRequest(broker_id=self._broker_id, broker_epoch=self._broker_epoch())
        topics: dict[Uuid, AlterPartitionRequestTopicData] = {}
        for name, item in items.items():
            topic = topics.get(item.topic_id)
            if topic is None:
                topic = topics[item.topic_id] = AlterPartitionRequestTopicData(topic_id=item.topic_id)
                request.topics.append(topic)
            topic.partitions.append(_partition_data(name.partition, item.proposal))
        self._controller.send(request, AlterPartitionResponse).on_done(lambda answer: self._answered(items, answer))

    def _answered(self, items: dict[TopicPartition, _Item], answer: Promise[AlterPartitionResponse]) -> None:
        code = ErrorCode.NONE
        if answer.error is not None:
            code = answer.error.code if isinstance(answer.error, KafkaError) else ErrorCode.UNKNOWN_SERVER_ERROR
            if not isinstance(answer.error, KafkaError):
                _log.error("AlterPartition failed unexpectedly", exc_info=answer.error)
        else:
            code = ErrorCode(answer.result().error_code)
        if code is ErrorCode.NONE:
            self._tell(items, answer.result())
        self._is_in_flight = False
        if code is ErrorCode.NONE and all(self._unanswered.get(name) is not item for name, item in items.items()):
            self._send()
            return
        _log.info("the controller did not take AlterPartition for %d partitions: %s", len(items), code.name)
        self._scheduler.call_later(RETRY_MS, self._send)

    def _tell(self, items: dict[TopicPartition, _Item], response: AlterPartitionResponse) -> None:
        answers = {
            (topic.topic_id, partition.partition_index): partition
            for topic in response.topics
            for partition in topic.partitions
        }
        for name, item in items.items():
            partition = answers.get((item.topic_id, name.partition))
            if partition is None:
                continue  # it is sent again
            # First, as whoever waits may submit what comes next.
            del self._unanswered[name]
            if partition.error_code:
                item.answer.reject(KafkaError(ErrorCode(partition.error_code)))
            else:
                item.answer.resolve(partition)


def _partition_data(index: int, proposal: IsrProposal) -> AlterPartitionRequestPartitionData:
    return AlterPartitionRequestPartitionData(
        partition_index=index,
        leader_epoch=proposal.leader_epoch,
        new_isr_with_epochs=[
            BrokerState(broker_id=broker, broker_epoch=epoch)
            for broker, epoch in zip(proposal.isr, proposal.broker_epochs, strict=True)
        ],
        partition_epoch=proposal.partition_epoch,
    )
