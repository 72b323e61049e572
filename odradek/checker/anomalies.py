"""What must not be in a history: the anomalies of Jepsen's Kafka workload, by their names there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from odradek.checker.cycles import find_cycles
from odradek.checker.history import History, Operation, Outcome, Process
from odradek.checker.model import Model, build_model


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One violation: its name, the partition (None for one across partitions), lines of the history, and what it is."""

    name: str
    partition: str | None
    lines: tuple[int, ...]
    text: str


def check_history(history: History) -> list[Anomaly]:
    """All anomalies in a history; raises HistoryError if its values are not unique."""
    model = build_model(history)
    return [anomaly for check in _CHECKS for anomaly in check(model)]


def _inconsistent_offsets(model: Model) -> Iterator[Anomaly]:
    """One offset, several records: some of them were acknowledged or polled, and then replaced."""
    for name, log in model.partitions.items():
        for offset in log.order:
            values = log.values_at[offset]
            if len(values) > 1:
                lines = tuple(writer.ended for value in values if (writer := model.writer(name, value)) is not None)
                yield Anomaly("inconsistent-offsets", name, lines, f"offset {offset} has {_listed(values)}")


def _duplicates(model: Model) -> Iterator[Anomaly]:
    """One send, several offsets."""
    for name, log in model.partitions.items():
        for value, offsets in log.offsets_of.items():
            if len(offsets) > 1:
                writer = model.writer(name, value)
                lines = () if writer is None else (writer.ended,)
                yield Anomaly("duplicate", name, lines, f"{value!r} is at offsets {_listed(offsets)}")


def _lost_writes(model: Model) -> Iterator[Anomaly]:
    """Acknowledged and never polled, though somebody polled what comes behind it, or everything there is."""
    for (name, value), writer in model.writers.items():
        log = model.partitions[name]
        if writer.outcome is not Outcome.OK or value in log.seen:
            continue
        offset = min(log.offsets_of.get(value, ()), default=None)
        if offset is not None and offset < log.last_seen_offset:
            text = f"{value!r} at offset {offset} was never polled, but offset {log.last_seen_offset} was"
            yield Anomaly("lost-write", name, (writer.ended,), text)
        elif model.history.is_drained:
            yield Anomaly("unseen", name, (writer.ended,), f"{value!r} was not there when all was read to the end")


def _aborted_reads(model: Model) -> Iterator[Anomaly]:
    """A record of a transaction that was aborted, or of a send that failed (G1a)."""
    for reader, name, offset, writer in _reads(model):
        if writer.outcome is Outcome.FAIL:
            text = f"offset {offset} was polled, but whoever sent it has aborted"
            yield Anomaly("aborted-read", name, (writer.ended, reader.ended), text)


def _precommitted_reads(model: Model) -> Iterator[Anomaly]:
    """A record of a transaction whose commit had not been asked for: its own, or another's."""
    for reader, name, offset, writer in _reads(model):
        if not writer.is_transaction or writer.outcome is Outcome.FAIL:
            continue
        decided = writer.committing or writer.invoked
        if reader is writer or reader.ended < decided:
            text = f"offset {offset} was polled before its transaction was committed"
            yield Anomaly("precommitted-read", name, (decided, reader.ended), text)


def _polls(model: Model) -> Iterator[Anomaly]:
    """Positions that go back, or jump over records, with no rebalance or seek in between."""
    positions: dict[tuple[Process, str], tuple[int, int]] = {}
    for operation in model.history.operations:
        if operation.kind == "assign":
            for key in [key for key in positions if key[0] == operation.process]:
                del positions[key]
        for poll in operation.polls():
            for name, records in poll.records.items():
                key = (operation.process, name)
                for offset, _ in records:
                    before = positions.get(key)
                    if before is not None:
                        yield from _poll_step(model, operation, name, before, offset)
                    positions[key] = (offset, operation.ended)


def _poll_step(
    model: Model, operation: Operation, name: str, before: tuple[int, int], offset: int
) -> Iterator[Anomaly]:
    last_offset, line = before
    prefix = "int-" if line == operation.ended else ""
    lines = tuple(dict.fromkeys((line, operation.ended)))
    if offset <= last_offset:
        yield Anomaly(f"{prefix}nonmonotonic-poll", name, lines, f"offset {offset} was polled after {last_offset}")
    skipped = [at for at in model.partitions[name].between(last_offset, offset) if _is_committed(model, name, at)]
    if skipped:
        text = f"offset {offset} was polled after {last_offset}, without {_listed(dict.fromkeys(skipped))} between"
        yield Anomaly(f"{prefix}poll-skip", name, lines, text)


def _is_committed(model: Model, name: str, offset: int) -> bool:
    """Whether readers must see the offset, unless it was taken for an anomaly of another kind."""
    writers = (model.writer(name, value) for value in model.partitions[name].values_at[offset])
    return all(writer is None or writer.outcome is not Outcome.FAIL for writer in writers)


def _sends(model: Model) -> Iterator[Anomaly]:
    """Offsets of one producer's records that go back."""
    last: dict[tuple[Process, str], tuple[int, int]] = {}
    for operation in model.history.operations:
        if operation.outcome is not Outcome.OK:
            continue
        for send in operation.sends():
            if send.offset is None:
                continue
            key = (operation.process, send.partition)
            before = last.get(key)
            if before is not None and send.offset <= before[0]:
                prefix = "int-" if before[1] == operation.ended else ""
                lines = tuple(dict.fromkeys((before[1], operation.ended)))
                text = f"{send.value!r} went to offset {send.offset} after the record before it went to {before[0]}"
                yield Anomaly(f"{prefix}nonmonotonic-send", send.partition, lines, text)
            last[key] = (send.offset, operation.ended)


def _cycles(model: Model) -> Iterator[Anomaly]:
    """Transactions each of which saw something of the next, in a circle (G1c): none can have been first."""
    edges: dict[int, dict[int, None]] = {}
    for reader, _, _, writer in _reads(model):
        if reader is not writer and writer.outcome is not Outcome.FAIL and reader.outcome is Outcome.OK:
            edges.setdefault(writer.ended, {})[reader.ended] = None
    for cycle in find_cycles(edges):
        text = f"{len(cycle)} operations saw each other's records in a circle"
        yield Anomaly("cycle", None, tuple(cycle), text)


def _reads(model: Model) -> Iterator[tuple[Operation, str, int, Operation]]:
    """(reader, partition, offset, writer) of all that was polled and is known to have been sent."""
    for reader in model.history.operations:
        for poll in reader.polls():
            for name, records in poll.records.items():
                for offset, value in records:
                    writer = model.writer(name, value)
                    if writer is not None:
                        yield reader, name, offset, writer


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
    _cycles,
)
