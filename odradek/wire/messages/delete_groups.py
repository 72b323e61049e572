"""DeleteGroups (API key 42): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, STRING, Message, Struct, array, field


class DeleteGroupsRequest(Message, kind="request", api_key=42, versions="0-3", flexible="2+", listeners=("broker",)):
    groups_names: list[str] = field(array(STRING), "0+")


class DeletableGroupResult(Struct):
    group_id: str = field(STRING, "0+", map_key=True)
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "3+", nullable="3+", default=None, ignorable=True)


class DeleteGroupsResponse(Message, kind="response", api_key=42, versions="0-3", flexible="2+"):
    throttle_time_ms: int = field(INT32, "0+")
    results: list[DeletableGroupResult] = field(array(DeletableGroupResult), "0+")
