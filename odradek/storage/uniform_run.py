"""Clients' batches that came together and are of one form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class ProducerSequence(NamedTuple):
    """One idempotent producer's batches in a run: behind each other, without a gap, of one epoch."""

    producer_id: int
    producer_epoch: int
    base_sequence: int
    """Of the first batch."""
    begin: int
    end: int
    """Which batches of the run these are: up to `end`, exclusive."""


class UniformRun(NamedTuple):
    """Checked batches of one size, each in a buffer of its own, of data outside of transactions."""

    batches: Sequence[memoryview]
    """Writable; at least one."""
    batch_bytes: int
    records: int
    """In each batch."""
    max_timestamps_ms: Sequence[int]
    """Of each batch."""
    sequences: Sequence[ProducerSequence]
    """In any order; batches without a producer id are in none."""
