"""Medians, quantiles and ratios of paired runs; pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """What several rounds of one figure came to."""

    median: float
    low: float
    high: float


def spread(values: Iterable[float | None]) -> Spread | None:
    """The median with the lowest and highest value; None where no round gave a value."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(statistics.median(known), min(known), max(known))


def ratios(subjects: Sequence[float | None], references: Sequence[float | None]) -> list[float | None]:
    """Subject divided by reference, round by round; None where either is missing or the reference is 0.

    Ratios are taken within a round, before any median: what slows the machine down for a while slows both halves.
    Raises ValueError unless both have the same number of rounds.
    """
    return [
        subject / reference if subject is not None and reference else None
        for subject, reference in zip(subjects, references, strict=True)
    ]


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of the ascending ``values`` do not exceed (nearest rank).

    Raises ValueError without values.
    """
    if not values:
        raise ValueError("no values")
    return values[max(0, math.ceil(share * len(values)) - 1)]
