"""TopicRecord (type 2) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import STRING, UUID, Message, field
from odradek.wire.uuids import Uuid


class TopicRecord(Message, kind="metadata", api_key=2, versions="0", flexible="0+"):
    name: str = field(STRING, "0+")
    topic_id: Uuid = field(UUID, "0+")
