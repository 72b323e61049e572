"""What a decision comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from odradek.metadata.snapshot import VersionedRecord

R = TypeVar("R")

MAX_RECORDS_PER_OPERATION = 10_000
"""How many records one request of a user may cause."""


class ControllerResult(Generic[R]):
    """Records to append, and the response for when they are committed.

    Atomic records are replayed together or not at all; others may be split over several batches.
    """

    __slots__ = ("is_atomic", "records", "response")

    def __init__(self, response: R, records: Sequence[VersionedRecord] = (), *, is_atomic: bool = True) -> None:
        self.response = response
        self.records = records
        self.is_atomic = is_atomic
