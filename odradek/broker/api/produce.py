"""Produce (API key 0): records from producers, at acks 0, 1 and all (KIP-98, KIP-467, KIP-516, KIP-951)."""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass, field
from typing import cast

from odradek.broker.api.leaders import leader_endpoints
from odradek.broker.api.plain_produce import PlainProduceApi
from odradek.broker.api.uniform_produce import UniformProduceApi
from odradek.broker.coordinator.result import Producer
from odradek.broker.replication.admission import Admission, Opened
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.transactions.verification import (
    NOTHING_TO_VERIFY,
    Support,
    TransactionVerifier,
    Verified,
    support_of_produce,
)
from odradek.metadata.topic_names import is_internal
from odradek.ports import Promise, Slices, flatten, spawn
from odradek.ports.files import Buffer
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, CloseConnection, Handler, Sliced
from odradek.storage.log import Log
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
    TopicProduceData,
    TopicProduceResponse,
)
from odradek.wire.plain_produce import FIRST_PLAIN, FIRST_WITH_TOPIC_IDS
from odradek.wire.records.header import (
    ATTRIBUTES_AT,
    HEADER_BYTES,
    MAGIC_AT,
    MAGIC_V2,
    PRODUCER_ID_AT,
    TRANSACTIONAL_BIT,
)
from odradek.wire.records.validation import NotOneBatchError, RecordValidationError

_log = logging.getLogger(__name__)

ACKS_NONE = 0
ACKS_LEADER = 1
ACKS_ALL = -1
FIRST_WITH_LEADERS = 10
ADMIN_CLIENT_ID = "__admin_client"
"""Kafka's own tools write to internal topics under this client id."""
UNKNOWN_OFFSET = -1
MANY_BYTES = 512
"""A batch of fewer bytes is opened at once, if need be."""
MANY_PARTITIONS = 64
"""What is for more partitions takes a millisecond and more."""
_PRODUCER = struct.Struct(">qhi")
_WITHOUT_START = frozenset(
    {
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.MESSAGE_TOO_LARGE,
        ErrorCode.RECORD_LIST_TOO_LARGE,
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
    }
)
_NO_ANSWER = frozenset(
    {
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
    }
)


@dataclass(slots=True)
class _Uncommitted:
    """What was appended at acks=all and is not replicated yet: the offset that must be passed, and its answer."""

    required_offset: dict[TopicPartition, int] = field(default_factory=dict)
    tenures: dict[TopicPartition, int] = field(default_factory=dict)
    """`Partition.tenure` at the append."""
    answers: dict[TopicPartition, PartitionProduceResponse] = field(default_factory=dict)
    is_misdirected: bool = False
    """Another broker leads one of the partitions."""


class ProduceApi:
    """Answers Produce."""

    def __init__(self, replicas: ReplicaManager, admission: Admission, verifier: TransactionVerifier) -> None:
        self._replicas = replicas
        self._admission = admission
        self._verifier = verifier
        self._verifying: dict[int, Promise[None]] = {}
        """By producer id: the end of the last request that waits for the transaction coordinator."""

    def handler(self) -> Handler[ProduceRequest, ProduceResponse]:
        """The declaration of this API."""
        plain = PlainProduceApi(self._replicas, self._admission)
        return Handler(
            ProduceRequest,
            self._handle,
            Operation.WRITE,
            ResourceType.TOPIC,
            _produce_failed,
            plain=plain.answer,
            plain_run=plain.answer_run,
            plain_uniform=UniformProduceApi(self._replicas, self._admission, plain).answer,
            plain_from=FIRST_PLAIN,
            max_objects=MAX_DECIDED_OBJECTS,
            keeps_order=True,
            differences=(
                "Garbage instead of a batch is CORRUPT_MESSAGE and an unknown codec UNSUPPORTED_COMPRESSION_TYPE, "
                "where Kafka answers UNKNOWN_SERVER_ERROR, on which the Java client gives up its producer id.",
                "By default records inside a batch are not looked at, only its header and checksum, unless the topic "
                "needs it; `odradek.record.validation=full` checks every record, as Kafka does.",
            ),
        )

    def _handle(
        self, context: RequestContext, request: ProduceRequest
    ) -> ProduceResponse | Promise[ProduceResponse | None] | Sliced[ProduceResponse] | None:
        transaction = self._transaction(context, request)
        takes_long = self._takes_long(context, request)
        if transaction is None:
            if takes_long:
                return self._sliced(context, request, NOTHING_TO_VERIFY)
            return self._append_all(context, request, NOTHING_TO_VERIFY)
        producer, sequences = transaction

        def verify() -> Promise[Verified]:
            support = support_of_produce(context.api_version)
            return self._verifier.verify_patiently(request.transactional_id, producer, sequences, support)

        ahead = self._verifying.get(producer.producer_id)
        verified = verify() if ahead is None else None
        if verified is not None and verified.done:
            if takes_long:
                return self._sliced(context, request, verified.result())
            return self._append_all(context, request, verified.result())

        async def wait() -> ProduceResponse | Promise[ProduceResponse | None] | None:
            # What one producer sends stays in its order, also while the coordinator lets it wait.
            end: Promise[None] = Promise()
            self._verifying[producer.producer_id] = end
            try:
                if ahead is not None:
                    await ahead
                outcome = await (verified or verify())
                if takes_long:
                    return await self._append_in_turns(context, request, outcome)
                return self._append_all(context, request, outcome)
            finally:
                if self._verifying[producer.producer_id] is end:
                    del self._verifying[producer.producer_id]
                end.resolve(None)

        return flatten(spawn(wait()))

    def _transaction(
        self, context: RequestContext, request: ProduceRequest
    ) -> tuple[Producer, dict[TopicPartition, int]] | None:
        """Who writes in a transaction, and where, with the first sequence of each partition; None if nobody does.

        Raises TRANSACTIONAL_ID_AUTHORIZATION_FAILED without a transactional id or the right to use it, and
        INVALID_PRODUCER_ID_MAPPING for several producers in one request.
        """
        producers: dict[Producer, None] = {}
        sequences: dict[TopicPartition, int] = {}
        is_allowed = False
        for topic in request.topic_data:
            for data in topic.partition_data:
                found = _transactional_batch(cast("Buffer | None", data.records))
                if found is None:
                    continue
                transactional_id = request.transactional_id
                is_allowed = is_allowed or (
                    transactional_id is not None
                    and context.allows(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, transactional_id)
                )
                if not is_allowed:
                    raise KafkaError(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
                producer, sequence = found
                name = self._topic_name(context, topic)
                if producer.producer_id >= 0 and name is not None:
                    producers[producer] = None
                    sequences[TopicPartition(name, data.index)] = sequence
        if len(producers) > 1:
            raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        return (next(iter(producers)), sequences) if producers else None

    def _topic_name(self, context: RequestContext, topic: TopicProduceData) -> str | None:
        by_id = context.api_version >= FIRST_WITH_TOPIC_IDS
        return self._replicas.topic_name(topic.topic_id) if by_id else topic.name

    def _takes_long(self, context: RequestContext, request: ProduceRequest) -> bool:
        """Whether there are many partitions, or records that have to be opened, and are many."""
        if sum([len(topic.partition_data) for topic in request.topic_data]) > MANY_PARTITIONS:
            return True
        for topic in request.topic_data:
            for data in topic.partition_data:
                records = cast("Buffer | None", data.records)
                if records is None or len(records) < MANY_BYTES:
                    continue
                log = self._log(self._topic_name(context, topic), data.index)
                if log is not None and self._admission.takes_long(records, log.config):
                    return True
        return False

    def _log(self, topic: str | None, index: int) -> Log | None:
        """The log of a partition that is led here; None where there is an error to be told."""
        if topic is None:
            return None
        try:
            return self._replicas.partition(TopicPartition(topic, index)).leader_log()
        except KafkaError:
            return None

    def _sliced(self, context: RequestContext, request: ProduceRequest, verified: Verified) -> Sliced[ProduceResponse]:
        """`_append_in_turns`, for the dispatcher, which takes None for no reply also here."""
        return cast("Sliced[ProduceResponse]", self._append_in_turns(context, request, verified))

    async def _append_in_turns(
        self, context: RequestContext, request: ProduceRequest, verified: Verified
    ) -> ProduceResponse | Promise[ProduceResponse | None] | None:
        """`_append_all` with turns for others between partitions, and while records are opened."""
        slices = context.slices()
        responses: list[TopicProduceResponse] = []
        uncommitted = _Uncommitted()
        for topic in _each_once(request.topic_data):
            name = self._topic_name(context, topic)
            answers = []
            for partition in topic.partition_data:
                await slices.pause()
                opened = await self._open(context, name, partition, slices)
                answers.append(self._append(context, request, name, partition, verified, uncommitted, opened))
            responses.append(
                TopicProduceResponse(name=topic.name, topic_id=topic.topic_id, partition_responses=answers)
            )
        return self._answer(context, request, ProduceResponse(responses=responses), uncommitted)

    async def _open(
        self, context: RequestContext, topic: str | None, data: PartitionProduceData, slices: Slices
    ) -> Opened | None:
        records = cast("Buffer | None", data.records)
        log = self._log(topic, data.index)
        if log is None or not self._admission.takes_long(records, log.config):
            return None
        return await self._admission.open(records, log.config, context.api_version, slices)

    def _append_all(
        self, context: RequestContext, request: ProduceRequest, verified: Verified
    ) -> ProduceResponse | Promise[ProduceResponse | None] | None:
        responses: list[TopicProduceResponse] = []
        uncommitted = _Uncommitted()
        for topic in _each_once(request.topic_data):
            name = self._topic_name(context, topic)
            answers = [
                self._append(context, request, name, partition, verified, uncommitted)
                for partition in topic.partition_data
            ]
            responses.append(
                TopicProduceResponse(name=topic.name, topic_id=topic.topic_id, partition_responses=answers)
            )
        return self._answer(context, request, ProduceResponse(responses=responses), uncommitted)

    def _answer(
        self, context: RequestContext, request: ProduceRequest, response: ProduceResponse, uncommitted: _Uncommitted
    ) -> ProduceResponse | Promise[ProduceResponse | None] | None:
        """What the request is answered with after all appends."""
        if uncommitted.is_misdirected and context.api_version >= FIRST_WITH_LEADERS:
            self._add_leaders(context, response)
        if request.acks == ACKS_NONE:
            if any(answer.error_code for topic in response.responses for answer in topic.partition_responses):
                raise CloseConnection
            return None
        if not uncommitted.required_offset:
            return response
        return self._wait(context, request, response, uncommitted)

    def _append(
        self,
        context: RequestContext,
        request: ProduceRequest,
        topic: str | None,
        data: PartitionProduceData,
        verified: Verified,
        uncommitted: _Uncommitted,
        opened: Opened | None = None,
    ) -> PartitionProduceResponse:
        answer = PartitionProduceResponse(index=data.index, base_offset=UNKNOWN_OFFSET)
        records = cast("Buffer | None", data.records)
        data.records = None  # a request that waits must not keep its frame
        log: Log | None = None
        try:
            if topic is None:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
            name = TopicPartition(topic, data.index)
            partition = self._replicas.partition(name)
            if request.acks not in (ACKS_NONE, ACKS_LEADER, ACKS_ALL):
                self._admission.check_form(records)
                raise KafkaError(ErrorCode.INVALID_REQUIRED_ACKS)
            if is_internal(topic) and context.client_id != ADMIN_CLIENT_ID:
                raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Cannot append to internal topic {topic}")
            leader_log = partition.leader_log()
            if name in verified.errors:
                raise _unverified(verified.errors[name], context.api_version)
            log = leader_log
            if opened is not None and opened.config is log.config:
                batch, header = opened.admitted()
            else:
                batch, header = self._admission.admit(records, log.config, context.api_version, at_once=True)
            if header.is_transactional and header.producer_id >= 0 and self._verifier.is_enabled():
                log.producers.check_verified(
                    header.producer_id, header.producer_epoch, verified.verifications.get(name)
                )
            info = self._replicas.append(partition, batch, (header,), all_replicas=request.acks == ACKS_ALL)
        except RecordValidationError as error:
            answer.error_code, answer.error_message = error.code, error.message
            answer.record_errors = [
                BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=text)
                for index, text in error.errors
            ]
            answer.log_start_offset = _start_told(log, error)
        except _UnverifiedError as error:
            answer.error_code, answer.error_message = error.code, error.message
        except KafkaError as error:
            answer.error_code = error.code
            answer.log_start_offset = _start_told(log, error)
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
                uncommitted.tenures[name] = partition.tenure
                uncommitted.answers[name] = answer
        return answer

    def _wait(
        self, context: RequestContext, request: ProduceRequest, response: ProduceResponse, uncommitted: _Uncommitted
    ) -> Promise[ProduceResponse | None]:
        """Park until every in-sync replica has all that was appended; what is late is REQUEST_TIMED_OUT."""
        result: Promise[ProduceResponse | None] = Promise()

        def is_ready() -> bool:
            for name, required in list(uncommitted.required_offset.items()):
                try:
                    committed = self._replicas.partition(name).has_committed(required, uncommitted.tenures[name])
                except KafkaError as error:
                    _fail(uncommitted.answers[name], error.code)
                    uncommitted.is_misdirected |= error.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
                    committed = True
                if committed:
                    del uncommitted.required_offset[name]
            return not uncommitted.required_offset

        def finish() -> None:
            for name in uncommitted.required_offset:
                _fail(uncommitted.answers[name], ErrorCode.REQUEST_TIMED_OUT)
            if uncommitted.is_misdirected and context.api_version >= FIRST_WITH_LEADERS:
                self._add_leaders(context, response)
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


def _each_once(topics: list[TopicProduceData]) -> list[TopicProduceData]:
    """The same with each partition once: of what is named twice the last mention counts, as in a map."""
    if len(topics) == 1 and len(topics[0].partition_data) == 1:
        return topics
    merged: dict[tuple[str, bytes], dict[int, PartitionProduceData]] = {}
    for topic in topics:
        partitions = merged.setdefault((topic.name, topic.topic_id), {})
        partitions.update((data.index, data) for data in topic.partition_data)
    return [
        TopicProduceData(name=name, topic_id=topic_id, partition_data=list(partitions.values()))
        for (name, topic_id), partitions in merged.items()
        if partitions
    ]


def _start_told(log: Log | None, error: KafkaError) -> int:
    """Where the log begins that refused a batch; -1 where no log did, and with errors that say nothing of one."""
    is_told = log is not None and error.code not in _WITHOUT_START and not isinstance(error, NotOneBatchError)
    return log.log_start_offset if log is not None and is_told else UNKNOWN_OFFSET


class _UnverifiedError(KafkaError):
    """The transaction coordinator refused a partition, or did not answer; its message is for the client."""


def _unverified(code: ErrorCode, version: int) -> KafkaError:
    """What a producer is told when its transaction could not be verified: it tries again where that may help."""
    if code is ErrorCode.INVALID_TXN_STATE:
        return _UnverifiedError(code, "Partition was not added to the transaction")
    if code in _NO_ANSWER or (
        code is ErrorCode.CONCURRENT_TRANSACTIONS and support_of_produce(version) is not Support.ADDS_PARTITIONS
    ):
        return _UnverifiedError(
            ErrorCode.NOT_ENOUGH_REPLICAS,
            f"Unable to verify the partition has been added to the transaction. Underlying error: {code.name}",
        )
    return KafkaError(code)


def _transactional_batch(records: Buffer | None) -> tuple[Producer, int] | None:
    """Producer and first sequence of a transactional batch; None for another, or what is no batch."""
    if (
        not records
        or len(records) < HEADER_BYTES
        or records[MAGIC_AT] != MAGIC_V2
        or not records[ATTRIBUTES_AT + 1] & TRANSACTIONAL_BIT
    ):
        return None
    producer_id, producer_epoch, sequence = _PRODUCER.unpack_from(records, PRODUCER_ID_AT)
    return Producer(producer_id, producer_epoch), sequence


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
