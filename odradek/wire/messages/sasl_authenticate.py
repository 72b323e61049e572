"""SaslAuthenticate (API key 36): request and response."""

from __future__ import annotations

from odradek.wire.schema import BYTES, INT16, INT64, STRING, Message, field


class SaslAuthenticateRequest(
    Message, kind="request", api_key=36, versions="0-2", flexible="2+", listeners=("broker", "controller")
):
    auth_bytes: bytes = field(BYTES, "0+")


class SaslAuthenticateResponse(Message, kind="response", api_key=36, versions="0-2", flexible="2+"):
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+")
    auth_bytes: bytes = field(BYTES, "0+")
    session_lifetime_ms: int = field(INT64, "1+", default=0, ignorable=True)
