"""RemoveTopicRecord (type 9) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import UUID, Message, field
from odradek.wire.uuids import Uuid


class RemoveTopicRecord(Message, kind="metadata", api_key=9, versions="0", flexible="0+"):
    topic_id: Uuid = field(UUID, "0+")
