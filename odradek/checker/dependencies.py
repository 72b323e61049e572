"""Which operations must have come before which others, if each happened at one moment (Adya's dependencies)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import Enum

from odradek.checker.history import Operation
from odradek.checker.model import Model


class Dependency(Enum):
    """Why one operation comes before another."""

    READ = "wr"
    """The other polled what it sent."""
    WRITE = "ww"
    """The other sent what is next in a partition."""
    ANTI = "rw"
    """The other sent what is next after what it polled of a partition."""


def dependency_edges(model: Model, kinds: Collection[Dependency]) -> dict[int, dict[int, None]]:
    """By an operation's line, the lines of those that must have come after it."""
    edges: dict[int, dict[int, None]] = {}
    for kind, find in _FINDERS.items():
        if kind in kinds:
            for earlier, later in find(model):
                if earlier is not later:
                    edges.setdefault(earlier.line, {})[later.line] = None
    return edges


def reads(model: Model) -> Iterator[tuple[Operation, str, int, Operation]]:
    """(reader, partition, offset, writer) of all that was polled and is known to have been sent."""
    writers = model.writers
    for reader in model.history.operations:
        for poll in reader.polls():
            for name, records in poll.records.items():
                for offset, value in records:
                    writer = writers.get((name, value))
                    if writer is not None:
                        yield reader, name, offset, writer


def _read(model: Model) -> Iterator[tuple[Operation, Operation]]:
    for reader, _, _, writer in reads(model):
        if model.is_committed(reader):
            yield writer, reader


def _write(model: Model) -> Iterator[tuple[Operation, Operation]]:
    for name, log in model.partitions.items():
        before: Operation | None = None
        for offset in log.order:
            writer = _committed_writer(model, name, offset)
            if writer is not None:
                if before is not None:
                    yield before, writer
                before = writer


def _anti(model: Model) -> Iterator[tuple[Operation, Operation]]:
    for reader in model.history.operations:
        if model.is_committed(reader):
            for name, last_offset in _last_polled(reader).items():
                for offset in model.partitions[name].after(last_offset):
                    writer = _committed_writer(model, name, offset)
                    if writer is not None:
                        yield reader, writer
                        break


def _last_polled(reader: Operation) -> dict[str, int]:
    last: dict[str, int] = {}
    for poll in reader.polls():
        last |= {name: records[-1][0] for name, records in poll.records.items() if records}
    return last


def _committed_writer(model: Model, partition: str, offset: int) -> Operation | None:
    for value in model.partitions[partition].values_at[offset]:
        writer = model.writer(partition, value)
        if writer is not None and model.is_committed(writer):
            return writer
    return None


_FINDERS = {Dependency.READ: _read, Dependency.WRITE: _write, Dependency.ANTI: _anti}
