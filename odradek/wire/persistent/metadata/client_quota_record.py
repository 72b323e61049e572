"""ClientQuotaRecord (type 14) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import BOOL, FLOAT64, STRING, Message, Struct, array, field


class EntityData(Struct):
    entity_type: str = field(STRING, "0+")
    entity_name: str | None = field(STRING, "0+", nullable="0+")


class ClientQuotaRecord(Message, kind="metadata", api_key=14, versions="0", flexible="0+"):
    entity: list[EntityData] = field(array(EntityData), "0+")
    key: str = field(STRING, "0+")
    value: float = field(FLOAT64, "0+")
    remove: bool = field(BOOL, "0+")
