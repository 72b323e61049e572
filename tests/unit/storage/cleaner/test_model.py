"""A log that is cleaned again and again beside all that was ever written to it."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from odradek.storage.cleaner.plan import CleanerLimits
from odradek.storage.log_config import LogConfig
from odradek.wire.records.compression import Codec
from odradek.wire.records.record import Record
from tests.unit.storage.cleaner.support import CompactedDisk, Producer, all_records, committed_records, decoded, latest
from tests.unit.storage.support import check_indexes

KEYS = st.sampled_from("abcdefgh")
PAIRS = st.lists(st.tuples(KEYS, st.one_of(st.none(), st.text("xyz", max_size=3))), min_size=1, max_size=4)
CODECS = st.sampled_from(list(Codec))
WRITERS = st.integers(1, 3)


class CleanedLogBesideHistory(RuleBasedStateMachine):
    """Small segments, small maps of keys, a few producers with transactions, tombstones that soon go."""

    @initialize(segment_bytes=st.sampled_from([300, 700, 2000]), retention_ms=st.sampled_from([0, 50, 10_000]))
    def begin(self, segment_bytes: int, retention_ms: int) -> None:
        config = LogConfig(
            cleanup_policy=("compact",), segment_bytes=segment_bytes, index_interval_bytes=100,
            delete_retention_ms=retention_ms,
        )  # fmt: skip
        self.disk = CompactedDisk(config)
        self.written: dict[int, Record] = {}
        self.committed: list[Record] = []
        """In the order of their offsets, as far as they are decided."""
        self.open: dict[int, list[Record]] = {}
        self.sequences: dict[int, int] = {}
        self.aborted: set[int] = set()
        self.round = 0

    @rule(pairs=PAIRS, codec=CODECS, gap=st.integers(0, 3))
    def write(self, pairs: list[tuple[str, str | None]], codec: Codec, gap: int) -> None:
        self.committed += self._append(pairs, Producer(), codec, gap)

    @rule(pairs=PAIRS, producer=WRITERS, codec=CODECS)
    def write_in_transaction(self, pairs: list[tuple[str, str | None]], producer: int, codec: Codec) -> None:
        sequence = self.sequences.get(producer, 0)
        self.sequences[producer] = sequence + len(pairs)
        records = self._append(pairs, Producer(producer, 0, sequence, is_transactional=True), codec, 1)
        self.open.setdefault(producer, []).extend(records)

    @rule(producer=WRITERS, commit=st.booleans())
    def end_transaction(self, producer: int, commit: bool) -> None:
        if producer not in self.open:
            return
        records = self.open.pop(producer)
        self.disk.marker(producer, 0, commit=commit)
        if commit:
            self.committed += records
        else:
            self.aborted.update(record.offset for record in records)

    @rule()
    def roll(self) -> None:
        self.disk.roll()

    @rule(milliseconds=st.sampled_from([1, 60, 20_000]))
    def wait(self, milliseconds: int) -> None:
        self.disk.clock.advance(milliseconds)

    @rule(slots=st.sampled_from([3, 6, 1000]))
    def clean(self, slots: int) -> None:
        if len(self.disk.log.segments) == 1 or self.disk.look().cleanable_bytes == 0:
            return
        before = self.disk.log.cleaned_offset or 0
        result = self.disk.clean(CleanerLimits(slots * 24, load_factor=0.9, io_buffer_bytes=150))
        assert before < result.end_offset <= self.disk.log.last_stable_offset
        self.round += 1

    @rule(is_clean=st.booleans(), keep_snapshots=st.booleans())
    def start_again(self, is_clean: bool, keep_snapshots: bool) -> None:
        log = self.disk.log
        end, cleaned, start = log.log_end_offset, log.cleaned_offset, log.log_start_offset
        log.close()
        if not keep_snapshots:
            for name in self.disk.names():
                if name.endswith(".snapshot"):
                    self.disk.fs.remove(f"{self.disk.directory}/{name}")
        self.disk.open(is_clean=is_clean, recovery_point=end, log_start_offset=start, high_watermark=end)
        self.disk.log.cleaned_offset = cleaned
        assert self.disk.log.log_end_offset == end

    @invariant()
    def records_are_those_that_were_written(self) -> None:
        for record in all_records(self.disk.log):
            assert record == self.written[record.offset]

    @invariant()
    def consumers_see_the_same_table(self) -> None:
        stable = self.disk.log.last_stable_offset
        visible = sorted((record for record in self.committed if record.offset < stable), key=lambda r: r.offset)
        assert latest(committed_records(self.disk.log)) == latest(visible)

    @invariant()
    def nothing_superseded_or_aborted_is_left_where_it_is_clean(self) -> None:
        cleaned = self.disk.log.cleaned_offset or 0
        keys = [decoded(record)[0] for record in committed_records(self.disk.log) if record.offset < cleaned]
        assert len(keys) == len(set(keys))
        assert not [r for r in all_records(self.disk.log) if r.offset in self.aborted and r.offset < cleaned]

    @invariant()
    def producers_go_on_where_they_were(self) -> None:
        for producer, sequence in self.sequences.items():
            entry = self.disk.log.producers.entry(producer)
            assert entry is not None
            assert (entry.last_sequence, entry.producer_epoch) == (sequence - 1, 0)
            assert (entry.txn_first_offset >= 0) == (producer in self.open)

    def teardown(self) -> None:
        if hasattr(self, "disk"):
            self.disk.log.close()
            check_indexes(self.disk)

    def _append(self, pairs: list[tuple[str, str | None]], producer: Producer, codec: Codec, gap: int) -> list[Record]:
        now_ms = self.disk.clock.now_ms()
        times = [now_ms + gap * index for index in range(len(pairs))]
        info = self.disk.write(*pairs, producer=producer, codec=codec, timestamps_ms=times)
        records = [
            Record(info.first_offset + index, times[index], key.encode(), None if value is None else value.encode())
            for index, (key, value) in enumerate(pairs)
        ]
        self.written.update((record.offset, record) for record in records)
        return records


TestCleanedLogBesideHistory = CleanedLogBesideHistory.TestCase
TestCleanedLogBesideHistory.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
