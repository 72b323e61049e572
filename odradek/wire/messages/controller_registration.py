"""ControllerRegistration (API key 70): request and response."""

from __future__ import annotations

from odradek.wire.schema import BOOL, INT16, INT32, STRING, UINT16, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class Listener(Struct):
    name: str = field(STRING, "0+", map_key=True)
    host: str = field(STRING, "0+")
    port: int = field(UINT16, "0+")
    security_protocol: int = field(INT16, "0+")


class Feature(Struct):
    name: str = field(STRING, "0+", map_key=True)
    min_supported_version: int = field(INT16, "0+")
    max_supported_version: int = field(INT16, "0+")


class ControllerRegistrationRequest(
    Message, kind="request", api_key=70, versions="0", flexible="0+", listeners=("controller",)
):
    controller_id: int = field(INT32, "0+")
    incarnation_id: Uuid = field(UUID, "0+")
    zk_migration_ready: bool = field(BOOL, "0+")
    listeners: list[Listener] = field(array(Listener), "0+")
    features: list[Feature] = field(array(Feature), "0+")


class ControllerRegistrationResponse(Message, kind="response", api_key=70, versions="0", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+")
