"""How an operation is declared: from this both its route and its description are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast

from odradek.control.schemas import INTEGER, Schema
from odradek.testing.cluster import Cluster
from odradek.testing.host import Host
from odradek.testing.waiting import give_way

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_TIMEOUT_MS = 10_000
MAX_TIMEOUT_MS = 300_000


class ControlError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Parameter(NamedTuple):
    """Of a path or a query."""

    name: str
    schema: Schema
    description: str
    required: bool = False


class Call:
    """What a request has given, checked against the declarations."""

    def __init__(self, path: Mapping[str, str], query: Mapping[str, Any], body: Any) -> None:
        self._path = path
        self._query = query
        self.body: Mapping[str, Any] = body if isinstance(body, dict) else {}

    def path(self, name: str) -> str:
        """A part of the path."""
        return self._path[name]

    def text(self, name: str) -> str | None:
        """A text of the query, or its default; None if it is not given."""
        return cast("str | None", self._query.get(name))

    def number(self, name: str) -> int | None:
        """An integer of the query, or its default; None if it is not given."""
        return cast("int | None", self._query.get(name))

    def flag(self, name: str) -> bool:
        """Whether something of the query is true; false if it is not given."""
        return bool(self._query.get(name, False))

    @property
    def timeout_s(self) -> float:
        """`timeout_ms` of the query or the body, in seconds."""
        timeout_ms = self._query.get("timeout_ms", self.body.get("timeout_ms", DEFAULT_TIMEOUT_MS))
        return float(timeout_ms) / 1000


class Controlled:
    """The nodes that are controlled."""

    def __init__(self, running: Callable[[], Host]) -> None:
        """`running` raises RuntimeError while no nodes run."""
        self.running = running

    async def call(
        self, action: Callable[Concatenate[Cluster, P], Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What `action` comes to, on the nodes' thread."""
        return await give_way(self.running().call(action, *args, **kwargs))


Handler = Callable[[Controlled, Call], Awaitable[object]]
"""Returns what is sent as JSON. Raises ControlError, and what `app.problem` knows."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation of the API."""

    method: str
    path: str
    """With names in braces, as in OpenAPI."""
    name: str
    """Its operationId."""
    tag: str
    summary: str
    handler: Handler
    description: str = ""
    query: Sequence[Parameter] = ()
    body: Schema | None = None
    needs_body: bool = True
    answer: Schema | None = None
    """None: 204, without a body."""
    status: int = 200
    problems: Sequence[int] = ()
    """Statuses that it may answer with, beside those that all have."""


TIMEOUT = Parameter(
    "timeout_ms",
    {**INTEGER, "minimum": 0, "maximum": MAX_TIMEOUT_MS, "default": DEFAULT_TIMEOUT_MS},
    "How long is waited, in milliseconds of real time.",
)
_READERS: Mapping[str, Callable[[str], object]] = {"integer": int, "number": float, "string": str}
_FLAGS = {"true": True, "false": False}


def query_value(parameter: Parameter, text: str) -> object:
    """What a text of the query stands for; raises ControlError."""
    kind = str(parameter.schema["type"])
    try:
        return _FLAGS[text] if kind == "boolean" else _READERS[kind](text)
    except (KeyError, ValueError):
        raise ControlError(400, "BAD_PARAMETER", f"{parameter.name} has to be of type {kind}") from None
