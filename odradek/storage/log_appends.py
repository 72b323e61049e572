"""How a log grows: batches of clients, coordinators and leaders get their place, and are written."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.ports.files import Buffer
from odradek.storage.append_checks import check_leader_append, check_replicated, parse_headers
from odradek.storage.checkpoints import CorruptFileError
from odradek.storage.environment import LogEnvironment
from odradek.storage.indexes import MAX_RELATIVE_OFFSET
from odradek.storage.leader_epochs import LeaderEpochCache
from odradek.storage.log_config import LogConfig
from odradek.storage.log_reads import LogReads
from odradek.storage.log_results import AppendInfo, AppendOrigin
from odradek.storage.markers import apply_batch, apply_sequence, apply_uniform, sequences_of
from odradek.storage.producers import ProducerEntry, ProducerStateManager
from odradek.storage.segment import Segment
from odradek.storage.segments import Segments
from odradek.storage.topic_partition import TopicPartition
from odradek.storage.uniform_run import ProducerSequence, UniformRun
from odradek.wire.records.header import (
    CONTROL_BIT,
    LOG_OVERHEAD_BYTES,
    BatchHeader,
    place_batches,
    place_uniform,
    rewrite_base_offset_and_epoch,
    set_log_append_time,
)


class LogAppends(LogReads):
    """The writing half of `Log`, which knows when to roll and to flush."""

    def __init__(
        self, env: LogEnvironment, directory: str, topic_partition: TopicPartition, config: LogConfig,
        segments: Segments, epochs: LeaderEpochCache, producers: ProducerStateManager, log_start_offset: int,
        log_end_offset: int, recovery_point: int,
    ) -> None:  # fmt: skip
        super().__init__(env, directory, topic_partition, segments, producers, log_start_offset, log_end_offset)
        self.config = config
        self.leader_epochs = epochs
        self.recovery_point = recovery_point
        """All before it has been synced."""

    def roll(self, base_offset: int = 0) -> None:
        """Begin a new active segment at the log end offset, or at `base_offset` if that is behind it."""
        raise NotImplementedError

    def flush(self) -> None:
        """Return once all that was appended is on the disk. Raises KafkaError KAFKA_STORAGE_ERROR."""
        raise NotImplementedError

    def append_as_leader(
        self, batches: bytearray | memoryview, *, leader_epoch: int, now_ms: int,
        origin: AppendOrigin = AppendOrigin.CLIENT, headers: Sequence[BatchHeader] | None = None,
        transaction_version: int = 0,
    ) -> AppendInfo:  # fmt: skip
        """Append whole batches whose headers and checksums the caller has checked.

        Assigns offsets and leader epoch, and the time for LogAppendTime, in place: `batches` must be writable.
        `headers`, if the caller has them, saves parsing them again. `transaction_version` is that of a marker.
        A client's duplicate is answered with its first offsets, and nothing is written.

        Raises KafkaError MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, OUT_OF_ORDER_SEQUENCE_NUMBER,
        INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, TRANSACTION_COORDINATOR_FENCED, KAFKA_STORAGE_ERROR.
        """
        if self.is_offline:
            raise self._offline()
        if headers is None:
            headers = parse_headers(batches)
        offset = first_offset = self.log_end_offset
        is_stamped = self.config.uses_log_append_time
        duplicate = check_leader_append(self, batches, headers, origin, transaction_version)
        if duplicate is not None:
            return AppendInfo(
                duplicate.first_offset, duplicate.last_offset, duplicate.timestamp_ms, self.log_start_offset,
                duplicate.timestamp_ms, is_duplicate=True,
            )  # fmt: skip
        position = 0
        max_timestamp_ms = -1
        base_offsets = []
        for header in headers:
            base_offsets.append(offset)
            rewrite_base_offset_and_epoch(batches, position, offset, leader_epoch)
            if is_stamped:
                set_log_append_time(batches, position, now_ms)
            elif header.max_timestamp_ms > max_timestamp_ms:
                max_timestamp_ms = header.max_timestamp_ms
            offset += header.last_offset_delta + 1
            position += header.length + LOG_OVERHEAD_BYTES
        if is_stamped:
            headers = parse_headers(batches)
            max_timestamp_ms = now_ms
        if leader_epoch != self.leader_epochs.latest_epoch and leader_epoch >= 0:
            self.assign_epoch(leader_epoch, first_offset)
        self._write(batches, headers, base_offsets, offset - 1, max_timestamp_ms, now_ms)
        return AppendInfo(
            first_offset, offset - 1, now_ms if is_stamped else -1, self.log_start_offset, max_timestamp_ms
        )

    def append_run(
        self, batches: Sequence[memoryview], headers: Sequence[BatchHeader], *, leader_epoch: int, now_ms: int
    ) -> AppendInfo | None:
        """Append clients' batches that came together, each in a buffer of its own, by one write.

        They are data outside of transactions; those of one producer are all behind each other, and in sequence.
        None, with nothing changed, if they have to be appended one by one; else what is told of all together.
        """
        if self.is_offline:
            raise self._offline()
        if self.config.uses_log_append_time:
            return None
        sequences = sequences_of(headers)
        if len(sequences) > 1 and len({headers[each.start].producer_id for each in sequences}) < len(sequences):
            return None
        for each in sequences:
            if not self.continues(headers[each.start]):
                return None
        base_offsets = []
        offset = first_offset = self.log_end_offset
        max_timestamp_ms = -1
        for _, _, _, _, _, _, delta, _, timestamp_ms, _, _, _, _ in headers:
            base_offsets.append(offset)
            offset += delta + 1
            if timestamp_ms > max_timestamp_ms:
                max_timestamp_ms = timestamp_ms
        if self._is_full(sum(map(len, batches)), offset - 1, max_timestamp_ms, now_ms):
            return None
        place_batches(batches, headers, base_offsets, leader_epoch)
        if leader_epoch != self.leader_epochs.latest_epoch and leader_epoch >= 0:
            self.assign_epoch(leader_epoch, first_offset)
        self._write_to_active(batches, headers, base_offsets, offset - 1, sequences)
        return AppendInfo(first_offset, offset - 1, -1, self.log_start_offset, max_timestamp_ms)

    def append_uniform(self, run: UniformRun, *, leader_epoch: int, now_ms: int) -> int | None:
        """Append clients' batches that came together and are of one form, by one write; returns the first's offset.

        The topic's timestamps are those of the producers. None, with nothing changed, as for `append_run`.
        """
        if self.is_offline:
            raise self._offline()
        entries = self._continued(run.sequences) if run.sequences else ()
        if entries is None:
            return None
        first_offset = self.log_end_offset
        next_offset = first_offset + len(run.batches) * run.records
        size = len(run.batches) * run.batch_bytes
        max_timestamp_ms = max(run.max_timestamps_ms)
        if self._is_full(size, next_offset - 1, max_timestamp_ms, now_ms):
            return None
        place_uniform(run.batches, run.batch_bytes, first_offset, run.records, leader_epoch)
        if leader_epoch != self.leader_epochs.latest_epoch and leader_epoch >= 0:
            self.assign_epoch(leader_epoch, first_offset)
        segment = self.segments.active
        position = segment.log.size
        try:
            segment.log.append(*run.batches)
            segment.note_uniform(run, first_offset, position, max_timestamp_ms, self.config.index_interval_bytes)
            if entries:
                apply_uniform(entries, run, first_offset)
        except OSError as error:
            raise self._failed(error) from error
        except Exception:
            # Else the next batch would get the same offsets behind this one.
            segment.take_back(position)
            raise
        self._ends_at(next_offset)
        return first_offset

    def continues(self, header: BatchHeader) -> bool:
        """Whether a batch of data outside of transactions has no producer id, or is its producer's next one here."""
        if header.producer_id < 0:
            return True
        return self.producers.next_of(header.producer_id, header.producer_epoch, header.base_sequence) is not None

    def _continued(self, sequences: Sequence[ProducerSequence]) -> list[ProducerEntry] | None:
        """The producers of these sequences; None unless each has one that goes on where its batches in the log end."""
        next_of = self.producers.next_of
        entries: list[ProducerEntry] = []
        for producer_id, producer_epoch, base_sequence, _, _ in sequences:
            entry = next_of(producer_id, producer_epoch, base_sequence)
            if entry is None or (entries and entry in entries):
                return None
            entries.append(entry)
        return entries

    def append_as_follower(self, batches: Buffer) -> AppendInfo | None:
        """Append batches as the leader has them, offsets and epochs included. Half a batch at the end is left out.

        None if there is no whole batch. Raises UnexpectedOffsetError if they begin before the log end offset or go
        back, KafkaError CORRUPT_MESSAGE or KAFKA_STORAGE_ERROR.
        """
        if self.is_offline:
            raise self._offline()
        view, headers = check_replicated(memoryview(batches), self.log_end_offset)
        if not headers:
            return None
        for header in headers:
            if header.leader_epoch >= 0 and header.leader_epoch != self.leader_epochs.latest_epoch:
                self.assign_epoch(header.leader_epoch, header.base_offset)
        base_offsets = [header.base_offset for header in headers]
        last_offset = headers[-1].last_offset
        max_timestamp_ms = max(header.max_timestamp_ms for header in headers)
        self._write(view, headers, base_offsets, last_offset, max_timestamp_ms, self._env.clock.now_ms())
        return AppendInfo(base_offsets[0], last_offset, -1, self.log_start_offset, max_timestamp_ms)

    def assign_epoch(self, leader_epoch: int, start_offset: int) -> None:
        """A leader epoch begins at `start_offset`: called when a leader is elected, and by appends."""
        self.leader_epochs.assign(leader_epoch, start_offset)

    def _write(
        self, batches: Buffer, headers: Sequence[BatchHeader], base_offsets: Sequence[int], last_offset: int,
        max_timestamp_ms: int, now_ms: int,
    ) -> None:  # fmt: skip
        """`_write_to_active` a buffer with all batches, behind a roll if it is time for one."""
        if self._is_full(len(batches), last_offset, max_timestamp_ms, now_ms):
            # Not at the first batch: where compaction left out what was before it, there would be a gap between
            # segments, which looks like the loss of a segment's end once the log is compacted no more.
            self.roll(last_offset - MAX_RELATIVE_OFFSET)
        self._write_to_active((batches,), headers, base_offsets, last_offset)

    def _is_full(self, size: int, last_offset: int, max_timestamp_ms: int, now_ms: int) -> bool:
        """Whether `size` more bytes up to `last_offset` belong into a new segment."""
        try:
            return self.segments.active.should_roll(self.config, size, last_offset, max_timestamp_ms, now_ms)
        except OSError as error:
            raise self._failed(error) from error

    def _write_to_active(
        self, pieces: Sequence[Buffer], headers: Sequence[BatchHeader], base_offsets: Sequence[int], last_offset: int,
        sequences: Sequence[range] | None = None,
    ) -> None:  # fmt: skip
        """Write to the active segment, and bring indexes and producer state up to date.

        `pieces` are all batches in one buffer, or those of a run (see `append_run`) with a buffer for each. Of a run
        `sequences` are those of its producers.
        """
        index_interval_bytes = self.config.index_interval_bytes
        segment = self.segments.active
        position = segment.log.size
        try:
            segment.log.append(*pieces)
            at = 0
            for header, base_offset in zip(headers, base_offsets, strict=True):
                segment.note(header, base_offset + header.last_offset_delta, position + at, index_interval_bytes)
                if header.producer_id >= 0 and sequences is None:
                    self._update_producer(segment, header, base_offset, pieces[0], at)
                at += header.length + LOG_OVERHEAD_BYTES
            for each in sequences or ():
                apply_sequence(self.producers, headers, base_offsets, each)
        except (OSError, CorruptFileError) as error:
            raise self._failed(error) from error
        except Exception:
            # Else the next batch would get the same offsets behind this one.
            segment.take_back(position)
            raise
        self._ends_at(last_offset + 1)

    def _ends_at(self, offset: int) -> None:
        """All before `offset` was written."""
        self.log_end_offset = offset
        if offset - self.recovery_point >= self.config.flush_messages:
            self.flush()

    def _update_producer(
        self, segment: Segment, header: BatchHeader, base_offset: int, batches: Buffer, at: int
    ) -> None:
        batch = memoryview(batches)[at : at + header.size_bytes] if header.attributes & CONTROL_BIT else b""
        completed = apply_batch(self.producers, header, base_offset, batch)
        if completed is not None:
            if completed.is_aborted:
                segment.txn_index.append(self.producers.aborted(completed))
            self.producers.complete(completed)
