"""Heartbeat (API key 12): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, STRING, Message, field


class HeartbeatRequest(Message, kind="request", api_key=12, versions="0-4", flexible="4+", listeners=("broker",)):
    group_id: str = field(STRING, "0+")
    generation_id: int = field(INT32, "0+")
    member_id: str = field(STRING, "0+")
    group_instance_id: str | None = field(STRING, "3+", nullable="3+", default=None)


class HeartbeatResponse(Message, kind="response", api_key=12, versions="0-4", flexible="4+"):
    throttle_time_ms: int = field(INT32, "1+", ignorable=True)
    error_code: int = field(INT16, "0+")
