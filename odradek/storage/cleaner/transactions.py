"""Which transactions a cleaning is in the middle of: aborted data goes, and markers outlive their data (KIP-98)."""

from __future__ import annotations

from collections.abc import Iterable

from odradek.storage.markers import parse_marker
from odradek.storage.txn_index import AbortedTransaction
from odradek.wire.records.header import BatchHeader


class CleanedTransactions:
    """Follows the batches of a log in their order, with the aborted transactions that its indexes name."""

    def __init__(self, aborted: Iterable[AbortedTransaction]) -> None:
        self._upcoming = sorted(aborted, key=lambda transaction: -transaction.first_offset)
        """By first offset, the next one last."""
        self._aborted: dict[int, AbortedTransaction] = {}
        """Aborted ones that have begun, by producer id."""
        self._with_data: dict[int, None] = {}
        """Producers of aborted transactions that still have data."""
        self._committed: dict[int, None] = {}
        """Producers that have data of a committed transaction before its marker."""
        self.retained: list[AbortedTransaction] = []
        """Aborted transactions that still had data before their marker: what the new index has to name."""

    def reads_data(self, header: BatchHeader) -> bool:
        """A batch of data comes; whether it belongs to an aborted transaction, so that it goes."""
        self._begin_up_to(header.last_offset)
        if not header.is_transactional:
            return False
        producer_id = header.producer_id
        if producer_id in self._aborted:
            self._with_data[producer_id] = None
            return True
        self._committed[producer_id] = None
        return False

    def reads_marker(self, header: BatchHeader, batch: memoryview) -> bool:
        """A control batch comes; whether it is a marker without any data before it, so that it may go in time."""
        self._begin_up_to(header.last_offset)
        if header.record_count == 0:
            return True
        marker = parse_marker(batch)
        if marker is None:
            return False
        producer_id = header.producer_id
        if not marker.is_abort:
            return self._committed.pop(producer_id, self) is self
        transaction = self._aborted.pop(producer_id, None)
        if transaction is None or self._with_data.pop(producer_id, self) is self:
            return True
        self.retained.append(transaction)
        return False

    def take_retained(self) -> list[AbortedTransaction]:
        """`retained`, which is empty then."""
        retained, self.retained = self.retained, []
        return retained

    def _begin_up_to(self, offset: int) -> None:
        upcoming = self._upcoming
        while upcoming and upcoming[-1].first_offset <= offset:
            transaction = upcoming.pop()
            self._aborted.setdefault(transaction.producer_id, transaction)
