"""What groups promise their members, looked for in a history, beside what `odradek check` looks for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from click.testing import CliRunner

from odradek.checker.history import History, Operation, Outcome, read_history
from odradek.cli import main

Place = tuple[str, int]
"""A partition's name and an offset."""


def anomalies(path: Path) -> list[str]:
    """What `odradek check` says of the file, and what is wrong with the transactions' offsets."""
    checked = CliRunner().invoke(main, ["check", str(path)])
    with path.open(encoding="utf-8") as lines:
        history = read_history(lines)
    found = [] if checked.exit_code == 0 else [checked.output]
    found += [f"{place} was read in two transactions that succeeded" for place in read_twice(history)]
    found += [f"{place} was read in no transaction" for place in read_by_none(history)]
    with path.open(encoding="utf-8") as lines:
        return found + offsets_gone_back(map(json.loads, lines))


def read_twice(history: History) -> list[Place]:
    """What two transactions that succeeded have both polled: their group's offsets were part of them."""
    polled = Counter(
        place
        for operation in history.operations
        if operation.is_transaction and operation.outcome is Outcome.OK
        for place in places(operation)
    )
    return [place for place, count in polled.items() if count > 1]


def read_by_none(history: History) -> list[Place]:
    """What lies before what a successful transaction polled, and was polled by none that may have succeeded."""
    everything: dict[Place, None] = {}
    accounted: dict[Place, None] = {}
    ends: dict[str, int] = {}
    for operation in history.operations:
        if not operation.is_transaction:
            everything |= dict.fromkeys(places(operation))
        elif operation.committing is not None and operation.outcome is not Outcome.FAIL:
            accounted |= dict.fromkeys(places(operation))
            if operation.outcome is Outcome.OK:
                for name, offset in places(operation):
                    ends[name] = max(ends.get(name, 0), offset)
    return [place for place in everything if place not in accounted and place[1] < ends.get(place[0], 0)]


def places(operation: Operation) -> Iterator[Place]:
    """What it polled."""
    for poll in operation.polls():
        for name, records in poll.records.items():
            for offset, _ in records:
                yield name, offset


def offsets_gone_back(events: Iterable[Mapping[str, object]]) -> list[str]:
    """Where a coordinator said that less is committed than what had been before it was asked."""
    committed: dict[tuple[str, str], int] = {}
    asked: dict[object, dict[tuple[str, str], int]] = {}
    problems = []
    for number, event in enumerate(events, 1):
        process, group = event["process"], event.get("group")
        if event["type"] == "invoke":
            asked[process] = dict(committed)
        if not isinstance(group, str):
            continue
        for name, offset in _offsets(event, "found"):
            least = asked[process].get((group, name), 0)
            if offset < least:
                problems.append(f"line {number}: {group} has {offset} for {name}, where {least} was committed before")
        for name, offset in _offsets(event, "committed"):
            committed[group, name] = max(offset, committed.get((group, name), 0))
    return problems


def skipped(path: Path, group: str, ends: Mapping[str, int]) -> list[Place]:
    """What lies before where the group has come to, and was polled by none of its members."""
    everything: dict[Place, None] = {}
    polled: dict[Place, None] = {}
    with path.open(encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    for event in events:
        for step in event.get("value", ()):
            if step[0] == "poll":
                found = dict.fromkeys((name, offset) for name, records in step[1].items() for offset, _ in records)
                everything |= found
                if event.get("group") == group:
                    polled |= found
    return [place for place in everything if place[1] < ends.get(place[0], 0) and place not in polled]


def _offsets(event: Mapping[str, object], field: str) -> list[tuple[str, int]]:
    found = event.get(field)
    return list(found.items()) if isinstance(found, dict) else []
