"""Writes docs/compatibility.md from the handlers: python tools/compatibility_docs.py.

`python tools/compatibility_docs.py --check` writes nothing; it fails when the page is not what would be written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from compatibility_text import DIFFERENCES, DISABLED, HEAD, MISSING, NOT_LISTED_BY_KAFKA, WHY_MISSING

from odradek.config import BrokerConfig, single_node_defaults
from odradek.node.node import Endpoints, Node
from odradek.node.ports import Ports
from odradek.ports import Promise, TimerHandle
from odradek.server.dispatcher import listed_versions
from odradek.server.handlers import AnyHandler
from odradek.storage.memory_files import MemoryFileSystem
from odradek.wire.apis import ApiKey, latest_unstable, listeners, request_class

TARGET = Path(__file__).parent.parent / "docs" / "compatibility.md"
BROKER = "broker"
CONTROLLER = "controller"
_TITLES = {BROKER: "APIs of a broker's listener", CONTROLLER: "APIs of a controller's listener"}

T = TypeVar("T")


def served_handlers() -> dict[str, list[AnyHandler]]:
    """What a node with the values of `odradek serve` answers, by listener. The node is put together, never started."""
    idle = _Idle()
    files = MemoryFileSystem()
    config = BrokerConfig.load(single_node_defaults("localhost", 9092, data_dir="/data"))
    node = Node(config, Ports(idle, idle, idle, idle, files), Endpoints({}), _fail, _ignore)
    return {BROKER: list(node.broker_handlers), CONTROLLER: list(node.controller_handlers)}


def render(handlers: Mapping[str, Iterable[AnyHandler]]) -> str:
    """The page for the handlers of each listener; ValueError where what is said to be missing is there."""
    by_listener = {listener: {handler.api_key: handler for handler in some} for listener, some in handlers.items()}
    outdated = [key.name for key in WHY_MISSING if all(key in by_listener[listener] for listener in listeners(key))]
    if outdated:
        raise ValueError(f"served, but tools/compatibility_text.py says why they are missing: {', '.join(outdated)}")
    parts = [HEAD]
    for listener, served in by_listener.items():
        parts.append(_table(listener, served))
    parts.append("\n## Differences on purpose\n\nWhatever the API:\n\n")
    parts += [f"- {sentence}\n" for sentence in DIFFERENCES]
    parts.append("\nBy API:\n\n")
    parts += _differences_by_api(by_listener.values())
    parts.append("\n## What is missing\n\n")
    parts += [f"- **{area}**: {sentence}\n" for area, sentence in MISSING.items()]
    return "".join(parts)


def _table(listener: str, served: Mapping[ApiKey, AnyHandler]) -> str:
    rows = [
        f"\n## {_TITLES[listener]}\n\n",
        "| key | API | Kafka lists | Odradek lists | state |\n|---|---|---|---|---|\n",
    ]
    for key in sorted(ApiKey):
        if listener in listeners(key):
            handler = served.get(key)
            ours = "" if handler is None else _versions(key)
            cells = [str(int(key)), _name(key), _versions_of_kafka(key), ours, _state(key, handler)]
            rows.append("| " + " | ".join(cells) + " |\n")
    return "".join(rows)


def _state(key: ApiKey, handler: AnyHandler | None) -> str:
    """Raises KeyError for an API that is missing without a reason."""
    if handler is None:
        return f"missing: {WHY_MISSING[key]}"
    if key in DISABLED:
        return "answers as Kafka does where it is off"
    return "done, with differences" if handler.differences else "done"


def _versions_of_kafka(key: ApiKey) -> str:
    if key in NOT_LISTED_BY_KAFKA:
        return "not without a plug-in"
    return _versions(key) + (f" ({listed_versions(key)[1] + 1} is unstable)" if latest_unstable(key) else "")


def _versions(key: ApiKey) -> str:
    low, high = listed_versions(key)
    return f"{low} to {high}" if low != high else str(low)


def _differences_by_api(tables: Iterable[Mapping[ApiKey, AnyHandler]]) -> list[str]:
    apis: dict[str, list[ApiKey]] = {}
    found = [handler for served in tables for handler in served.values()]
    for handler in sorted(found, key=lambda handler: handler.api_key):
        key = handler.api_key
        for sentence in handler.differences:
            names = apis.setdefault(sentence, [])
            if key not in names:
                names.append(key)
    return [f"- **{', '.join(_name(key) for key in keys)}**: {sentence}\n" for sentence, keys in apis.items()]


def _name(key: ApiKey) -> str:
    return request_class(key).NAME.removesuffix("Request")


def _fail(error: BaseException) -> None:
    raise error


def _ignore(config: BrokerConfig) -> None:
    """Nothing is set at run time where nothing runs."""


class _Idle:
    """A clock that stands, a scheduler that runs nothing, work that is done at once, and no randomness."""

    def now_ms(self) -> int:
        return 0

    def monotonic_ms(self) -> float:
        return 0.0

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Drop it: the node is never started."""

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> TimerHandle:  # noqa: ARG002 - the port's
        return self

    def cancel(self) -> None:
        """Nothing is scheduled."""

    def submit(self, work: Callable[[], T]) -> Promise[T]:
        return Promise.of(work())

    def token(self, count: int) -> bytes:
        return bytes(count)

    def below(self, bound: int) -> int:  # noqa: ARG002 - the port's
        return 0

    def uuid(self) -> bytes:
        return bytes(15) + b"\x07"


def _main(arguments: list[str]) -> int:
    page = render(served_handlers())
    if arguments != ["--check"]:
        TARGET.write_text(page, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == page:
        return 0
    sys.stderr.write(f"docs/{TARGET.name} is out of date: python tools/compatibility_docs.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
