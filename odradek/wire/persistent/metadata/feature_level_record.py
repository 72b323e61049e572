"""FeatureLevelRecord (type 12) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import INT16, STRING, Message, field


class FeatureLevelRecord(Message, kind="metadata", api_key=12, versions="0", flexible="0+"):
    name: str = field(STRING, "0+")
    feature_level: int = field(INT16, "0+")
