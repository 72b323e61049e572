"""The history of all clients of a simulation, as `odradek.checker` takes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from odradek.checker.history import Assign, History, Operation, Outcome, Poll, Send, Step, format_steps


class Recorder:
    """Numbers events as the lines of a history file would be."""

    def __init__(self) -> None:
        self.requests = 0
        """Requests of clients that were answered without an error: what rates are counted in."""
        self._line = 0
        self._open: dict[int, Operation] = {}
        self._ended: list[Operation] = []
        self._is_drained = False

    def invoke(self, process: str, kind: str, steps: Sequence[Step] = ()) -> Operation:
        """An operation begins; `steps` say what it is going to do."""
        self._line += 1
        operation = Operation(process, kind, self._line, line=self._line, steps=tuple(steps))
        self._open[self._line] = operation
        return operation

    def commit(self, operation: Operation) -> None:
        """Its transaction is about to be committed."""
        self._line += 1
        operation.committing = operation.line = self._line

    def end(self, operation: Operation, outcome: Outcome, steps: Sequence[Step]) -> None:
        """It is over; `steps` say what it did."""
        self._line += 1
        operation.ended = operation.line = self._line
        operation.outcome = outcome
        operation.steps = tuple(steps)
        del self._open[operation.invoked]
        self._ended.append(operation)

    def drained(self) -> None:
        """All was read to its end."""
        self._is_drained = True

    def history(self) -> History:
        """What there is so far; what has not ended is of unknown outcome."""
        pending = [
            Operation(
                operation.process,
                operation.kind,
                operation.invoked,
                committing=operation.committing,
                ended=self._line + 1,
                line=operation.line,
                steps=operation.steps,
            )
            for operation in self._open.values()
        ]
        return History([*self._ended, *pending], is_drained=self._is_drained)

    def lines(self) -> Iterator[str]:
        """The same as a file, for `odradek check`."""
        events: list[tuple[int, dict[str, object]]] = []
        for operation in [*self._ended, *self._open.values()]:
            steps = list(operation.steps)
            before = [Send(step.partition, step.value, None) for step in steps if isinstance(step, Send)]
            begun: dict[str, object] = {
                "process": operation.process,
                "type": "invoke",
                "f": operation.kind,
                "value": format_steps(before),
            }
            events.append((operation.invoked, begun))
            if operation.committing is not None:
                events.append((operation.committing, {"process": operation.process, "type": "commit"}))
            if operation.invoked not in self._open:
                ended: dict[str, object] = {
                    "process": operation.process,
                    "type": operation.outcome.value,
                    "f": operation.kind,
                }
                events.append((operation.ended, {**ended, "value": format_steps(steps)}))
        for _, event in sorted(events, key=lambda event: event[0]):
            yield json.dumps(event)
        if self._is_drained:
            yield json.dumps({"process": "all", "type": "ok", "f": "drained"})


__all__ = ["Assign", "Operation", "Outcome", "Poll", "Recorder", "Send", "Step"]
