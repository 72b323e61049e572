"""What a log knows about the producers that write to it: sequences, epochs, transactions (KIP-98, KIP-890).

An append is checked before it is written (`find_duplicate`, `check_data`, `check_marker`) and applied afterwards
(`apply_data`, `apply_marker`), so that a write that fails leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from odradek.storage.txn_index import AbortedTransaction
from odradek.wire.errors import ErrorCode, KafkaError

WINDOW_BATCHES = 5
"""How many of a producer's latest batches are known again when they are sent again."""
NO_EPOCH = -1
NO_SEQUENCE = -1
NO_OFFSET = -1
NO_TIMESTAMP = -1
_MAX_SEQUENCE = 2**31 - 1
_MAX_EPOCH = 2**15 - 1
_FIRST_STRICT_TRANSACTION_VERSION = 2
_new_tuple = tuple.__new__


class ProducerBatch(NamedTuple):
    """One batch that a producer has written. Sequences wrap around from 2^31 - 1 to 0."""

    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp_ms: int

    @property
    def first_sequence(self) -> int:
        """The sequence of its first record."""
        sequence = self.last_sequence - self.offset_delta
        return sequence if sequence >= 0 else sequence + _MAX_SEQUENCE + 1

    @property
    def first_offset(self) -> int:
        """The offset of its first record."""
        return self.last_offset - self.offset_delta


class UniformBatches(NamedTuple):
    """The latest batches of a run, which have as many records each, without a gap: at most five."""

    last_sequence: int
    """Of the last one, as its last offset."""
    last_offset: int
    records: int
    timestamps_ms: Sequence[int]
    """Of each batch."""

    def unfolded(self) -> list[ProducerBatch]:
        """The batches one by one."""
        last_sequence, last_offset, records, timestamps_ms = self
        behind = len(timestamps_ms) * records
        batches = []
        for timestamp_ms in timestamps_ms:
            behind -= records
            sequence, offset = (last_sequence - behind) & _MAX_SEQUENCE, last_offset - behind
            batches.append(ProducerBatch(sequence, offset, records - 1, timestamp_ms))
        return batches


class ProducerEntry:
    """One producer's latest state in one log."""

    __slots__ = (
        "_batches",
        "_run",
        "coordinator_epoch",
        "last_timestamp_ms",
        "producer_epoch",
        "producer_id",
        "txn_first_offset",
    )

    def __init__(self, producer_id: int) -> None:
        self.producer_id = producer_id
        self.producer_epoch = NO_EPOCH
        self.coordinator_epoch = -1
        self.last_timestamp_ms = NO_TIMESTAMP
        self.txn_first_offset = NO_OFFSET
        """Where its transaction that is going on began, -1 if there is none."""
        self._batches: list[ProducerBatch] = []
        self._run: UniformBatches | None = None
        """The latest batches in place of `_batches`, where they came in one run."""

    @property
    def batches(self) -> list[ProducerBatch]:
        """The latest, at most five, of the current epoch."""
        run = self._run
        if run is not None:
            self._run = None
            self._batches[:] = run.unfolded()
        return self._batches

    def append_run(self, last_sequence: int, last_offset: int, records: int, timestamps_ms: Sequence[int]) -> None:
        """Batches of data were written behind its latest ones, without a gap, of as many records each.

        The last one has this sequence and offset; the timestamps are those of the latest, at most five.
        """
        run = _new_tuple(UniformBatches, (last_sequence, last_offset, records, timestamps_ms))
        if len(timestamps_ms) == WINDOW_BATCHES:
            # Most runs are followed by another one before anybody looks at their batches.
            self._run = run
        else:
            self.batches.extend(run.unfolded())
            del self._batches[:-WINDOW_BATCHES]
        self.last_timestamp_ms = timestamps_ms[-1]

    @property
    def last_sequence(self) -> int:
        """The sequence of the last record, -1 if unknown."""
        if self._run is not None:
            return self._run.last_sequence
        return self._batches[-1].last_sequence if self._batches else NO_SEQUENCE

    @property
    def last_offset(self) -> int:
        """The offset of the last data record, -1 if unknown."""
        return self.batches[-1].last_offset if self.batches else NO_OFFSET

    @property
    def last_offset_delta(self) -> int:
        """The last batch's last offset delta, 0 if unknown."""
        return self.batches[-1].offset_delta if self.batches else 0


class Verification:
    """A producer's transaction that the coordinator is asked about, before its first batch is written (KIP-890).

    It ends with that batch, or with the marker of a transaction, so that a batch that was held up in between does not
    begin a transaction that nobody will end.
    """

    __slots__ = ("adds_partitions", "lowest_sequence", "producer_epoch", "timestamp_ms")

    def __init__(self, timestamp_ms: int, sequence: int, epoch: int, adds_partitions: bool) -> None:
        self.timestamp_ms = timestamp_ms
        self.lowest_sequence = sequence
        """Of all batches that wait for the answer: another one cannot be the first."""
        self.producer_epoch = epoch
        self.adds_partitions = adds_partitions
        """The producer leaves it to the broker to add partitions (transaction version 2)."""

    def joined(self, sequence: int, epoch: int) -> None:
        """Another batch waits for the same answer."""
        if epoch > self.producer_epoch or (epoch == self.producer_epoch and sequence < self.lowest_sequence):
            self.producer_epoch = epoch
            self.lowest_sequence = sequence


class CompletedTransaction(NamedTuple):
    """What a marker ended. `last_offset` is the marker's."""

    producer_id: int
    first_offset: int
    last_offset: int
    is_aborted: bool


class _OpenTransaction(NamedTuple):
    producer_id: int
    first_offset: int


class _UnreplicatedTransaction(NamedTuple):
    first_offset: int
    last_offset: int


class ProducerStateManager:
    """The producers of one log, by producer id."""

    def __init__(self, name: str) -> None:
        self._name = name
        """The partition, for messages to clients."""
        self._producers: dict[int, ProducerEntry] = {}
        self._ongoing: dict[int, _OpenTransaction] = {}
        """By first offset, ascending."""
        self._unreplicated: list[_UnreplicatedTransaction] = []
        """Completed, with markers at or above the high watermark."""
        self._verifications: dict[int, Verification] = {}

    def __len__(self) -> int:
        return len(self._producers)

    def entry(self, producer_id: int) -> ProducerEntry | None:
        """What is known about a producer."""
        return self._producers.get(producer_id)

    def active_producers(self) -> list[ProducerEntry]:
        """All that are known, by producer id."""
        return [entry for _, entry in sorted(self._producers.items())]

    def first_unstable_offset(self) -> int | None:
        """Where the first transaction begins that is undecided, or decided above the high watermark only."""
        first = next(iter(self._ongoing), None)
        for transaction in self._unreplicated:
            if first is None or transaction.first_offset < first:
                first = transaction.first_offset
        return first

    def first_undecided_offset(self) -> int | None:
        """Where the first transaction that is going on begins."""
        return next(iter(self._ongoing), None)

    def next_of(
        self, producer_id: int, epoch: int, base_sequence: int, *, is_transactional: bool = False
    ) -> ProducerEntry | None:
        """What is known of the producer, if a batch follows its latest one, as nearly all do.

        Then it is new, and may be written.
        """
        entry = self._producers.get(producer_id)
        if (
            entry is None
            or base_sequence <= 0
            or base_sequence != entry.last_sequence + 1
            or entry.producer_epoch != epoch
            or (entry.txn_first_offset != NO_OFFSET and not is_transactional)
            or producer_id in self._verifications
        ):
            return None
        return entry

    def find_duplicate(self, producer_id: int, epoch: int, base_sequence: int, delta: int) -> ProducerBatch | None:
        """The batch of the window that has this epoch, and first and last sequence."""
        entry = self._producers.get(producer_id)
        if entry is None or entry.producer_epoch != epoch:
            return None
        last_sequence = add_to_sequence(base_sequence, delta)
        for batch in entry.batches:
            if batch.last_sequence == last_sequence and batch.offset_delta == delta:
                return batch
        return None

    def start_verification(
        self, producer_id: int, epoch: int, sequence: int, now_ms: int, *, adds_partitions: bool
    ) -> Verification | None:
        """What a transactional batch has to wait for; None if its transaction is known to be going on here.

        Raises KafkaError INVALID_PRODUCER_EPOCH for an older epoch.
        """
        if self._is_ongoing(producer_id, epoch):
            return None
        verification = self._verifications.get(producer_id)
        if verification is None:
            verification = Verification(now_ms, sequence, epoch, adds_partitions)
            self._verifications[producer_id] = verification
        verification.joined(sequence, epoch)
        return verification

    def end_verification(self, producer_id: int, verification: Verification) -> None:
        """There is no such producer: what was asked about it needs not be kept."""
        if self._verifications.get(producer_id) is verification:
            del self._verifications[producer_id]

    def check_verified(self, producer_id: int, epoch: int, verification: Verification | None) -> None:
        """Raise KafkaError unless a transactional batch belongs to a transaction that goes on, or was verified.

        INVALID_TXN_STATE if `verification` was overtaken by a marker, INVALID_PRODUCER_EPOCH for an older epoch.
        """
        if not self._is_ongoing(producer_id, epoch) and (
            verification is None or self._verifications.get(producer_id) is not verification
        ):
            raise KafkaError(
                ErrorCode.INVALID_TXN_STATE, f"Producer {producer_id} has no transaction going on in {self._name}."
            )

    def _is_ongoing(self, producer_id: int, epoch: int) -> bool:
        entry = self._producers.get(producer_id)
        if entry is None:
            return False
        if epoch < entry.producer_epoch:
            raise KafkaError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"Producer {producer_id} has epoch {epoch} in {self._name}, where {entry.producer_epoch} was seen.",
            )
        return epoch == entry.producer_epoch and entry.txn_first_offset != NO_OFFSET

    def check_data(
        self, producer_id: int, epoch: int, base_sequence: int, offset: int, *, is_transactional: bool, is_client: bool
    ) -> None:
        """Raise KafkaError unless a batch of data may follow. Only a client's sequences are checked.

        INVALID_PRODUCER_EPOCH for an older epoch, OUT_OF_ORDER_SEQUENCE_NUMBER for a gap, INVALID_TXN_STATE for a batch
        outside of the transaction that is going on.
        """
        entry = self._producers.get(producer_id)
        if entry is not None and epoch < entry.producer_epoch:
            raise self._stale_epoch(producer_id, epoch, entry.producer_epoch, offset)
        if is_client and self._verifications:
            self._check_first_sequence(producer_id, entry, base_sequence, offset)
        if entry is None:
            return
        if is_client:
            self._check_sequence(entry, epoch, base_sequence, offset)
        if entry.txn_first_offset != NO_OFFSET and not is_transactional:
            raise KafkaError(
                ErrorCode.INVALID_TXN_STATE,
                f"Producer {producer_id} has a transaction open in {self._name}, and the batch at offset {offset} is "
                "not part of it.",
            )

    def check_marker(
        self, producer_id: int, epoch: int, coordinator_epoch: int, offset: int, transaction_version: int
    ) -> None:
        """Raise KafkaError unless an end transaction marker may follow.

        From transaction version 2 on a marker's epoch must be above the data's (KIP-890), except when the same marker
        comes again, or there is no higher one. INVALID_PRODUCER_EPOCH, or TRANSACTION_COORDINATOR_FENCED for an older
        coordinator.
        """
        entry = self._producers.get(producer_id)
        if entry is None:
            return
        current = entry.producer_epoch
        is_strict = transaction_version >= _FIRST_STRICT_TRANSACTION_VERSION
        is_repeated = is_strict and epoch == current and (entry.txn_first_offset == NO_OFFSET or epoch == _MAX_EPOCH)
        if (epoch <= current if is_strict else epoch < current) and not is_repeated:
            raise self._stale_epoch(producer_id, epoch, current, offset)
        if coordinator_epoch < entry.coordinator_epoch:
            raise KafkaError(
                ErrorCode.TRANSACTION_COORDINATOR_FENCED,
                f"The marker of producer {producer_id} at offset {offset} of {self._name} comes from coordinator epoch "
                f"{coordinator_epoch}, and {entry.coordinator_epoch} was there already.",
            )

    def apply_data(
        self, producer_id: int, epoch: int, last_sequence: int, last_offset: int, offset_delta: int,
        timestamp_ms: int, is_transactional: bool,
    ) -> None:  # fmt: skip
        """A batch of data was written."""
        entry = self._entry(producer_id, epoch)
        batches = entry.batches
        if len(batches) == WINDOW_BATCHES:
            del batches[0]
        batches.append(ProducerBatch(last_sequence, last_offset, offset_delta, timestamp_ms))
        entry.last_timestamp_ms = timestamp_ms
        if is_transactional:
            self._verifications.pop(producer_id, None)
        if is_transactional and entry.txn_first_offset == NO_OFFSET:
            first_offset = last_offset - offset_delta
            entry.txn_first_offset = first_offset
            self._ongoing[first_offset] = _OpenTransaction(producer_id, first_offset)

    def _entry(self, producer_id: int, epoch: int) -> ProducerEntry:
        """What is known of a producer, which is in that epoch now: its batches of another one are forgotten."""
        entry = self._producers.get(producer_id)
        if entry is None:
            entry = self._producers[producer_id] = ProducerEntry(producer_id)
        if epoch != entry.producer_epoch:
            entry.producer_epoch = epoch
            entry.batches.clear()
        return entry

    def apply_run(self, producer_id: int, epoch: int, batches: Sequence[ProducerBatch]) -> None:
        """Several batches of data were written outside of transactions, of which these are the latest."""
        entry = self._entry(producer_id, epoch)
        entry.batches.extend(batches)
        del entry.batches[:-WINDOW_BATCHES]
        entry.last_timestamp_ms = batches[-1].timestamp_ms

    def apply_marker(
        self, producer_id: int, epoch: int, coordinator_epoch: int, offset: int, timestamp_ms: int, *, is_abort: bool
    ) -> CompletedTransaction | None:
        """An end transaction marker was written; what it ended, if a transaction was going on."""
        entry = self._entry(producer_id, epoch)
        verification = self._verifications.get(producer_id)
        if verification is not None and not (verification.adds_partitions and epoch == verification.producer_epoch):
            # With that epoch it is the next transaction's, for the marker has raised the epoch.
            del self._verifications[producer_id]
        first_offset, entry.txn_first_offset = entry.txn_first_offset, NO_OFFSET
        entry.coordinator_epoch = coordinator_epoch
        entry.last_timestamp_ms = timestamp_ms
        if first_offset == NO_OFFSET:
            return None
        return CompletedTransaction(producer_id, first_offset, offset, is_abort)

    def aborted(self, completed: CompletedTransaction) -> AbortedTransaction:
        """The transaction index's entry for an aborted transaction that is not completed yet."""
        undecided = (first for first, txn in self._ongoing.items() if txn.producer_id != completed.producer_id)
        last_stable_offset = next(undecided, completed.last_offset + 1)
        return AbortedTransaction(
            completed.producer_id, completed.first_offset, completed.last_offset, last_stable_offset
        )

    def complete(self, completed: CompletedTransaction) -> None:
        """The transaction is decided; it stays unstable until the high watermark passes its marker."""
        self._ongoing.pop(completed.first_offset, None)
        self._unreplicated.append(_UnreplicatedTransaction(completed.first_offset, completed.last_offset))

    def on_high_watermark(self, high_watermark: int) -> None:
        """Decided transactions with markers below are stable now."""
        if self._unreplicated:
            self._unreplicated = [txn for txn in self._unreplicated if txn.last_offset >= high_watermark]

    def load(self, entries: Iterable[ProducerEntry]) -> None:
        """Begin with a snapshot's content."""
        self.clear()
        for entry in entries:
            self._producers[entry.producer_id] = entry
        opened = (
            _OpenTransaction(entry.producer_id, entry.txn_first_offset)
            for entry in self._producers.values()
            if entry.txn_first_offset != NO_OFFSET
        )
        self._ongoing = {txn.first_offset: txn for txn in sorted(opened, key=lambda txn: txn.first_offset)}

    def clear(self) -> None:
        """Forget all: the log is empty."""
        self._producers.clear()
        self._ongoing.clear()
        self._unreplicated.clear()
        self._verifications.clear()

    def expire(self, now_ms: int, expiration_ms: int) -> None:
        """Forget producers that have not written for `producer.id.expiration.ms` and have no transaction open."""
        expired = [entry for entry in self._producers.values() if is_expired(entry, now_ms, expiration_ms)]
        for entry in expired:
            del self._producers[entry.producer_id]
        given_up = [id_ for id_, asked in self._verifications.items() if now_ms - asked.timestamp_ms >= expiration_ms]
        for producer_id in given_up:
            del self._verifications[producer_id]

    def _check_first_sequence(
        self, producer_id: int, entry: ProducerEntry | None, base_sequence: int, offset: int
    ) -> None:
        """The first batch of a transaction here cannot be one that another was sent before."""
        verification = self._verifications.get(producer_id)
        if verification is None:
            return
        lowest = verification.lowest_sequence
        if verification.adds_partitions and (entry is None or not entry.batches):
            lowest = 0
        if base_sequence > lowest:
            raise KafkaError(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"Producer {producer_id} sent sequence {base_sequence} at offset {offset} of {self._name}, where "
                f"{lowest} is due.",
            )

    def _check_sequence(self, entry: ProducerEntry, epoch: int, base_sequence: int, offset: int) -> None:
        if epoch != entry.producer_epoch:
            if base_sequence != 0 and entry.producer_epoch != NO_EPOCH:
                raise KafkaError(
                    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                    f"Producer {entry.producer_id} begins epoch {epoch} with sequence {base_sequence} at offset "
                    f"{offset} of {self._name}; the epoch before was {entry.producer_epoch}.",
                )
            return
        last = entry.last_sequence
        if base_sequence != last + 1 and not (base_sequence == 0 and last == _MAX_SEQUENCE):
            raise KafkaError(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"Producer {entry.producer_id} sent sequence {base_sequence} at offset {offset} of {self._name}, where "
                f"the last one was {last}.",
            )

    def _stale_epoch(self, producer_id: int, epoch: int, current: int, offset: int) -> KafkaError:
        return KafkaError(
            ErrorCode.INVALID_PRODUCER_EPOCH,
            f"Producer {producer_id} wrote with epoch {epoch} at offset {offset} of {self._name}, where epoch "
            f"{current} was seen.",
        )


def add_to_sequence(sequence: int, increment: int) -> int:
    """`sequence` + `increment`, around 2^31 - 1."""
    total = sequence + increment
    return total if total <= _MAX_SEQUENCE else total - _MAX_SEQUENCE - 1


def is_expired(entry: ProducerEntry, now_ms: int, expiration_ms: int) -> bool:
    """Whether a producer may be forgotten."""
    return entry.txn_first_offset == NO_OFFSET and now_ms - entry.last_timestamp_ms >= expiration_ms
