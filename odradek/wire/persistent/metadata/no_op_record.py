"""NoOpRecord (type 20) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import Message


class NoOpRecord(Message, kind="metadata", api_key=20, versions="0", flexible="0+"):
    pass
