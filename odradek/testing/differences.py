"""What pytest says about records that are not those that a test expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from odradek.testing.records import Record, Records

MAX_LINES = 30
MAX_COMPARISONS = 250_000
"""Of longer lists, only what stands at the same place is compared."""

AnyRecord = Record[Any, Any]


def explain(left: object, right: object) -> list[str] | None:
    """Lines about `assert left == right`, one of which came from a topic; None for what has no records."""
    if isinstance(left, Record) and isinstance(right, Record):
        return ["these records differ:", *_differing(left, right)]
    if not (isinstance(left, Records) or isinstance(right, Records)):
        return None
    actual, expected = (left, right) if isinstance(left, Records) else (right, left)
    if not isinstance(actual, Records) or not isinstance(expected, Sequence):
        return None
    if not all(isinstance(each, Record) for each in expected):
        return [
            f"records are compared with {type(expected).__name__}: expected Record(...) of odradek.testing, "
            "or compare .values(...)"
        ]
    return _explained(actual, expected)


def _explained(actual: Sequence[AnyRecord], expected: Sequence[AnyRecord]) -> list[str]:
    lines = [f"{_count(actual)} in the topic, {len(expected)} expected:"]
    before = (-1, -1)
    for match in [*_matches(actual, expected), (len(actual), len(expected))]:
        lines += _between(actual, expected, before, match)
        before = match
    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = [f"  ... and {len(lines) - MAX_LINES} lines more"]
    return lines


def _between(
    actual: Sequence[AnyRecord], expected: Sequence[AnyRecord], before: tuple[int, int], behind: tuple[int, int]
) -> list[str]:
    """What differs between two places where the lists agree."""
    ours = range(before[0] + 1, behind[0])
    theirs = range(before[1] + 1, behind[1])
    pairs = min(len(ours), len(theirs))
    lines: list[str] = []
    for index, other in zip(ours, theirs, strict=False):
        lines += [f"  differs, at index {index}:", *_differing(actual[index], expected[other], indent="    ")]
    lines += [f"  too much, at index {index}: {actual[index]!r}" for index in ours[pairs:]]
    lines += [f"  missing, number {index} of those expected: {expected[index]!r}" for index in theirs[pairs:]]
    return lines


def _differing(left: AnyRecord, right: AnyRecord, indent: str = "  ") -> list[str]:
    return [
        f"{indent}{name}: {getattr(left, name)!r}, and not {getattr(right, name)!r}" for name in left.differences(right)
    ]


def _matches(actual: Sequence[AnyRecord], expected: Sequence[AnyRecord]) -> list[tuple[int, int]]:
    """The indexes of a longest common subsequence."""
    start = 0
    while start < min(len(actual), len(expected)) and actual[start] == expected[start]:
        start += 1
    found = [(index, index) for index in range(start)]
    rows, columns = len(actual) - start, len(expected) - start
    if rows * columns > MAX_COMPARISONS:
        same = (index for index in range(start, min(len(actual), len(expected))) if actual[index] == expected[index])
        return [*found, *((index, index) for index in same)]
    lengths = [[0] * (columns + 1) for _ in range(rows + 1)]
    equal = [[actual[start + i] == expected[start + j] for j in range(columns)] for i in range(rows)]
    for i in reversed(range(rows)):
        for j in reversed(range(columns)):
            lengths[i][j] = 1 + lengths[i + 1][j + 1] if equal[i][j] else max(lengths[i + 1][j], lengths[i][j + 1])
    i = j = 0
    while i < rows and j < columns:
        if equal[i][j] and lengths[i][j] == 1 + lengths[i + 1][j + 1]:
            found.append((start + i, start + j))
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            i += 1
        else:
            j += 1
    return found


def _count(records: Sequence[AnyRecord]) -> str:
    return "1 record" if len(records) == 1 else f"{len(records)} records"
