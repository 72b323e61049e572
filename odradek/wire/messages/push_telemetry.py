"""PushTelemetry (API key 72): request and response."""

from __future__ import annotations

from odradek.wire.schema import BOOL, BYTES, INT8, INT16, INT32, UUID, Message, field
from odradek.wire.uuids import Uuid


class PushTelemetryRequest(Message, kind="request", api_key=72, versions="0", flexible="0+", listeners=("broker",)):
    client_instance_id: Uuid = field(UUID, "0+")
    subscription_id: int = field(INT32, "0+")
    terminating: bool = field(BOOL, "0+")
    compression_type: int = field(INT8, "0+")
    metrics: bytes = field(BYTES, "0+")


class PushTelemetryResponse(Message, kind="response", api_key=72, versions="0", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
