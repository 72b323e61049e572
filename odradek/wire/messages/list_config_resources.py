"""ListConfigResources (API key 74): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT8, INT16, INT32, STRING, Message, Struct, array, field


class ListConfigResourcesRequest(
    Message, kind="request", api_key=74, versions="0-1", flexible="0+", listeners=("broker",)
):
    resource_types: list[int] = field(array(INT8), "1+")


class ConfigResource(Struct):
    resource_name: str = field(STRING, "0+")
    resource_type: int = field(INT8, "1+", default=16, ignorable=True)


class ListConfigResourcesResponse(Message, kind="response", api_key=74, versions="0-1", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    config_resources: list[ConfigResource] = field(array(ConfigResource), "0+")
