"""What must not be in a history: the anomalies of Jepsen's Kafka workload, by their names there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from odradek.checker.cycles import find_cycles
from odradek.checker.dependencies import Dependency, dependency_edges, reads
from odradek.checker.history import Assign, History, Operation, Outcome, Poll, Process
from odradek.checker.model import Model, build_model


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One violation: its name, the partition (None for one across partitions), lines of the history, and what it is."""

    name: str
    partition: str | None
    lines: tuple[int, ...]
    text: str


def check_history(history: History, dependencies: Collection[Dependency] = (Dependency.READ,)) -> list[Anomaly]:
    """All anomalies in a history; raises HistoryError if its values are not unique.

    Cycles are made of `dependencies`. Kafka only promises that there are none of reads (G1c): records of transactions
    that run at the same time lie between each other, and a transaction polls each partition at another moment. The
    others are for applications that make sure of more, say with one writer at a time.
    """
    model = build_model(history)
    anomalies = [anomaly for check in _CHECKS for anomaly in check(model)]
    return anomalies + list(_cycles(model, dependencies))


def _inconsistent_offsets(model: Model) -> Iterator[Anomaly]:
    """One offset, several records: some of them were acknowledged or polled, and then replaced."""
    for name, log in model.partitions.items():
        for offset in log.order:
            values = log.values_at[offset]
            if len(values) > 1:
                lines = tuple(writer.line for value in values if (writer := model.writer(name, value)) is not None)
                yield Anomaly("inconsistent-offsets", name, lines, f"offset {offset} has {_listed(values)}")


def _duplicates(model: Model) -> Iterator[Anomaly]:
    """One send, several offsets."""
    for name, log in model.partitions.items():
        for value, offsets in log.offsets_of.items():
            if len(offsets) > 1:
                writer = model.writer(name, value)
                lines = () if writer is None else (writer.line,)
                yield Anomaly("duplicate", name, lines, f"{value!r} is at offsets {_listed(offsets)}")


def _lost_writes(model: Model) -> Iterator[Anomaly]:
    """Committed and never polled, though somebody polled what comes behind it, or everything there is."""
    for (name, value), writer in model.writers.items():
        log = model.partitions[name]
        if value in log.seen or not model.is_committed(writer):
            continue
        offset = min(log.offsets_of.get(value, ()), default=None)
        if offset is not None and offset < log.last_seen_offset:
            text = f"{value!r} at offset {offset} was never polled, but offset {log.last_seen_offset} was"
            yield Anomaly("lost-write", name, (writer.line,), text)
        elif model.history.is_drained:
            yield Anomaly("unseen", name, (writer.line,), f"{value!r} was not there when all was read to the end")


def _aborted_reads(model: Model) -> Iterator[Anomaly]:
    """A record of a transaction that was aborted, or of a send that failed (G1a)."""
    for reader, name, offset, writer in reads(model):
        if writer.outcome is Outcome.FAIL:
            text = f"offset {offset} was polled, but whoever sent it has aborted"
            yield Anomaly("aborted-read", name, (writer.line, reader.line), text)


def _precommitted_reads(model: Model) -> Iterator[Anomaly]:
    """A record of a transaction whose commit had not been asked for: its own, or another's."""
    for reader, name, offset, writer in reads(model):
        if not writer.is_transaction or writer.outcome is Outcome.FAIL:
            continue
        if reader is writer or writer.committing is None or reader.ended < writer.committing:
            text = f"offset {offset} was polled before its transaction was committed"
            yield Anomaly("precommitted-read", name, (writer.committing or writer.line, reader.line), text)


def _polls(model: Model) -> Iterator[Anomaly]:
    """Positions that go back, or jump over records, with no rebalance or seek in between."""
    positions: dict[Process, dict[str, tuple[int, int]]] = {}
    for operation in model.history.operations:
        for step in operation.steps:
            if isinstance(step, Assign):
                positions.pop(operation.process, None)
            elif isinstance(step, Poll):
                yield from _poll(model, operation, step, positions.setdefault(operation.process, {}))


def _poll(model: Model, operation: Operation, poll: Poll, positions: dict[str, tuple[int, int]]) -> Iterator[Anomaly]:
    for name, records in poll.records.items():
        for offset, _ in records:
            before = positions.get(name)
            if before is not None:
                yield from _poll_step(model, operation, name, before, offset)
            positions[name] = (offset, operation.line)


def _poll_step(
    model: Model, operation: Operation, name: str, before: tuple[int, int], offset: int
) -> Iterator[Anomaly]:
    last_offset, line = before
    prefix = "int-" if line == operation.line else ""
    lines = tuple(dict.fromkeys((line, operation.line)))
    if offset <= last_offset:
        yield Anomaly(f"{prefix}nonmonotonic-poll", name, lines, f"offset {offset} was polled after {last_offset}")
    if offset == last_offset + 1:
        return
    skipped = [at for at in model.partitions[name].between(last_offset, offset) if _must_be_seen(model, name, at)]
    if skipped:
        text = f"offset {offset} was polled after {last_offset}, without {_listed(dict.fromkeys(skipped))} between"
        yield Anomaly(f"{prefix}poll-skip", name, lines, text)


def _must_be_seen(model: Model, name: str, offset: int) -> bool:
    """Whether others polled what is at the offset, and rightly so. What nobody ever polled is a lost write."""
    log = model.partitions[name]
    return all(value in log.seen and not _has_failed(model.writer(name, value)) for value in log.values_at[offset])


def _has_failed(writer: Operation | None) -> bool:
    return writer is not None and writer.outcome is Outcome.FAIL


def _sends(model: Model) -> Iterator[Anomaly]:
    """Offsets of one producer's records that go back."""
    last: dict[tuple[Process, str], tuple[int, int]] = {}
    for operation in model.history.operations:
        for send in operation.sends():
            if send.offset is None:
                continue
            key = (operation.process, send.partition)
            before = last.get(key)
            if before is not None and send.offset <= before[0]:
                prefix = "int-" if before[1] == operation.line else ""
                lines = tuple(dict.fromkeys((before[1], operation.line)))
                text = f"{send.value!r} went to offset {send.offset} after the record before it went to {before[0]}"
                yield Anomaly(f"{prefix}nonmonotonic-send", send.partition, lines, text)
            last[key] = (send.offset, operation.line)


def _cycles(model: Model, dependencies: Collection[Dependency]) -> Iterator[Anomaly]:
    """Operations each of which must have come before the next, in a circle: none can have been first."""
    for cycle in find_cycles(dependency_edges(model, dependencies)):
        text = f"{len(cycle)} operations must each have come before another of them, in a circle"
        yield Anomaly("cycle", None, tuple(cycle), text)


def _listed(items: dict[object, None] | dict[int, None] | dict[str | int | float, None]) -> str:
    shown = [repr(item) for item in list(items)[:5]]
    return ", ".join(shown) + (f" and {len(items) - 5} more" if len(items) > 5 else "")


_CHECKS: tuple[Callable[[Model], Iterator[Anomaly]], ...] = (
    _inconsistent_offsets,
    _duplicates,
    _lost_writes,
    _aborted_reads,
    _precommitted_reads,
    _polls,
    _sends,
)
