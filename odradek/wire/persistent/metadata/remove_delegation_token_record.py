"""RemoveDelegationTokenRecord (type 26) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import STRING, Message, field


class RemoveDelegationTokenRecord(Message, kind="metadata", api_key=26, versions="0", flexible="0+"):
    token_id: str = field(STRING, "0+")
