"""UnregisterBroker (API key 64): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, STRING, Message, field


class UnregisterBrokerRequest(
    Message, kind="request", api_key=64, versions="0", flexible="0+", listeners=("broker", "controller")
):
    broker_id: int = field(INT32, "0+")


class UnregisterBrokerResponse(Message, kind="response", api_key=64, versions="0", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+")
