"""AlterClientQuotas (KIP-546)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from odradek.controller.result import ControllerResult
from odradek.controller.state import ControllerState
from odradek.controller.topics import check_size
from odradek.metadata.delta import quota_entity
from odradek.metadata.image import QuotaEntity
from odradek.metadata.snapshot import VersionedRecord
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntryData,
    AlterClientQuotasResponse,
    AlterClientQuotasResponseEntityData,
    AlterClientQuotasResponseEntryData,
)
from odradek.wire.persistent.metadata.client_quota_record import ClientQuotaRecord, EntityData

USER = "user"
CLIENT_ID = "client-id"
IP = "ip"
_NO_LIMIT = math.inf
_LONG = 2.0**63 - 1
_INT = 2.0**31 - 1

_CLIENT_KEYS: Mapping[str, tuple[str, float]] = {
    "producer_byte_rate": ("LONG", _LONG),
    "consumer_byte_rate": ("LONG", _LONG),
    "request_percentage": ("DOUBLE", _NO_LIMIT),
    "controller_mutation_rate": ("DOUBLE", _NO_LIMIT),
}
_IP_KEYS: Mapping[str, tuple[str, float]] = {"connection_creation_rate": ("INT", _INT)}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")


def alter_client_quotas(
    state: ControllerState, request: AlterClientQuotasRequest
) -> ControllerResult[AlterClientQuotasResponse]:
    """Each entity's quotas change, or not, by themselves; an entity that occurs twice does not."""
    errors: dict[QuotaEntity, KafkaError | None] = {}
    names: dict[QuotaEntity, dict[str, str | None]] = {}
    records: list[VersionedRecord] = []
    for entry in request.entries:
        entity_names = {part.entity_type: part.entity_name for part in entry.entity}
        entity = quota_entity(entity_names)
        keys = [op.key for op in entry.ops]
        if entity in errors or len(set(keys)) < len(keys):
            shown = ", ".join(f"{kind}={name}" for kind, name in entity_names.items())
            errors[entity] = KafkaError(
                ErrorCode.INVALID_REQUEST, f"Ignoring duplicate entity ClientQuotaEntity(entries={{{shown}}})"
            )
        else:
            try:
                records += _altered(state, entity, entity_names, entry)
                errors[entity] = None
            except KafkaError as error:
                errors[entity] = error
        names[entity] = entity_names
    check_size(records)
    response = AlterClientQuotasResponse(
        entries=[
            AlterClientQuotasResponseEntryData(
                error_code=ErrorCode.NONE if error is None else error.code,
                error_message=None if error is None else error.message,
                entity=[
                    AlterClientQuotasResponseEntityData(entity_type=kind, entity_name=name)
                    for kind, name in names[entity].items()
                ],
            )
            for entity, error in errors.items()
        ]
    )
    return ControllerResult(response, [] if request.validate_only else records)


def _altered(
    state: ControllerState,
    entity: QuotaEntity,
    names: Mapping[str, str | None],
    entry: AlterClientQuotasRequestEntryData,
) -> list[VersionedRecord]:
    keys = _keys_for(names)
    current = state.image.client_quotas.entities.get(entity, {})
    records = []
    for op in entry.ops:
        data = [EntityData(entity_type=kind, entity_name=name) for kind, name in names.items()]
        if op.remove:
            if op.key in current:
                records.append(VersionedRecord(ClientQuotaRecord(entity=data, key=op.key, remove=True), 0))
            continue
        _check_value(keys, op.key, op.value)
        if current.get(op.key) != op.value:
            records.append(VersionedRecord(ClientQuotaRecord(entity=data, key=op.key, value=op.value), 0))
    return records


def _keys_for(names: Mapping[str, str | None]) -> Mapping[str, tuple[str, float]]:
    """The keys that an entity of these types may have; INVALID_REQUEST if there is no such entity."""
    problem = None
    if not names:
        problem = "Invalid empty client quota entity"
    for kind, name in names.items():
        if kind not in (USER, CLIENT_ID, IP):
            problem = problem or f"Unhandled client quota entity type: {kind}"
        elif name == "":
            problem = problem or f"Empty {kind} not supported"
    if problem is None and IP in names:
        address = names[IP]
        if len(names) > 1:
            problem = "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId"
        elif address is not None and _HOST.fullmatch(address) is None:
            problem = f"{address} is not a valid IP or resolvable host."
    if problem is not None:
        raise KafkaError(ErrorCode.INVALID_REQUEST, problem)
    return _IP_KEYS if IP in names else _CLIENT_KEYS


def _check_value(keys: Mapping[str, tuple[str, float]], key: str, value: float) -> None:
    problem = None
    if key not in keys:
        problem = f"Invalid configuration key {key}"
    elif not math.isfinite(value):
        problem = f"Quota {key} must be a finite number"
    elif value <= 0:
        problem = f"Quota {key} must be greater than 0"
    else:
        type_name, limit = keys[key]
        if value > limit:
            problem = f"Proposed value for {key} is too large for {'an' if type_name == 'INT' else 'a'} {type_name}."
        elif type_name != "DOUBLE" and value % 1.0 > 1e-6:
            problem = f"{key} cannot be a fractional value."
    if problem is not None:
        raise KafkaError(ErrorCode.INVALID_REQUEST, problem)
