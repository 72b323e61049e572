"""The API as an ASGI application: routes, what is refused before an operation runs, and errors."""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from odradek.control.catalogue import COMPONENTS, OPERATIONS, document
from odradek.control.operations import Call, ControlError, Controlled, Operation, query_value
from odradek.control.schemas import SchemaError, check, to_json
from odradek.testing.host import Host
from odradek.testing.waiting import WaitTimeoutError
from odradek.wire.errors import ErrorCode, KafkaError

_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024 * 1024
OPEN_PATHS = ("/health",)
"""What is told without a token."""
_NOT_FOUND = (
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.TRANSACTIONAL_ID_NOT_FOUND,
    ErrorCode.GROUP_ID_NOT_FOUND,
)
_AWAY = (ErrorCode.BROKER_NOT_AVAILABLE,)
_CONFLICTS = (ErrorCode.TOPIC_ALREADY_EXISTS,)


class Access:
    """Who may do what."""

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()

    def check(self, request: Request) -> None:
        """Raise ControlError for who may not.

        Without a token a web page that somebody looks at on this machine could do harm, as a browser can send to
        loopback addresses. It says where a page comes from, and a page has no other way than a name to come here.
        """
        if self._token is not None:
            if request.url.path not in OPEN_PATHS and not self._has_token(request):
                raise ControlError(
                    401, "NO_TOKEN", "send the token of --control-token as `Authorization: Bearer TOKEN`"
                )
            return
        if "origin" in request.headers:
            raise ControlError(403, "WEB_PAGE", "without --control-token no web page may use this")
        host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
        if not _is_local_name(host.removeprefix("[").removesuffix("]")):
            raise ControlError(
                403,
                "UNKNOWN_HOST",
                "without --control-token this is asked by an address or as localhost, by no other name",
            )

    def _has_token(self, request: Request) -> bool:
        assert self._token is not None
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # A header is Latin-1, and a token may be more.
        is_token = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
        return is_token and scheme.lower() == "bearer"


def create_app(running: Callable[[], Host], token: str | None = None) -> Starlette:
    """The API for the nodes of one host; with `token` only for who has it."""
    kafka = Controlled(running)
    access = Access(token)
    app = Starlette(
        routes=[
            *(_route(kafka, access, path, operations) for path, operations in _by_path().items()),
            Route("/openapi.json", _endpoint(access, _describe), methods=["GET"]),
        ],
        exception_handlers={HTTPException: _no_route},
    )
    app.router.redirect_slashes = False
    return app


def problem(error: Exception) -> ControlError:
    """What an operation has raised, as an answer."""
    match error:
        case ControlError():
            return error
        case SchemaError():
            return ControlError(400, "BAD_REQUEST", str(error))
        case KafkaError():
            status = 404 if error.code in _NOT_FOUND else 409 if error.code in _CONFLICTS else 400
            if status == 400 and (error.code.retriable or error.code in _AWAY):
                status = 503
            return ControlError(status, error.code.name, error.message or error.code.message)
        case WaitTimeoutError() | TimeoutError():
            return ControlError(504, "TIMED_OUT", str(error) or "it took too long")
        case ValueError() | OverflowError():
            return ControlError(400, "BAD_REQUEST", str(error))
        case RuntimeError():
            return ControlError(503, "NOT_RUNNING", str(error))
        case _:
            _log.error("a control has failed", exc_info=error)
            return ControlError(500, "FAILED", f"{type(error).__name__}: {error}")


def _by_path() -> dict[str, dict[str, Operation]]:
    """The operations by path and method."""
    paths: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = operation
    return paths


def _route(kafka: Controlled, access: Access, path: str, operations: Mapping[str, Operation]) -> Route:
    async def run(request: Request) -> Response:
        # HEAD is for servers to make of GET.
        operation = operations[request.method if request.method in operations else "GET"]
        call = Call(dict(request.path_params), _query(request, operation), await _body(request, operation))
        answer = await operation.handler(kafka, call)
        return Response(status_code=204) if operation.answer is None else _json(to_json(answer), operation.status)

    return Route(path, _endpoint(access, run), methods=list(operations))


def _endpoint(access: Access, run: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        try:
            access.check(request)
            response: Response = await run(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:  # noqa: BLE001 - each becomes an answer; what is unforeseen is logged
            return _failed(problem(error))
        return response

    return answer


async def _describe(_request: Request) -> Response:
    return _json(document())


async def _no_route(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = "see /openapi.json for what there is"
    text = {404: f"there is no such path; {where}", 405: f"this path does not have the method; {where}"}
    response = _failed(ControlError(error.status_code, "NO_OPERATION", text.get(error.status_code, error.detail)))
    response.headers.update(error.headers or {})
    return response


def _query(request: Request, operation: Operation) -> Mapping[str, Any]:
    known = {each.name: each for each in operation.query}
    values: dict[str, Any] = {
        name: each.schema["default"] for name, each in known.items() if each.schema.get("default") is not None
    }
    for name, text in request.query_params.multi_items():
        if name not in known:
            raise ControlError(
                400, "BAD_PARAMETER", f"there is no {name!r} here; there are: {', '.join(known) or 'none'}"
            )
        values[name] = query_value(known[name], text)
        check(values[name], known[name].schema, {}, name)
    for name, each in known.items():
        if each.required and name not in values:
            raise ControlError(400, "BAD_PARAMETER", f"{name} is needed: {each.description}")
    return values


async def _body(request: Request, operation: Operation) -> object:
    data = await _bytes(request)
    if operation.body is None or (not data and not operation.needs_body):
        if data:
            raise ControlError(400, "BAD_BODY", "this operation takes no body")
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ControlError(415, "NOT_JSON", "send JSON, with `Content-Type: application/json`")
    try:
        body = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ControlError(400, "BAD_BODY", f"the body is no JSON: {error}") from None
    check(body, operation.body, COMPONENTS)
    return body


async def _bytes(request: Request) -> bytes:
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > MAX_BODY_BYTES:
            raise ControlError(413, "TOO_LARGE", f"a body has at most {MAX_BODY_BYTES} bytes")
    return bytes(parts)


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value, ensure_ascii=True).encode(), status, media_type="application/json")


def _failed(error: ControlError) -> Response:
    response = _json({"error": {"code": error.code, "message": error.message}}, error.status)
    if error.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    if error.status == 413:
        response.headers["connection"] = "close"
    return response


def _is_local_name(host: str) -> bool:
    if host.lower() in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
