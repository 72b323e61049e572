"""UserScramCredentialRecord (type 11) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import BYTES, INT8, INT32, STRING, Message, field


class UserScramCredentialRecord(Message, kind="metadata", api_key=11, versions="0", flexible="0+"):
    name: str = field(STRING, "0+")
    mechanism: int = field(INT8, "0+")
    salt: bytes = field(BYTES, "0+")
    stored_key: bytes = field(BYTES, "0+")
    server_key: bytes = field(BYTES, "0+")
    iterations: int = field(INT32, "0+")
