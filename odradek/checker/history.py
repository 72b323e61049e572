"""Histories as JSON lines: what each client began, and what came of it.

One line is one event, in the order in which they happened:

    {"process": 1, "type": "invoke", "f": "txn"}
    {"process": 1, "type": "commit"}
    {"process": 1, "type": "ok", "f": "txn", "value": [["poll", {"t-0": [[4, "a"]]}], ["send", "t-1", "b", 7]]}

- `process` is one client (a restarted one is another); it does one operation at a time.
- `type`: "invoke" begins an operation, "commit" says that its transaction is about to be committed, and one of "ok",
  "fail" (it surely had no effect: an aborted transaction) and "info" (nobody knows) ends it.
- `f`: "txn" for a transaction, "send" or "poll" for operations without one; "assign" for whatever lets the client's
  position move (subscribe, rebalance, seek), and "drained" once a client has read all partitions to their ends after
  the last send. The last two are single lines of type "ok".
- `value`: what was done, in order. A send is ["send", partition, value, offset], the offset null where it is not known;
  values are strings or numbers that no other send has. A poll is ["poll", {partition: [[offset, value], ...]}].

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


Step: TypeAlias = Send | Poll


@dataclass(slots=True)
class Operation:
    """One operation, with the numbers of the lines (from 1) that tell of it."""

    process: Process
    kind: str
    invoked: int
    committing: int | None = None
    """Where its commit was asked for."""
    ended: int = 0
    """Its last line; behind the end of the history while it never ended."""
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
    open_operations: dict[Process, Operation] = {}
    operations: list[Operation] = []
    is_drained = False
    number = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = _object(json.loads(line))
            process, kind = _process(event), event.get("type")
            if kind == "invoke":
                if process in open_operations:
                    raise HistoryError(f"process {process} begins an operation before its last one ended")
                open_operations[process] = Operation(process, _name(event), number)
            elif kind == "commit":
                _open(open_operations, process).committing = number
            elif _name(event, default="") in MARKS:
                is_drained = is_drained or event["f"] == "drained"
                operations.append(Operation(process, event["f"], number, ended=number, outcome=Outcome.OK))
            else:
                operation = _open(open_operations, process)
                operation.outcome = _outcome(kind)
                operation.steps = tuple(_steps(event.get("value", [])))
                operation.ended = number
                del open_operations[process]
                operations.append(operation)
        except HistoryError as error:
            raise HistoryError(f"line {number}: {error}") from None
        except (ValueError, TypeError, KeyError) as error:
            raise HistoryError(f"line {number} is no event of a history: {error}") from error
    for operation in open_operations.values():
        operation.ended = number + 1
        operations.append(operation)
    return History(operations, is_drained)


def format_steps(steps: Iterable[Step]) -> list[object]:
    """The `value` of the event that ends an operation."""
    return [
        ["send", step.partition, step.value, step.offset]
        if isinstance(step, Send)
        else ["poll", {partition: [list(record) for record in records] for partition, records in step.records.items()}]
        for step in steps
    ]


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


def _open(operations: Mapping[Process, Operation], process: Process) -> Operation:
    operation = operations.get(process)
    if operation is None:
        raise HistoryError(f"process {process} has begun nothing")
    return operation


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
            case _:
                raise HistoryError(f"has a step that is neither a send nor a poll: {step!r}")


def _record(record: object) -> tuple[int, Value]:
    match record:
        case [int(offset), str() | int() | float() as value]:
            return offset, value
    raise HistoryError(f"polls something that is not [offset, value]: {record!r}")
