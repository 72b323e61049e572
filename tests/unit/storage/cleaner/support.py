"""What the cleaner's tests share: a compacted log that is cleaned when told, and a client that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from odradek.ports import FileSystem
from odradek.storage.cleaner.job import clean
from odradek.storage.cleaner.plan import CleanedSegment, CleanerLimits, CleaningPlan, CleaningResult
from odradek.storage.cleaner.selection import LogToClean, look_at, plan_for
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.log_results import AppendInfo, AppendOrigin
from odradek.storage.markers import parse_marker
from odradek.wire.records.batch import build_batch, iter_records
from odradek.wire.records.compression import Codec
from odradek.wire.records.header import BatchHeader
from odradek.wire.records.record import Record
from tests.unit.storage.support import NOW_MS, Disk, stored_batches

COMPACTED = LogConfig(cleanup_policy=("compact",), index_interval_bytes=200, delete_retention_ms=1000)
Pair = tuple[str, str | None]
"""Key and value; a value of None is a tombstone."""


class Producer(NamedTuple):
    """What a batch says about who wrote it."""

    id: int = -1
    epoch: int = -1
    sequence: int = -1
    is_transactional: bool = False


NOBODY = Producer()


class CompactedDisk(Disk):
    """A log with keys."""

    def __init__(self, config: LogConfig = COMPACTED, fs: FileSystem | None = None, **options: int) -> None:
        super().__init__(config, fs, **options)  # type: ignore[arg-type] # max_open_files

    def write(
        self, *pairs: Pair, producer: Producer = NOBODY, codec: Codec = Codec.NONE, leader_epoch: int = 0,
        timestamps_ms: Sequence[int] = (),
    ) -> AppendInfo:  # fmt: skip
        """Append one batch, and let the high watermark follow."""
        times = timestamps_ms or [self.clock.now_ms()] * len(pairs)
        records = [
            Record(index, time, key.encode(), None if value is None else value.encode())
            for index, ((key, value), time) in enumerate(zip(pairs, times, strict=True))
        ]
        batch = build_batch(
            records, codec=codec, producer_id=producer.id, producer_epoch=producer.epoch,
            base_sequence=producer.sequence, is_transactional=producer.is_transactional,
        )  # fmt: skip
        info = self.log.append_as_leader(
            bytearray(batch), leader_epoch=leader_epoch, now_ms=self.clock.now_ms(), origin=AppendOrigin.CLIENT
        )
        self.log.update_high_watermark(self.log.log_end_offset)
        return info

    def roll(self) -> None:
        """Close the active segment."""
        self.log.roll()

    def look(self) -> LogToClean:
        """What could be cleaned, now that closed segments are synced."""
        self.clock.run_soon()
        found = look_at(self.log, self.clock.now_ms())
        assert found is not None
        return found

    def plan(self, limits: CleanerLimits | None = None) -> CleaningPlan:
        """The plan for a cleaning now, whether or not it is due."""
        return plan_for(self.look(), self.clock.now_ms(), limits or CleanerLimits(1 << 16))

    def clean(self, limits: CleanerLimits | None = None) -> CleaningResult:
        """Clean what can be cleaned, and swap it in."""
        steps = clean(self.fs, self.plan(limits))
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                result: CleaningResult = stop.value
                self.log.cleaned_offset = result.end_offset
                return result
            if isinstance(step, CleanedSegment):
                self.log.replace_segments(step)

    def pairs(self) -> list[tuple[int, str, str | None]]:
        """(offset, key, value) of all records, committed or not."""
        return [(record.offset, *decoded(record)) for record in all_records(self.log)]

    def headers(self) -> list[BatchHeader]:
        """The headers of all batches."""
        return [header for header, _ in stored_batches(self.log, self.log.log_start_offset)]


def decoded(record: Record) -> Pair:
    assert record.key is not None
    return record.key.decode(), None if record.value is None else record.value.decode()


def all_records(log: Log) -> list[Record]:
    """All data records."""
    return [
        record
        for header, batch in stored_batches(log, log.log_start_offset)
        if not header.is_control
        for record in iter_records(batch)
    ]


def committed_records(log: Log) -> list[Record]:
    """What a consumer with read_committed delivers, by the rules that clients follow."""
    start, end = log.log_start_offset, log.last_stable_offset
    upcoming = sorted(log.aborted_transactions(start, end), key=lambda txn: txn.first_offset)
    aborting: set[int] = set()
    delivered = []
    for header, batch in stored_batches(log, start, end):
        while upcoming and upcoming[0].first_offset <= header.last_offset:
            aborting.add(upcoming.pop(0).producer_id)
        if header.is_control:
            marker = parse_marker(batch)
            if marker is not None and marker.is_abort:
                aborting.discard(header.producer_id)
        elif not (header.is_transactional and header.producer_id in aborting):
            delivered += [record for record in iter_records(batch) if record.offset < end]
    return delivered


def latest(records: Sequence[Record]) -> dict[str, str]:
    """The table that the records make."""
    table: dict[str, str] = {}
    for record in records:
        key, value = decoded(record)
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    return table


__all__ = ["COMPACTED", "NOW_MS", "CompactedDisk", "Pair", "Producer", "all_records", "committed_records", "latest"]
