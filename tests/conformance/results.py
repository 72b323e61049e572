"""What came of the cases, and where that is kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

FILE = Path(__file__).parent / "results.json"
Json: TypeAlias = "int | str | list[Json] | dict[str, Json]"


class Outcome(NamedTuple):
    """The cases of one client in one module: how many passed, which failed, and why others were skipped."""

    passed: int
    failed: list[str]
    skipped: Counter[str]

    def to_json(self) -> dict[str, Json]:
        """In a fixed order."""
        skipped: dict[str, Json] = {reason: self.skipped[reason] for reason in sorted(self.skipped)}
        return {"passed": self.passed, "failed": [*sorted(self.failed)], "skipped": skipped}


class Key(NamedTuple):
    """Which cases: those of a module of tests/compat with a version of a client, on a target."""

    client: str
    version: str
    feature: str
    target: str


Results: TypeAlias = dict[Key, Outcome]


def load(path: Path = FILE) -> Results:
    """What was written last; nothing if that is missing."""
    if not path.exists():
        return {}
    return dict(_entry(each) for each in json.loads(path.read_text(encoding="utf-8")))


def of_run(path: Path, target: str, versions: Mapping[str, str]) -> Results:
    """What one run of pytest wrote, with the versions of its clients."""
    found: Results = {}
    for each in cast("Iterable[dict[str, Json]]", json.loads(path.read_text(encoding="utf-8"))):
        client = str(each["client"])
        key, outcome = _entry({**each, "version": versions.get(client, ""), "target": target})
        found[key] = outcome
    return found


def save(results: Results, path: Path = FILE) -> None:
    """In a fixed order, a line for each."""
    lines = [
        json.dumps({**key._asdict(), **outcome.to_json()}, ensure_ascii=False)
        for key, outcome in sorted(results.items(), key=lambda each: each[0])
    ]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def _entry(each: Mapping[str, Json]) -> tuple[Key, Outcome]:
    key = Key(*(str(each[name]) for name in Key._fields))
    skipped = cast("dict[str, int]", each["skipped"])
    return key, Outcome(int(cast("int", each["passed"])), cast("list[str]", each["failed"]), Counter(skipped))
