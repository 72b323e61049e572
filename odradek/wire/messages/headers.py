"""The headers in front of every request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, STRING, Message, field


class RequestHeader(Message, kind="header", versions="1-2", flexible="2+"):
    request_api_key: int = field(INT16, "0+")
    request_api_version: int = field(INT16, "0+")
    correlation_id: int = field(INT32, "0+")
    client_id: str | None = field(STRING, "1+", nullable="1+", flexible="none")


class ResponseHeader(Message, kind="header", versions="0-1", flexible="1+"):
    correlation_id: int = field(INT32, "0+")
