"""KRaftVersionRecord."""

from __future__ import annotations

from odradek.wire.schema import INT16, Message, field


class KRaftVersionRecord(Message, kind="data", versions="0", flexible="0+"):
    version: int = field(INT16, "0+")
    kraft_version: int = field(INT16, "0+", kafka_name="KRaftVersion")
