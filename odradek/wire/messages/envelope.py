"""Envelope (API key 58): request and response."""

from __future__ import annotations

from odradek.wire.schema import BYTES, INT16, Message, field


class EnvelopeRequest(Message, kind="request", api_key=58, versions="0", flexible="0+", listeners=("controller",)):
    request_data: bytes = field(BYTES, "0+")
    request_principal: bytes | None = field(BYTES, "0+", nullable="0+")
    client_host_address: bytes = field(BYTES, "0+")


class EnvelopeResponse(Message, kind="response", api_key=58, versions="0", flexible="0+"):
    response_data: bytes | None = field(BYTES, "0+", nullable="0+", default=None)
    error_code: int = field(INT16, "0+")
