"""Producer ids: the controller hands out blocks, this broker hands out their ids one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from odradek.broker.controller_client import ControllerClient
from odradek.ports import Promise
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.allocate_producer_ids import AllocateProducerIdsRequest, AllocateProducerIdsResponse


class ProducerIds:
    """Ids that no other producer of the cluster has."""

    def __init__(self, controller: ControllerClient, broker_id: int, broker_epoch: Callable[[], int]) -> None:
        self._controller = controller
        self._broker_id = broker_id
        self._broker_epoch = broker_epoch
        self._next = 0
        self._end = 0
        self._waiting: deque[Promise[int]] = deque()

    def allocate(self) -> Promise[int]:
        """An unused id; fails with the controller's error, COORDINATOR_LOAD_IN_PROGRESS if it does not say which."""
        if self._next < self._end:
            self._next += 1
            return Promise.of(self._next - 1)
        promise: Promise[int] = Promise()
        self._waiting.append(promise)
        if len(self._waiting) == 1:
            self._request_block()
        return promise

    def _request_block(self) -> None:
        request = AllocateProducerIdsRequest(broker_id=self._broker_id, broker_epoch=self._broker_epoch())
        self._controller.send(request, AllocateProducerIdsResponse).on_done(self._received)

    def _received(self, answer: Promise[AllocateProducerIdsResponse]) -> None:
        code = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS if answer.error else ErrorCode(answer.result().error_code)
        if code is not ErrorCode.NONE:
            waiting, self._waiting = self._waiting, deque()
            for promise in waiting:
                promise.reject(KafkaError(code))
            return
        block = answer.result()
        self._next = block.producer_id_start
        self._end = self._next + block.producer_id_len
        while self._waiting and self._next < self._end:
            self._next += 1
            self._waiting.popleft().resolve(self._next - 1)
        if self._waiting:
            self._request_block()
