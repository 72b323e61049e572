"""ClearElrRecord (type 28) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import STRING, Message, field


class ClearElrRecord(Message, kind="metadata", api_key=28, versions="0", flexible="0+"):
    topic_name: str = field(STRING, "0+")
