"""GetTelemetrySubscriptions (API key 71): request and response."""

from __future__ import annotations

from odradek.wire.schema import BOOL, INT8, INT16, INT32, STRING, UUID, Message, array, field
from odradek.wire.uuids import Uuid


class GetTelemetrySubscriptionsRequest(
    Message, kind="request", api_key=71, versions="0", flexible="0+", listeners=("broker",)
):
    client_instance_id: Uuid = field(UUID, "0+")


class GetTelemetrySubscriptionsResponse(Message, kind="response", api_key=71, versions="0", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    client_instance_id: Uuid = field(UUID, "0+")
    subscription_id: int = field(INT32, "0+")
    accepted_compression_types: list[int] = field(array(INT8), "0+")
    push_interval_ms: int = field(INT32, "0+")
    telemetry_max_bytes: int = field(INT32, "0+")
    delta_temporality: bool = field(BOOL, "0+")
    requested_metrics: list[str] = field(array(STRING), "0+")
