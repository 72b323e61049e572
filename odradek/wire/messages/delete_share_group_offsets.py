"""DeleteShareGroupOffsets (API key 92): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, STRING, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class DeleteShareGroupOffsetsRequestTopic(Struct):
    topic_name: str = field(STRING, "0+")


class DeleteShareGroupOffsetsRequest(
    Message, kind="request", api_key=92, versions="0", flexible="0+", listeners=("broker",)
):
    group_id: str = field(STRING, "0+")
    topics: list[DeleteShareGroupOffsetsRequestTopic] = field(array(DeleteShareGroupOffsetsRequestTopic), "0+")


class DeleteShareGroupOffsetsResponseTopic(Struct):
    topic_name: str = field(STRING, "0+")
    topic_id: Uuid = field(UUID, "0+")
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+", default=None)


class DeleteShareGroupOffsetsResponse(Message, kind="response", api_key=92, versions="0", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+", default=None)
    responses: list[DeleteShareGroupOffsetsResponseTopic] = field(array(DeleteShareGroupOffsetsResponseTopic), "0+")
