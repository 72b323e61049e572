"""ExpireDelegationToken (API key 40): request and response."""

from __future__ import annotations

from odradek.wire.schema import BYTES, INT16, INT32, INT64, Message, field


class ExpireDelegationTokenRequest(
    Message, kind="request", api_key=40, versions="1-2", flexible="2+", listeners=("broker", "controller")
):
    hmac: bytes = field(BYTES, "0+")
    expiry_time_period_ms: int = field(INT64, "0+")


class ExpireDelegationTokenResponse(Message, kind="response", api_key=40, versions="1-2", flexible="2+"):
    error_code: int = field(INT16, "0+")
    expiry_timestamp_ms: int = field(INT64, "0+")
    throttle_time_ms: int = field(INT32, "0+")
