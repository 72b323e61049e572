"""UnregisterControllerRecord (type 29) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import INT32, Message, field


class UnregisterControllerRecord(Message, kind="metadata", api_key=29, versions="0", flexible="0+"):
    controller_id: int = field(INT32, "0+")
