"""SaslHandshake (API key 17): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, STRING, Message, array, field


class SaslHandshakeRequest(
    Message, kind="request", api_key=17, versions="0-1", flexible="none", listeners=("broker", "controller")
):
    mechanism: str = field(STRING, "0+")


class SaslHandshakeResponse(Message, kind="response", api_key=17, versions="0-1", flexible="none"):
    error_code: int = field(INT16, "0+")
    mechanisms: list[str] = field(array(STRING), "0+")
