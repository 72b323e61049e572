"""The description of the API, in OpenAPI 3.1."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from odradek.control.operations import Operation
from odradek.control.schemas import STRING, Schema, record, ref

PATH_PARAMETER = re.compile(r"{(\w+)}")
PROBLEMS: Mapping[int, str] = {
    400: "What was sent makes no sense; the message says why.",
    401: "The token is missing, or is another one.",
    403: "The request comes from a web page.",
    404: "There is no such thing.",
    409: "That is not possible in this state.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    500: "A fault of Odradek; its log says more.",
    503: "No node runs that could do that.",
    504: "What was waited for did not come in time; the message says what there was instead.",
}
ALWAYS = (400, 401, 403, 500, 503)
WITH_BODY = (413, 415)
ERROR: Schema = record(
    {"error": record({"code": STRING, "message": STRING}, "code", "message")},
    "error",
    description="`code` is Kafka's name of an error where it has one, and for programs; `message` is for people.",
)
ABOUT = """What `odradek.testing` does with a Kafka in Python, for every language: `odradek serve --control HOST:PORT`.

Kafka's own clients do what clients do. This is for the rest of a test: to look into the broker, to have it misbehave,
to let time pass, and to empty it. Times are in milliseconds. Bodies are JSON."""


def describe(
    operations: Sequence[Operation], components: Mapping[str, Schema], tags: Mapping[str, str], version: str
) -> dict[str, Any]:
    """The document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Odradek's controls",
            "version": version,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": text} for name, text in tags.items()],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
    }
    if operation.description:
        described["description"] = operation.description
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {**STRING, "minLength": 1}}
        for name in PATH_PARAMETER.findall(operation.path)
    ]
    parameters += [
        {
            "name": each.name,
            "in": "query",
            "required": each.required,
            "schema": each.schema,
            "description": each.description,
        }
        for each in operation.query
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {"required": operation.needs_body, "content": _content(operation.body)}
    described["responses"] = _responses(operation)
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if operation.answer is None:
        responses["204"] = {"description": "Done."}
    else:
        responses[str(operation.status)] = {"description": "Done.", "content": _content(operation.answer)}
    statuses = {*ALWAYS, *operation.problems, *(WITH_BODY if operation.body is not None else ())}
    for status in sorted(statuses):
        responses[str(status)] = {"description": PROBLEMS[status], "content": _content(ref("Error"))}
    return responses


def _content(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
