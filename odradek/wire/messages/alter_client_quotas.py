"""AlterClientQuotas (API key 49): request and response."""

from __future__ import annotations

from odradek.wire.schema import BOOL, FLOAT64, INT16, INT32, STRING, Message, Struct, array, field


class AlterClientQuotasRequestEntityData(Struct):
    entity_type: str = field(STRING, "0+")
    entity_name: str | None = field(STRING, "0+", nullable="0+")


class OpData(Struct):
    key: str = field(STRING, "0+")
    value: float = field(FLOAT64, "0+")
    remove: bool = field(BOOL, "0+")


class AlterClientQuotasRequestEntryData(Struct):
    entity: list[AlterClientQuotasRequestEntityData] = field(array(AlterClientQuotasRequestEntityData), "0+")
    ops: list[OpData] = field(array(OpData), "0+")


class AlterClientQuotasRequest(
    Message, kind="request", api_key=49, versions="0-1", flexible="1+", listeners=("broker", "controller")
):
    entries: list[AlterClientQuotasRequestEntryData] = field(array(AlterClientQuotasRequestEntryData), "0+")
    validate_only: bool = field(BOOL, "0+")


class AlterClientQuotasResponseEntityData(Struct):
    entity_type: str = field(STRING, "0+")
    entity_name: str | None = field(STRING, "0+", nullable="0+")


class AlterClientQuotasResponseEntryData(Struct):
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+")
    entity: list[AlterClientQuotasResponseEntityData] = field(array(AlterClientQuotasResponseEntityData), "0+")


class AlterClientQuotasResponse(Message, kind="response", api_key=49, versions="0-1", flexible="1+"):
    throttle_time_ms: int = field(INT32, "0+")
    entries: list[AlterClientQuotasResponseEntryData] = field(array(AlterClientQuotasResponseEntryData), "0+")
