"""AlterConfigs and IncrementalAlterConfigs as the controller sees them: what is kept is checked once more here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from odradek.config.alter import (
    Alteration,
    AlterOp,
    apply_alterations,
    validate_client_metrics,
    validate_group,
    validate_topic_overrides,
)
from odradek.config.types import ResourceType
from odradek.controller.result import ControllerResult
from odradek.controller.state import ControllerState
from odradek.controller.topics import MIN_ISR, check_size
from odradek.metadata.snapshot import VersionedRecord
from odradek.metadata.topic_names import check_name
from odradek.metadata.versions import CORDONED_SINCE, metadata_version_name
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.persistent.metadata.clear_elr_record import ClearElrRecord
from odradek.wire.persistent.metadata.config_record import ConfigRecord

ALL_TOPICS = ""
CORDONED = "cordoned.log.dirs"


class ResourceChange(NamedTuple):
    """What shall change on one resource; `resource_type` is the code on the wire, which may be unknown."""

    resource_type: int
    name: str
    alterations: tuple[Alteration, ...]


class ResourceOutcome(NamedTuple):
    """How a change went; `error` is None where it went well."""

    resource_type: int
    name: str
    error: KafkaError | None


MayAlter = Callable[[int, str], KafkaError | None]
"""The authorization error for a (resource type, name), if there is one."""


def alter_configs(
    state: ControllerState, changes: Iterable[ResourceChange], may_alter: MayAlter, *, legacy: bool, validate_only: bool
) -> ControllerResult[list[ResourceOutcome]]:
    """Decide on changes, resource by resource. `legacy` ones replace all that is set on a resource."""
    outcomes: list[ResourceOutcome] = []
    records: list[VersionedRecord] = []
    wanted: dict[tuple[int, str], ResourceChange] = {}
    repeated: dict[tuple[int, str], None] = {}
    for change in changes:
        key = (change.resource_type, change.name)
        if change.resource_type not in ResourceType.__members__.values():
            message = f"Unknown resource type {change.resource_type}."
            outcomes.append(ResourceOutcome(*key, KafkaError(ErrorCode.UNSUPPORTED_VERSION, message)))
        elif key in wanted:
            repeated[key] = None
        else:
            wanted[key] = change
    for key in repeated:
        del wanted[key]
        outcomes.append(ResourceOutcome(*key, KafkaError(ErrorCode.INVALID_REQUEST, "Duplicate resource.")))
    for key, change in wanted.items():
        error = may_alter(*key)
        if error is None:
            try:
                records += _altered(state, change, legacy=legacy)
                check_size(records)
            except KafkaError as refused:
                error = refused
        outcomes.append(ResourceOutcome(*key, error))
    return ControllerResult(outcomes, [] if validate_only else records)


def _altered(state: ControllerState, change: ResourceChange, *, legacy: bool) -> list[VersionedRecord]:
    kind = ResourceType(change.resource_type)
    current = state.image.configs.properties(kind, change.name)
    new_values = apply_alterations(kind, current, change.alterations)
    if legacy:
        new_values |= {name: None for name in current if name not in new_values}
    overrides = {name: value for name, value in {**current, **new_values}.items() if value is not None}
    _validate(state, kind, change.name, overrides)
    if kind is ResourceType.BROKER and CORDONED in new_values and state.metadata_version < CORDONED_SINCE:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG,
            f"The {CORDONED} configuration value cannot be set because it requires metadata.version >= "
            f"{metadata_version_name(CORDONED_SINCE)}",
        )
    if state.elr_enabled and kind is ResourceType.BROKER:
        _check_min_isr(change.name, new_values)
    records = []
    for name, value in new_values.items():
        # A broker reads its keystores anew when their configuration is set again, even to the same value.
        if current.get(name) != value or kind is ResourceType.BROKER:
            record = ConfigRecord(resource_type=kind, resource_name=change.name, name=name, value=value)
            records.append(VersionedRecord(record, 0))
    if state.elr_enabled and MIN_ISR in new_values and current.get(MIN_ISR) != new_values[MIN_ISR]:
        records += _cleared_elr(kind, change.name)
    return records


def _validate(state: ControllerState, kind: ResourceType, name: str, overrides: Mapping[str, str]) -> None:
    if kind is ResourceType.TOPIC:
        if not name:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Default topic resources are not allowed.")
        check_name(name)
        validate_topic_overrides(state.config, overrides)
        if name not in state.image.topics.by_name:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{name}' does not exist.")
    elif kind is ResourceType.BROKER:
        _check_broker(state, name)
    elif kind is ResourceType.CLIENT_METRICS:
        validate_client_metrics(name, overrides)
    elif kind is ResourceType.GROUP:
        validate_group(state.config, name, overrides)
    else:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown resource type {kind.name}")


def _check_broker(state: ControllerState, name: str) -> None:
    if not name:
        return
    try:
        broker_id = int(name)
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Unable to parse broker name as a base 10 number.") from None
    if broker_id < 0:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Invalid negative broker ID.")
    known = broker_id in state.image.cluster.brokers or broker_id in state.image.cluster.controllers
    if not known and broker_id != state.identity.node_id:
        raise KafkaError(ErrorCode.BROKER_ID_NOT_REGISTERED, f"No node with id {broker_id} found.")


def _check_min_isr(name: str, new_values: Mapping[str, str | None]) -> None:
    """With eligible leader replicas, brokers must agree on the minimum: it is set for the cluster, and stays set."""
    if MIN_ISR not in new_values:
        return
    if name:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG, "Broker-level min.insync.replicas cannot be altered while ELR is enabled."
        )
    if new_values[MIN_ISR] is None:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled."
        )


def _cleared_elr(kind: ResourceType, name: str) -> list[VersionedRecord]:
    """Who was eligible under another minimum may lack committed records."""
    if kind is ResourceType.TOPIC:
        return [VersionedRecord(ClearElrRecord(topic_name=name), 0)]
    if kind is ResourceType.BROKER and not name:
        return [VersionedRecord(ClearElrRecord(topic_name=ALL_TOPICS), 0)]
    return []


def replacement(values: Iterable[tuple[str, str | None]]) -> tuple[Alteration, ...]:
    """The alterations of a legacy AlterConfigs."""
    return tuple(
        Alteration(name, AlterOp.SET if value is not None else AlterOp.DELETE, value) for name, value in values
    )
