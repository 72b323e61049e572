"""RemoveAccessControlEntryRecord (type 19) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import UUID, Message, field
from odradek.wire.uuids import Uuid


class RemoveAccessControlEntryRecord(Message, kind="metadata", api_key=19, versions="0", flexible="0+"):
    id: Uuid = field(UUID, "0+")
