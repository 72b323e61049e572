"""Operations on what clients have sent."""

from __future__ import annotations

from typing import Any

from odradek.control.operations import TIMEOUT, Call, ControlError, Controlled, Operation, Parameter
from odradek.control.schemas import BOOLEAN, INTEGER, NUMBER, STRING, array, nullable, record, ref
from odradek.control.values import message_json
from odradek.testing.cluster import Cluster
from odradek.testing.requests import RecordedRequest, Requests
from odradek.wire.apis import ApiKey, request_class
from odradek.wire.errors import ProtocolError
from odradek.wire.schema import Message

TAG = "requests"
MAX_REQUESTS = 10_000

COMPONENTS = {
    "Request": record(
        {
            "api": {**STRING, "description": "Kafka's name, such as Produce."},
            "version": INTEGER,
            "client_id": nullable(STRING),
            "correlation_id": INTEGER,
            "node_id": INTEGER,
            "connection": {**STRING, "description": "The same text for all requests of one connection."},
            "time_ms": INTEGER,
            "duration_ms": nullable(NUMBER),
            "topics": array(STRING),
            "error_codes": array({**STRING, "description": "Kafka's name."}),
            "message": {"description": "The request by the names of its fields; null if it was too large to be kept."},
            "response": {"description": "The response, without records; null if there is none."},
        },
        "api", "version", "client_id", "correlation_id", "node_id", "connection", "time_ms", "duration_ms", "topics",
        "error_codes", "message", "response",
    ),
}  # fmt: skip


def api_of(name: str) -> ApiKey:
    """The API that Kafka calls so; raises ControlError."""
    by_name = {api_name(key): key for key in ApiKey}
    if name not in by_name:
        raise ControlError(
            400, "BAD_PARAMETER", f"there is no API {name!r}; Kafka's names are such as Produce, OffsetCommit"
        )
    return by_name[name]


def api_name(key: ApiKey) -> str:
    """Kafka's name of an API, such as Produce."""
    return request_class(key).__name__.removesuffix("Request")


async def forget(cluster: Cluster) -> None:
    """Forget all requests until now."""
    cluster.watch.clear()


async def _requests(kafka: Controlled, call: Call) -> object:
    chosen: Requests[Any] = Requests(kafka.running)
    api, client_id, topic, count = call.text("api"), call.text("client_id"), call.text("topic"), call.number("wait_for")
    if api is not None:
        chosen = chosen.of(request_class(api_of(api)))
    if client_id is not None:
        chosen = chosen.from_client(client_id)
    if topic is not None:
        chosen = chosen.for_topic(topic)
    if call.flag("failed"):
        chosen = chosen.failed()
    found = await chosen.wait_for_async(count or 0, timeout_s=call.timeout_s if count else 0)
    return [_shown(each) for each in found[-(call.number("limit") or MAX_REQUESTS) :]]


async def _clear(kafka: Controlled, _call: Call) -> None:
    await kafka.call(forget)


def _shown(request: RecordedRequest[Message]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "api": api_name(request.api),
        "version": request.version,
        "client_id": request.client_id,
        "correlation_id": request.correlation_id,
        "node_id": request.node_id,
        "connection": request.connection,
        "time_ms": request.time_ms,
        "duration_ms": request.duration_ms,
        "topics": [],
        "error_codes": [],
        "message": None,
        "response": None,
    }
    try:
        response = request.response
        shown["error_codes"] = [code.name for code in request.error_codes]
        shown["response"] = None if response is None else message_json(response)
        shown["message"] = message_json(request.message)
        shown["topics"] = request.topics
    except ProtocolError:
        pass  # what is not known of it stays empty
    return shown


OPERATIONS = (
    Operation(
        method="GET", path="/requests", name="requests", tag=TAG, handler=_requests, answer=array(ref("Request")),
        problems=(504,),
        summary="What clients have sent, and what they were answered, the newest last.",
        query=(
            Parameter("api", STRING, "Kafka's name of the API, such as Produce."),
            Parameter("client_id", STRING, "Of clients that call themselves so."),
            Parameter("topic", STRING, "That name this topic."),
            Parameter("failed", {**BOOLEAN, "default": False}, "Only those that were answered with an error."),
            Parameter("limit", {**INTEGER, "minimum": 1, "maximum": MAX_REQUESTS, "default": 100}, "The last."),
            Parameter("wait_for", {**INTEGER, "minimum": 0, "maximum": MAX_REQUESTS}, "Wait until there are so many."),
            TIMEOUT,
        ),
    ),
    Operation(
        method="DELETE", path="/requests", name="forgetRequests", tag=TAG, handler=_clear,
        summary="Forget what clients have sent until now.",
    ),
)  # fmt: skip
