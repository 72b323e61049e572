"""RemoveUserScramCredentialRecord (type 22) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import INT8, STRING, Message, field


class RemoveUserScramCredentialRecord(Message, kind="metadata", api_key=22, versions="0", flexible="0+"):
    name: str = field(STRING, "0+")
    mechanism: int = field(INT8, "0+")
