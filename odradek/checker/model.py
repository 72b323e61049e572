"""What a history says of each partition: which value is at which offset, who wrote it, who saw it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from odradek.checker.history import History, HistoryError, Operation, Outcome, Send, Value


@dataclass(slots=True)
class PartitionLog:
    """One partition, put together from the offsets that producers were told and from everything that was polled."""

    values_at: dict[int, dict[Value, None]] = field(default_factory=dict)
    """By offset; more than one value is an anomaly."""
    offsets_of: dict[Value, dict[int, None]] = field(default_factory=dict)
    """By value; more than one offset is an anomaly."""
    seen: dict[Value, None] = field(default_factory=dict)
    """What was polled by anybody."""
    last_seen_offset: int = -1
    order: list[int] = field(default_factory=list)
    """All offsets of `values_at`, ascending."""

    def put(self, offset: int, value: Value) -> None:
        """Someone says that `value` is at `offset`."""
        self.values_at.setdefault(offset, {})[value] = None
        self.offsets_of.setdefault(value, {})[offset] = None

    def between(self, after: int, before: int) -> list[int]:
        """The offsets that hold something and lie strictly between the two."""
        return self.order[bisect_left(self.order, after + 1) : bisect_left(self.order, before)]

    def after(self, offset: int) -> Iterator[int]:
        """The offsets behind this one that hold something, ascending."""
        return islice(self.order, bisect_left(self.order, offset + 1), None)


@dataclass(slots=True)
class Model:
    """A history, indexed."""

    history: History
    partitions: dict[str, PartitionLog]
    writers: dict[tuple[str, Value], Operation]
    seen_transactions: dict[int, None] = field(default_factory=dict)
    """The lines of transactions of which somebody polled something."""

    def writer(self, partition: str, value: Value) -> Operation | None:
        """Who sent it; None if nobody in this history did."""
        return self.writers.get((partition, value))

    def is_committed(self, operation: Operation) -> bool:
        """Whether readers must see all that it sent. A transaction of unknown outcome has succeeded if any was seen."""
        if operation.outcome is Outcome.INFO:
            return operation.line in self.seen_transactions
        return operation.outcome is Outcome.OK


def build_model(history: History) -> Model:
    """Index a history; raises HistoryError if two sends have the same value."""
    model = Model(history, {}, {})
    for operation in history.operations:
        for send in operation.sends():
            _add_send(model, operation, send)
    for operation in history.operations:
        for poll in operation.polls():
            for name, records in poll.records.items():
                log = model.partitions.setdefault(name, PartitionLog())
                for offset, value in records:
                    writer = model.writers.get((name, value))
                    if writer is not None and writer.is_transaction:
                        model.seen_transactions[writer.line] = None
                    log.put(offset, value)
                    log.seen[value] = None
                    log.last_seen_offset = max(log.last_seen_offset, offset)
    for log in model.partitions.values():
        log.order = sorted(log.values_at)
    return model


def _add_send(model: Model, operation: Operation, send: Send) -> None:
    log = model.partitions.setdefault(send.partition, PartitionLog())
    before = model.writers.setdefault((send.partition, send.value), operation)
    if before is not operation:
        raise HistoryError(
            f"lines {before.line} and {operation.line} both send {send.value!r} to {send.partition}: "
            "values must be unique, for records to be told apart"
        )
    if send.offset is not None:
        log.put(send.offset, send.value)
