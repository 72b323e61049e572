"""Produce (API key 0): records from producers, at acks 0, 1 and all (KIP-98, KIP-467, KIP-516, KIP-951)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import cast

from odradek.broker.api.leaders import leader_endpoints
from odradek.broker.api.plain_produce import PlainProduceApi
from odradek.broker.replication.admission import Admission
from odradek.broker.replication.manager import ReplicaManager
from odradek.metadata.topic_names import is_internal
from odradek.ports import Promise
from odradek.ports.files import Buffer
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, CloseConnection, Handler
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.produce import (
    BatchIndexAndErrorMessage,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from odradek.wire.plain_produce import FIRST_PLAIN, FIRST_WITH_TOPIC_IDS
from odradek.wire.records.header import TRANSACTIONAL_BIT
from odradek.wire.records.validation import RecordValidationError

_log = logging.getLogger(__name__)

ACKS_NONE = 0
ACKS_LEADER = 1
ACKS_ALL = -1
FIRST_WITH_LEADERS = 10
ADMIN_CLIENT_ID = "__admin_client"
"""Kafka's own tools write to internal topics under this client id."""
UNKNOWN_OFFSET = -1


@dataclass(slots=True)
class _Uncommitted:
    """What was appended at acks=all and is not replicated yet: the offset that must be passed, and its answer."""

    required_offset: dict[TopicPartition, int] = field(default_factory=dict)
    answers: dict[TopicPartition, PartitionProduceResponse] = field(default_factory=dict)
    is_misdirected: bool = False
    """Another broker leads one of the partitions."""


class ProduceApi:
    """Answers Produce."""

    def __init__(self, replicas: ReplicaManager, admission: Admission) -> None:
        self._replicas = replicas
        self._admission = admission

    def handler(self) -> Handler[ProduceRequest, ProduceResponse]:
        """The declaration of this API."""
        return Handler(
            ProduceRequest,
            self._handle,
            Operation.WRITE,
            ResourceType.TOPIC,
            _produce_failed,
            plain=PlainProduceApi(self._replicas, self._admission).answer,
            plain_from=FIRST_PLAIN,
            max_objects=MAX_DECIDED_OBJECTS,
            differences=(
                "Garbage instead of a batch is CORRUPT_MESSAGE and an unknown codec UNSUPPORTED_COMPRESSION_TYPE, "
                "where Kafka answers UNKNOWN_SERVER_ERROR, on which the Java client gives up its producer id.",
                "No transactional id has a producer: a transactional batch is INVALID_PRODUCER_ID_MAPPING.",
                "By default records inside a batch are not looked at, only its header and checksum, unless the topic "
                "needs it; `odradek.record.validation=full` checks every record, as Kafka does.",
            ),
        )

    def _handle(
        self, context: RequestContext, request: ProduceRequest
    ) -> ProduceResponse | Promise[ProduceResponse | None] | None:
        responses: list[TopicProduceResponse] = []
        uncommitted = _Uncommitted()
        by_id = context.api_version >= FIRST_WITH_TOPIC_IDS
        for topic in request.topic_data:
            name = self._replicas.topic_name(topic.topic_id) if by_id else topic.name
            answers = [
                self._append(context, request, name, partition, uncommitted) for partition in topic.partition_data
            ]
            responses.append(
                TopicProduceResponse(name=topic.name, topic_id=topic.topic_id, partition_responses=answers)
            )
        response = ProduceResponse(responses=responses)
        if uncommitted.is_misdirected and context.api_version >= FIRST_WITH_LEADERS:
            self._add_leaders(context, response)
        if request.acks == ACKS_NONE:
            if any(answer.error_code for topic in response.responses for answer in topic.partition_responses):
                raise CloseConnection
            return None
        if not uncommitted.required_offset:
            return response
        return self._wait(request, response, uncommitted)

    def _append(
        self,
        context: RequestContext,
        request: ProduceRequest,
        topic: str | None,
        data: PartitionProduceData,
        uncommitted: _Uncommitted,
    ) -> PartitionProduceResponse:
        answer = PartitionProduceResponse(index=data.index, base_offset=UNKNOWN_OFFSET)
        records = cast("Buffer | None", data.records)
        data.records = None  # a request that waits must not keep its frame
        try:
            if topic is None:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
            name = TopicPartition(topic, data.index)
            if request.acks not in (ACKS_NONE, ACKS_LEADER, ACKS_ALL):
                raise KafkaError(ErrorCode.INVALID_REQUIRED_ACKS)
            partition = self._replicas.partition(name)
            if is_internal(topic) and context.client_id != ADMIN_CLIENT_ID:
                raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Cannot append to internal topic {topic}")
            batch, header = self._admission.admit(records, partition.leader_log().config, context.api_version)
            if header.attributes & TRANSACTIONAL_BIT:
                is_named = request.transactional_id is not None
                raise KafkaError(
                    ErrorCode.INVALID_PRODUCER_ID_MAPPING
                    if is_named
                    else ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
                )
            info = self._replicas.append(partition, batch, (header,), all_replicas=request.acks == ACKS_ALL)
        except RecordValidationError as error:
            answer.error_code, answer.error_message = error.code, error.message
            answer.record_errors = [
                BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=text)
                for index, text in error.errors
            ]
        except KafkaError as error:
            answer.error_code = error.code
            if error.code is ErrorCode.NOT_LEADER_OR_FOLLOWER:
                uncommitted.is_misdirected = True
        except Exception:  # noqa: BLE001 - logged with its traceback; what other partitions got must be told
            _log.exception("Produce to partition %d of %s failed unexpectedly", data.index, topic)
            answer.error_code = ErrorCode.UNKNOWN_SERVER_ERROR
        else:
            answer.base_offset = info.first_offset
            answer.log_append_time_ms = info.log_append_time_ms
            answer.log_start_offset = info.log_start_offset
            if request.acks == ACKS_ALL and partition.local_log().high_watermark <= info.last_offset:
                uncommitted.required_offset[name] = info.last_offset
                uncommitted.answers[name] = answer
        return answer

    def _wait(
        self, request: ProduceRequest, response: ProduceResponse, uncommitted: _Uncommitted
    ) -> Promise[ProduceResponse | None]:
        """Park until every in-sync replica has all that was appended; what is late is REQUEST_TIMED_OUT."""
        result: Promise[ProduceResponse | None] = Promise()

        def is_ready() -> bool:
            for name, required in list(uncommitted.required_offset.items()):
                try:
                    committed = self._replicas.partition(name).leader_log().high_watermark > required
                except KafkaError as error:
                    _fail(uncommitted.answers[name], error.code)
                    committed = True
                if committed:
                    del uncommitted.required_offset[name]
            return not uncommitted.required_offset

        def finish() -> None:
            for name in uncommitted.required_offset:
                _fail(uncommitted.answers[name], ErrorCode.REQUEST_TIMED_OUT)
            result.resolve(response)

        self._replicas.waiting.park(
            uncommitted.required_offset, is_ready=is_ready, finish=finish, timeout_ms=max(0, request.timeout_ms)
        )
        return result

    def _add_leaders(self, context: RequestContext, response: ProduceResponse) -> None:
        """Tell a producer that asked the wrong broker who leads (KIP-951)."""
        image = self._replicas.image
        leaders: list[int] = []
        for topic in response.responses:
            for answer in topic.partition_responses:
                if answer.error_code != ErrorCode.NOT_LEADER_OR_FOLLOWER:
                    continue
                name = topic.name or self._replicas.topic_name(topic.topic_id) or ""
                found = image.topics.by_name.get(name)
                partition = found.partitions.get(answer.index) if found is not None else None
                if partition is not None:
                    answer.current_leader = LeaderIdAndEpoch(
                        leader_id=partition.leader, leader_epoch=partition.leader_epoch
                    )
                    leaders.append(partition.leader)
        response.node_endpoints = [
            NodeEndpoint(node_id=node_id, host=host, port=port, rack=rack)
            for node_id, host, port, rack in leader_endpoints(image, context.listener, leaders)
        ]


def _fail(answer: PartitionProduceResponse, code: ErrorCode) -> None:
    answer.error_code = code
    answer.base_offset = UNKNOWN_OFFSET


def _produce_failed(request: ProduceRequest, _version: int, error: KafkaError) -> ProduceResponse:
    """The error of every partition; a request without acknowledgement has no response, so its connection ends."""
    if request.acks == ACKS_NONE:
        raise CloseConnection
    return ProduceResponse(
        responses=[
            TopicProduceResponse(
                name=topic.name,
                topic_id=topic.topic_id,
                partition_responses=[
                    PartitionProduceResponse(
                        index=partition.index,
                        base_offset=UNKNOWN_OFFSET,
                        error_code=error.code,
                        error_message=error.message,
                    )
                    for partition in topic.partition_data
                ],
            )
            for topic in request.topic_data
        ]
    )
