"""IncrementalAlterConfigs (API key 44): request and response."""

from __future__ import annotations

from odradek.wire.schema import BOOL, INT8, INT16, INT32, STRING, Message, Struct, array, field


class AlterableConfig(Struct):
    name: str = field(STRING, "0+", map_key=True)
    config_operation: int = field(INT8, "0+", map_key=True)
    value: str | None = field(STRING, "0+", nullable="0+")


class AlterConfigsResource(Struct):
    resource_type: int = field(INT8, "0+", map_key=True)
    resource_name: str = field(STRING, "0+", map_key=True)
    configs: list[AlterableConfig] = field(array(AlterableConfig), "0+")


class IncrementalAlterConfigsRequest(
    Message, kind="request", api_key=44, versions="0-1", flexible="1+", listeners=("broker", "controller")
):
    resources: list[AlterConfigsResource] = field(array(AlterConfigsResource), "0+")
    validate_only: bool = field(BOOL, "0+")


class AlterConfigsResourceResponse(Struct):
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+")
    resource_type: int = field(INT8, "0+")
    resource_name: str = field(STRING, "0+")


class IncrementalAlterConfigsResponse(Message, kind="response", api_key=44, versions="0-1", flexible="1+"):
    throttle_time_ms: int = field(INT32, "0+")
    responses: list[AlterConfigsResourceResponse] = field(array(AlterConfigsResourceResponse), "0+")
