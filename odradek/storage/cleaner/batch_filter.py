"""What a cleaning leaves of each batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from odradek.storage.cleaner.key_map import KeyMap
from odradek.storage.cleaner.plan import LastRecord
from odradek.storage.cleaner.records import KeyedRecord, read_records, rewrite_batch
from odradek.storage.cleaner.transactions import CleanedTransactions
from odradek.wire.records.batch import build_empty_batch
from odradek.wire.records.header import BatchHeader


class FilterSettings(NamedTuple):
    """What does not change within one cleaning. Times are milliseconds."""

    now_ms: int
    delete_retention_ms: int
    high_watermark: int
    max_record_bytes: int


class BatchFilter:
    """Decides on batch after batch of one log, in their order (`filter`)."""

    def __init__(
        self, keys: KeyMap, transactions: CleanedTransactions, producers: Mapping[int, LastRecord],
        settings: FilterSettings,
    ) -> None:  # fmt: skip
        self._keys = keys
        self._transactions = transactions
        self._producers = producers
        self._settings = settings
        self.keyless = 0
        """Records that went because they have no key."""

    def filter(self, header: BatchHeader, batch: memoryview) -> bytes | memoryview | None:
        """What is left of a batch: `batch` itself if all of it, a smaller one, or None.

        A batch without records stays where a producer's last sequence would be lost with it. The first time that
        tombstones, or a marker without data, are met in a batch, it is given its delete horizon. Raises KafkaError.
        """
        is_control = header.is_control
        if is_control:
            may_go = self._transactions.reads_marker(header, batch)
            horizon_ms = header.delete_horizon_ms
            is_discarded = may_go and horizon_ms is not None and horizon_ms <= self._settings.now_ms
        else:
            may_go = is_discarded = self._transactions.reads_data(header)
        must_stay = self._is_last_of_producer(header) or header.next_offset == self._settings.high_watermark
        if is_discarded:
            return build_empty_batch(header) if must_stay else None
        payload, records = read_records(batch, header, self._settings.max_record_bytes)
        kept = records if is_control else self._kept(header, records)
        if not kept:
            return build_empty_batch(header) if must_stay else None
        horizon_ms = header.delete_horizon_ms
        if horizon_ms is None:
            needs_horizon = may_go if is_control else not all(record.has_value for record in kept)
            if needs_horizon:
                horizon_ms = self._settings.now_ms + self._settings.delete_retention_ms
                return rewrite_batch(header, payload, kept, horizon_ms)
        if len(kept) == len(records):
            return batch
        return rewrite_batch(header, payload, kept, horizon_ms)

    def _is_last_of_producer(self, header: BatchHeader) -> bool:
        last = self._producers.get(header.producer_id) if header.producer_id >= 0 else None
        if last is None:
            return False
        if last.offset >= 0:
            return header.last_offset == last.offset
        return header.is_control and header.producer_epoch == last.producer_epoch

    def _kept(self, header: BatchHeader, records: list[KeyedRecord]) -> list[KeyedRecord]:
        """Those that no later record of their key supersedes, less tombstones that have had their time."""
        base_offset = header.base_offset
        keys = self._keys
        latest = keys.latest_offset - base_offset
        horizon_ms = header.delete_horizon_ms
        keeps_tombstones = horizon_ms is None or self._settings.now_ms < horizon_ms
        kept = []
        for record in records:
            if record.offset_delta > latest:
                kept.append(record)
            elif record.key is None:
                self.keyless += 1
            elif (record.has_value or keeps_tombstones) and keys.get(record.key) <= base_offset + record.offset_delta:
                kept.append(record)
        return kept
