"""ConfigRecord (type 4) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import INT8, STRING, Message, field


class ConfigRecord(Message, kind="metadata", api_key=4, versions="0", flexible="0+"):
    resource_type: int = field(INT8, "0+")
    resource_name: str = field(STRING, "0+")
    name: str = field(STRING, "0+")
    value: str | None = field(STRING, "0+", nullable="0+")
