"""AccessControlEntryRecord (type 18) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import INT8, STRING, UUID, Message, field
from odradek.wire.uuids import Uuid


class AccessControlEntryRecord(Message, kind="metadata", api_key=18, versions="0", flexible="0+"):
    id: Uuid = field(UUID, "0+")
    resource_type: int = field(INT8, "0+")
    resource_name: str = field(STRING, "0+")
    pattern_type: int = field(INT8, "0+")
    principal: str = field(STRING, "0+")
    host: str = field(STRING, "0+")
    operation: int = field(INT8, "0+")
    permission_type: int = field(INT8, "0+")
