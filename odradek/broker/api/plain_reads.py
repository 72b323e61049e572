"""Reads of partitions about which there is nothing unusual, for both short ways through Fetch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from odradek.broker.fetch.reader import release
from odradek.broker.fetch.session import FetchedPartition
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import NO_EPOCH, Isolation
from odradek.storage.log import Log
from odradek.storage.log_results import LogSlice
from odradek.storage.txn_index import AbortedTransaction
from odradek.wire.plain_fetch import PlainAnswer
from odradek.wire.schema import Chunk

SMALL_BYTES = 16 * 1024
"""Records up to this are copied into the reply, where that waits for no disk: cheaper than a range of a file."""
MAX_SHARED = 64
"""So many of these are kept for other fetches that wait for the same records."""

Found = tuple[FetchedPartition, PlainAnswer, bool]
"""A partition, what is to be told of it, and whether its reader is behind its end."""
_Reading = tuple[Log, int, int, int, bool, bool]
"""Log, offset, end, most bytes, whether the first batch is whole, whether only what is committed is read."""
_new_tuple = tuple.__new__


class UnusualError(Exception):
    """Only the long way knows what to answer."""


class PlainReads:
    """Reads what a plain fetch asks for, and shares what several of them are woken for."""

    def __init__(self, replicas: ReplicaManager, max_bytes: int) -> None:
        """`max_bytes` is what one response may hold."""
        self._replicas = replicas
        self._max_bytes = max_bytes
        self._shared: dict[_Reading, tuple[LogSlice, Sequence[AbortedTransaction] | None]] = {}
        """What was read for fetches that waited, in the wake `_shared_in`: many may wait for the same records."""
        self._shared_in = 0

    def read(
        self, partitions: Iterable[FetchedPartition], isolation: Isolation, max_bytes: int, *, waits: bool
    ) -> tuple[list[Found], int]:
        """What there is of each in turn, and the bytes of all records; their ranges have to be released.

        The first that has any is read even if that is larger than every limit. `waits`: look-ups may wait for a disk.
        Raises UnusualError, and then nothing has to be released.
        """
        only_committed = isolation is Isolation.READ_COMMITTED
        max_bytes = min(max_bytes, self._max_bytes)
        found: list[Found] = []
        size = 0
        try:
            for fetched in partitions:
                log, offset = self._log(fetched), fetched.fetch_offset
                high_watermark, stable = log.high_watermark, log.last_stable_offset
                end = stable if only_committed else high_watermark
                records: Chunk = b""
                read = 0
                aborted: Sequence[AbortedTransaction] | None = () if only_committed else None
                if offset < end:
                    most = max(0, min(fetched.max_bytes, max_bytes - size))
                    part, aborted = self._slice((log, offset, end, most, size == 0, only_committed), waits=waits)
                    records, read = part.records, part.size
                    size += read
                topic, index = fetched.key
                answer = _new_tuple(
                    PlainAnswer, (topic, index, high_watermark, stable, log.log_start_offset, records, read, aborted)
                )
                found.append((fetched, answer, offset < end))
        except UnusualError:
            release_all(found)
            raise
        return found, size

    def _log(self, fetched: FetchedPartition) -> Log:
        """The log of a partition, if there is nothing unusual about it. Raises UnusualError."""
        partition = fetched.partition
        if (
            partition is None
            or not partition.is_leader
            or fetched.current_leader_epoch not in (NO_EPOCH, partition.leader_epoch)
            or self._replicas.partitions.get(partition.topic_partition) is not partition
        ):
            raise UnusualError
        log, offset = partition.log, fetched.fetch_offset
        if log is None or log.is_offline or not log.log_start_offset <= offset <= log.log_end_offset:
            raise UnusualError
        epoch = fetched.last_fetched_epoch
        if epoch >= 0:
            found, end_offset = log.leader_epochs.end_offset_for(epoch, log.log_end_offset)
            if found != epoch or end_offset < offset:
                raise UnusualError  # the logs part there (KIP-595)
        return log

    def _slice(self, reading: _Reading, *, waits: bool) -> tuple[LogSlice, Sequence[AbortedTransaction] | None]:
        """What is read of a partition; what a fetch that was woken with this one has read is not read again."""
        readers = self._replicas.readers
        if not readers.is_waking:
            return _slice(reading, waits=waits)
        if self._shared_in != readers.wakes:
            self._shared_in = readers.wakes
            self._shared = {}
        found = self._shared.get(reading)
        if found is None:
            found = _slice(reading, waits=waits)
            if isinstance(found[0].records, bytes) and len(self._shared) < MAX_SHARED:
                self._shared[reading] = found
        return found


def release_all(found: Iterable[Found]) -> None:
    """Give back what was read and is not sent."""
    for _, answer, _ in found:
        if answer.size:
            release(answer.records)


def _slice(reading: _Reading, *, waits: bool) -> tuple[LogSlice, Sequence[AbortedTransaction] | None]:
    """What is read of a partition, and what of it was aborted. Raises UnusualError if that fails or needs a disk."""
    log, offset, end, max_bytes, is_first, only_committed = reading
    part: LogSlice | None = None
    try:
        part = log.read(
            offset, max_bytes=max_bytes, max_offset=end, min_one_message=is_first, waits=waits, small_bytes=SMALL_BYTES
        )
        aborted = None
        if only_committed and not part.first_entry_incomplete:
            aborted = log.aborted_in(part, offset)
    except Exception:  # noqa: BLE001 - the long way meets it again, and tells of this partition alone
        if part is not None:
            release(part.records)
        raise UnusualError from None
    return part, aborted
