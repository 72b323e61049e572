"""CreateTopics, DeleteTopics and CreatePartitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from odradek.config.alter import validate_topic_overrides
from odradek.config.describe import describe_topic
from odradek.config.types import ResourceType
from odradek.controller.partitions import check_manual_assignment, new_partition
from odradek.controller.placement import place
from odradek.controller.result import MAX_RECORDS_PER_OPERATION, ControllerResult
from odradek.controller.state import ControllerState
from odradek.metadata.image import PartitionImage
from odradek.metadata.snapshot import VersionedRecord, partition_records
from odradek.metadata.topic_names import CLUSTER_METADATA_TOPIC, check_name
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
)
from odradek.wire.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from odradek.wire.persistent.metadata.clear_elr_record import ClearElrRecord
from odradek.wire.persistent.metadata.config_record import ConfigRecord
from odradek.wire.persistent.metadata.topic_record import TopicRecord

BROKER_DEFAULT = -1
"""The request leaves the number of partitions or replicas to the configuration, or to a manual assignment."""

MIN_ISR = "min.insync.replicas"

Allowed = Callable[[str], bool]
"""Whether whoever asks may do so to the topic of this name."""


_Described = dict[tuple[tuple[str, str], ...], list[CreatableTopicConfigs]]
"""Descriptions of new topics' configurations, by what is set on a topic."""


def repeated(names: Iterable[str]) -> dict[str, None]:
    """The names that occur more than once, in the order of their second occurrence."""
    seen: dict[str, None] = {}
    twice: dict[str, None] = {}
    for name in names:
        (twice if name in seen else seen)[name] = None
    return twice


def create_topics(
    state: ControllerState, request: CreateTopicsRequest, may_create: Allowed, may_describe_configs: Allowed
) -> ControllerResult[CreateTopicsResponse]:
    """Each topic succeeds or fails by itself; POLICY_VIOLATION for the whole if it is too much at once."""
    twice = repeated(topic.name for topic in request.topics)
    response = CreateTopicsResponse()
    records: list[VersionedRecord] = []
    refused: list[CreatableTopicResult] = []
    _check_total_partitions(state, request)
    created: dict[str, None] = {}
    described: _Described = {}
    for topic in request.topics:
        name = topic.name
        if name in twice:
            continue
        try:
            if name == CLUSTER_METADATA_TOPIC:
                raise KafkaError(
                    ErrorCode.INVALID_REQUEST, f"Creation of internal topic {CLUSTER_METADATA_TOPIC} is prohibited."
                )
            if not may_create(name):
                raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED, "Authorization failed.")
        except KafkaError as error:
            refused.append(_failed_topic(name, error))
            continue
        try:
            topic_records, result = _create_topic(state, topic, described)
            created[name] = None
        except KafkaError as error:
            response.topics.append(_failed_topic(name, error))
            continue
        if not may_describe_configs(name):
            result.configs = []
            result.num_partitions = result.replication_factor = -1
            result.topic_config_error_code = ErrorCode.TOPIC_AUTHORIZATION_FAILED
        records += topic_records
        check_size(records)
        response.topics.append(result)
    for name in twice:
        response.topics.append(_failed_topic(name, KafkaError(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")))
    response.topics += refused
    return ControllerResult(response, [] if request.validate_only else records)


def check_size(records: Sequence[VersionedRecord]) -> None:
    """Raise POLICY_VIOLATION if one request causes too many records."""
    if len(records) > MAX_RECORDS_PER_OPERATION:
        raise KafkaError(ErrorCode.POLICY_VIOLATION, "Unable to perform excessively large batch operation.")


def _check_total_partitions(state: ControllerState, request: CreateTopicsRequest) -> None:
    default = state.config.int_("num.partitions")
    total = 0
    for topic in request.topics:
        if topic.assignments:
            total += len(topic.assignments)
        else:
            total += default if topic.num_partitions == BROKER_DEFAULT else max(0, topic.num_partitions)
    if total > MAX_RECORDS_PER_OPERATION:
        raise KafkaError(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")


def _failed_topic(name: str, error: KafkaError) -> CreatableTopicResult:
    return CreatableTopicResult(name=name, error_code=error.code, error_message=error.message or error.code.message)


def _create_topic(
    state: ControllerState, topic: CreatableTopic, described: _Described
) -> tuple[list[VersionedRecord], CreatableTopicResult]:
    name = topic.name
    check_name(name)
    colliding = state.colliding_topic(name)
    if name in state.image.topics.by_name:
        raise KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
    if colliding is not None:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic '{name}' collides with existing topic: {colliding}")
    configs = _topic_configs(state, topic)
    partitions = _assigned_partitions(state, topic) if topic.assignments else _placed_partitions(state, topic)
    topic_id = state.random.uuid()
    records = [VersionedRecord(TopicRecord(name=name, topic_id=topic_id), 0)]
    for key, value in configs.items():
        record = ConfigRecord(resource_type=ResourceType.TOPIC, resource_name=name, name=key, value=value)
        records.append(VersionedRecord(record, 0))
    if state.elr_enabled and MIN_ISR in configs:
        records.append(VersionedRecord(ClearElrRecord(topic_name=name), 0))
    writing = state.writing
    records += partition_records(topic_id, enumerate(partitions), writing)
    result = CreatableTopicResult(
        name=name,
        topic_id=topic_id,
        error_message=None,
        num_partitions=len(partitions),
        replication_factor=len(partitions[0].replicas),
        configs=_described(state, configs, described),
    )
    return records, result


def _topic_configs(state: ControllerState, topic: CreatableTopic) -> dict[str, str]:
    configs: dict[str, str] = {}
    without_value = [config.name for config in topic.configs if config.value is None]
    if without_value:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG, f"Null value not supported for topic configs: {','.join(without_value)}"
        )
    for config in topic.configs:
        if config.value is not None:
            configs[config.name] = config.value
    validate_topic_overrides(state.config, configs)
    return configs


def _described(
    state: ControllerState, configs: Mapping[str, str], described: _Described
) -> list[CreatableTopicConfigs]:
    """What is told of a new topic's configuration; topics of one request that are configured alike share it."""
    place = tuple(configs.items())
    if place not in described:
        described[place] = _description(state, configs)
    return described[place]


def _description(state: ControllerState, configs: Mapping[str, str]) -> list[CreatableTopicConfigs]:
    entries = describe_topic(state.config, configs)
    return [
        CreatableTopicConfigs(
            name=entry.name,
            value=None if entry.sensitive else entry.value,
            read_only=entry.read_only,
            config_source=entry.source,
            is_sensitive=entry.sensitive,
        )
        for entry in sorted(entries, key=lambda entry: entry.name)
    ]


def _assigned_partitions(state: ControllerState, topic: CreatableTopic) -> list[PartitionImage]:
    for count, what in ((topic.replication_factor, "replication factor"), (topic.num_partitions, "numPartitions")):
        if count != BROKER_DEFAULT:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"A manual partition assignment was specified, but {what} was not set to -1.",
            )
    partitions: dict[int, PartitionImage] = {}
    replication_factor: int | None = None
    for assignment in topic.assignments:
        index = assignment.partition_index
        if index in partitions:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"Found multiple manual partition assignments for partition {index}",
            )
        check_manual_assignment(state, assignment.broker_ids, replication_factor)
        replication_factor = len(assignment.broker_ids)
        partitions[index] = _assigned(state, assignment, index)
    if sorted(partitions) != list(range(len(partitions))):
        raise KafkaError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT, "partitions should be a consecutive 0-based integer sequence"
        )
    return [partitions[index] for index in range(len(partitions))]


def _assigned(state: ControllerState, assignment: CreatableReplicaAssignment, index: int) -> PartitionImage:
    partition = new_partition(state, assignment.broker_ids)
    if partition is None:
        raise KafkaError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"All brokers specified in the manual partition assignment for partition {index} are fenced or in "
            "controlled shutdown.",
        )
    return partition


def _placed_partitions(state: ControllerState, topic: CreatableTopic) -> list[PartitionImage]:
    if topic.replication_factor < BROKER_DEFAULT or topic.replication_factor == 0:
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )
    if topic.num_partitions < BROKER_DEFAULT or topic.num_partitions == 0:
        raise KafkaError(ErrorCode.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value.")
    count, replicas = topic.num_partitions, topic.replication_factor
    if count == BROKER_DEFAULT:
        count = state.config.int_("num.partitions")
    if replicas == BROKER_DEFAULT:
        replicas = state.config.int_("default.replication.factor")
    try:
        return place_partitions(state, count, replicas)
    except KafkaError as error:
        raise KafkaError(
            error.code, f"Unable to replicate the partition {replicas} time(s): {error.message}"
        ) from error


def place_partitions(state: ControllerState, count: int, replicas: int) -> list[PartitionImage]:
    """New partitions on brokers of the controller's choice; INVALID_REPLICATION_FACTOR if there is no place."""
    partitions = []
    known: dict[tuple[int, ...], PartitionImage | None] = {}
    """New partitions on the same brokers are alike."""
    for broker_ids in place(state.image.cluster.brokers.values(), count, replicas, state.random):
        chosen = tuple(broker_ids)
        partition = known[chosen] if chosen in known else known.setdefault(chosen, new_partition(state, chosen))
        if partition is None:
            raise KafkaError(
                ErrorCode.INVALID_REPLICATION_FACTOR, "All brokers are currently fenced or in controlled shutdown."
            )
        partitions.append(partition)
    return partitions


def create_partitions(
    state: ControllerState, request: CreatePartitionsRequest, may_alter: Allowed
) -> ControllerResult[CreatePartitionsResponse]:
    """Each topic grows, or not, by itself."""
    twice = repeated(topic.name for topic in request.topics)
    response = CreatePartitionsResponse(
        results=[_grown(name, KafkaError(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")) for name in twice]
    )
    records: list[VersionedRecord] = []
    for topic in request.topics:
        if topic.name in twice:
            continue
        if not may_alter(topic.name):
            denied = CreatePartitionsTopicResult(name=topic.name, error_code=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
            response.results.append(denied)
            continue
        try:
            records += _create_partitions(state, topic)
            check_size(records)
        except KafkaError as error:
            response.results.append(_grown(topic.name, error))
        else:
            response.results.append(CreatePartitionsTopicResult(name=topic.name))
    return ControllerResult(response, [] if request.validate_only else records)


def _grown(name: str, error: KafkaError) -> CreatePartitionsTopicResult:
    return CreatePartitionsTopicResult(name=name, error_code=error.code, error_message=error.message)


def _create_partitions(state: ControllerState, topic: CreatePartitionsTopic) -> list[VersionedRecord]:
    image = state.image.topics.by_name.get(topic.name)
    if image is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    existing = len(image.partitions)
    if topic.count == existing:
        raise KafkaError(ErrorCode.INVALID_PARTITIONS, f"Topic already has {existing} partition(s).")
    if topic.count < existing:
        raise KafkaError(
            ErrorCode.INVALID_PARTITIONS,
            f"The topic {topic.name} currently has {existing} partition(s); {topic.count} would not be an increase.",
        )
    additional = topic.count - existing
    if additional > MAX_RECORDS_PER_OPERATION:
        raise KafkaError(ErrorCode.POLICY_VIOLATION, "Excessively large number of additional partitions per request.")
    if topic.assignments is not None and len(topic.assignments) != additional:
        raise KafkaError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"Attempted to add {additional} additional partition(s), but only {len(topic.assignments)} "
            "assignment(s) were specified.",
        )
    replicas = len(next(iter(image.partitions.values())).replicas)
    if topic.assignments is None:
        partitions = place_partitions(state, additional, replicas)
    else:
        partitions = []
        for index, assignment in enumerate(topic.assignments, start=existing):
            check_manual_assignment(state, assignment.broker_ids, replicas)
            manual = CreatableReplicaAssignment(partition_index=index, broker_ids=assignment.broker_ids)
            partitions.append(_assigned(state, manual, index))
    writing = state.writing
    return list(partition_records(image.id, enumerate(partitions, start=existing), writing))
