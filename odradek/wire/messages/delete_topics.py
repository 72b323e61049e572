"""DeleteTopics (API key 20): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, STRING, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class DeleteTopicState(Struct):
    name: str | None = field(STRING, "6+", nullable="6+", default=None)
    topic_id: Uuid = field(UUID, "6+")


class DeleteTopicsRequest(
    Message, kind="request", api_key=20, versions="1-6", flexible="4+", listeners=("broker", "controller")
):
    topics: list[DeleteTopicState] = field(array(DeleteTopicState), "6+")
    topic_names: list[str] = field(array(STRING), "0-5", ignorable=True)
    timeout_ms: int = field(INT32, "0+")


class DeletableTopicResult(Struct):
    name: str | None = field(STRING, "0+", nullable="6+", map_key=True)
    topic_id: Uuid = field(UUID, "6+", ignorable=True)
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "5+", nullable="5+", default=None, ignorable=True)


class DeleteTopicsResponse(Message, kind="response", api_key=20, versions="1-6", flexible="4+"):
    throttle_time_ms: int = field(INT32, "1+", ignorable=True)
    responses: list[DeletableTopicResult] = field(array(DeletableTopicResult), "0+")
