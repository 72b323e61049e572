"""DefaultPrincipalData."""

from __future__ import annotations

from odradek.wire.schema import BOOL, STRING, Message, field


class DefaultPrincipalData(Message, kind="data", versions="0", flexible="0+"):
    type: str = field(STRING, "0+")
    name: str = field(STRING, "0+")
    token_authenticated: bool = field(BOOL, "0+")
