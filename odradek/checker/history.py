"""Histories as JSON lines: what each client began, and what came of it.

One line is one event, in the order in which they happened:

    {"process": 1, "type": "invoke", "f": "txn"}
    {"process": 1, "type": "commit"}
    {"process": 1, "type": "ok", "f": "txn", "value": [["poll", {"t-0": [[4, "a"]]}], ["send", "t-1", "b", 7]]}

- `process` is one client (a restarted one is another); it does one operation at a time.
- `type`: "invoke" begins an operation, "commit" says that its transaction is about to be committed (without it nothing
  of a transaction may ever be seen), and one of "ok", "fail" (it surely had no effect: an aborted transaction) and
  "info" (nobody knows) ends it. An operation that never ends, of a client that was killed, is "info".
- `f`: "txn" for a transaction, "send" or "poll" for operations without one; "assign" for whatever lets the client's
  position move (subscribe, rebalance, seek), and "drained" once a client has read all partitions to their ends after
  the last send. The last two are single lines of type "ok".
- `value`: what was done, in order. A send is ["send", partition, value, offset], the offset null where it is not known;
  values are strings or numbers that no other send has. A poll is ["poll", {partition: [[offset, value], ...]}], and
  ["assign"] says in between that the position moves. Of several events of an operation the last value counts: one that
  tells beforehand what it is going to send is understood even if it never ends.

Other fields are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias, cast

Value: TypeAlias = str | int | float
Process: TypeAlias = str | int


class HistoryError(ValueError):
    """A line is no event; the text says which line and why."""


class Outcome(Enum):
    """What came of an operation."""

    OK = "ok"
    FAIL = "fail"
    """It had no effect."""
    INFO = "info"
    """Unknown: it may have had its effect, or have it later."""


@dataclass(frozen=True, slots=True)
class Send:
    """A record that was given to a producer."""

    partition: str
    value: Value
    offset: int | None
    """Where the broker said that it is; None if it did not say."""


@dataclass(frozen=True, slots=True)
class Poll:
    """Records that a consumer was given, in their order by partition: (offset, value)."""

    records: Mapping[str, tuple[tuple[int, Value], ...]]


@dataclass(frozen=True, slots=True)
class Assign:
    """The client's positions may be elsewhere from here on."""


Step: TypeAlias = Send | Poll | Assign


@dataclass(slots=True)
class Operation:
    """One operation, with the numbers of the lines (from 1) that tell of it."""

    process: Process
    kind: str
    invoked: int
    committing: int | None = None
    """Where its commit was asked for; None: nowhere."""
    ended: int = 0
    """Its last line; behind the end of the history if it never ended."""
    line: int = 0
    """Its last line in any case."""
    outcome: Outcome = Outcome.INFO
    steps: tuple[Step, ...] = ()
    is_transaction: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_transaction = self.kind == "txn"

    def sends(self) -> Iterator[Send]:
        """Its sends in order."""
        return (step for step in self.steps if isinstance(step, Send))

    def polls(self) -> Iterator[Poll]:
        """Its polls in order."""
        return (step for step in self.steps if isinstance(step, Poll))


@dataclass(slots=True)
class History:
    """All operations in the order in which they ended; those that did not end are last."""

    operations: list[Operation]
    is_drained: bool
    """Whether everything was read to its end after the last send, so that what was not seen is gone."""


MARKS = frozenset({"assign", "drained"})


def read_history(lines: Iterable[str]) -> History:
    """Parse a history; blank lines are skipped. Raises HistoryError."""
    reader = _Reader()
    number = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            reader.take(number, _object(json.loads(line)))
        except HistoryError as error:
            raise HistoryError(f"line {number}: {error}") from None
        except (ValueError, TypeError, KeyError) as error:
            raise HistoryError(f"line {number} is no event of a history: {error}") from error
    return reader.finish(number)


class _Reader:
    """Puts operations together from their events."""

    def __init__(self) -> None:
        self._open: dict[Process, Operation] = {}
        self._history = History([], is_drained=False)

    def take(self, number: int, event: Mapping[str, Any]) -> None:
        """One event; raises HistoryError."""
        process, kind = _process(event), event.get("type")
        if kind == "invoke":
            if process in self._open:
                raise HistoryError(f"process {process} begins an operation before its last one ended")
            self._open[process] = Operation(process, _name(event), number)
        elif _name(event, default="") in MARKS:
            self._mark(process, _name(event), number)
            return
        operation = self._open.get(process)
        if operation is None:
            raise HistoryError(f"process {process} has begun nothing")
        operation.line = number
        if "value" in event:
            operation.steps = tuple(_steps(event["value"]))
        if kind == "commit":
            operation.committing = number
        elif kind != "invoke":
            operation.outcome = _outcome(kind)
            self._end(operation, number)

    def finish(self, number: int) -> History:
        """What was read, given the number of the last line."""
        for operation in list(self._open.values()):
            self._end(operation, number + 1)
        return self._history

    def _mark(self, process: Process, name: str, number: int) -> None:
        self._history.is_drained = self._history.is_drained or name == "drained"
        mark = Operation(process, name, number, ended=number, line=number, outcome=Outcome.OK, steps=(Assign(),))
        self._history.operations.append(mark)

    def _end(self, operation: Operation, number: int) -> None:
        if operation.is_transaction and operation.outcome is Outcome.OK and operation.committing is None:
            raise HistoryError('a transaction ends with "ok" that no "commit" came before')
        operation.ended = number
        self._history.operations.append(operation)
        del self._open[operation.process]


def format_steps(steps: Iterable[Step]) -> list[object]:
    """The `value` of the event that ends an operation."""
    return [_format_step(step) for step in steps]


def _format_step(step: Step) -> list[object]:
    match step:
        case Send(partition, value, offset):
            return ["send", partition, value, offset]
        case Poll(records):
            return ["poll", {partition: [list(record) for record in found] for partition, found in records.items()}]
        case Assign():
            return ["assign"]


def _object(event: object) -> dict[str, Any]:
    if not isinstance(event, dict):
        raise HistoryError("is not a JSON object")
    return cast("dict[str, Any]", event)


def _process(event: Mapping[str, object]) -> Process:
    process = event.get("process")
    if not isinstance(process, str | int):
        raise HistoryError("names no process")
    return process


def _name(event: Mapping[str, object], default: str | None = None) -> str:
    name = event.get("f", default)
    if not isinstance(name, str):
        raise HistoryError('has no "f": "txn", "send", "poll", "assign" or "drained"')
    return name


def _outcome(kind: object) -> Outcome:
    try:
        return Outcome(kind)
    except ValueError:
        raise HistoryError(f'is of type {kind!r}, not "invoke", "commit", "ok", "fail" or "info"') from None


def _steps(value: object) -> Iterator[Step]:
    if not isinstance(value, list):
        raise HistoryError("has a value that is no list")
    for step in value:
        match step:
            case ["send", str(partition), str() | int() | float() as sent, int() | None as offset]:
                yield Send(partition, sent, offset)
            case ["poll", dict(partitions)]:
                yield Poll({str(name): tuple(map(_record, records)) for name, records in partitions.items()})
            case ["assign"]:
                yield Assign()
            case _:
                raise HistoryError(f"has a step that is no send, poll or assign: {step!r}")


def _record(record: object) -> tuple[int, Value]:
    match record:
        case [int(offset), str() | int() | float() as value]:
            return offset, value
    raise HistoryError(f"polls something that is not [offset, value]: {record!r}")
