"""A log beside a list of batches: whatever is done to both, they say the same."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from odradek.storage.log_config import LogConfig
from tests.unit.storage.support import NOW_MS, Disk, check_indexes, read_records

Model = list[tuple[int, list[bytes]]]
"""(base offset, values) of each batch."""


class LogBesideList(RuleBasedStateMachine):
    """Small segments and dense indexes, so that every boundary is met often."""

    @initialize(
        segment_batches=st.integers(1, 6), interval=st.sampled_from([0, 90, 400]), max_open=st.sampled_from([2, 1000])
    )
    def begin(self, segment_batches: int, interval: int, max_open: int) -> None:
        config = LogConfig(segment_bytes=segment_batches * 130, index_interval_bytes=interval)
        self.disk = Disk(config, max_open_files=max_open)
        self.batches: Model = []
        self.end = 0
        self.start = 0
        self.synced = 0

    @rule(count=st.integers(1, 3), timestamp=st.integers(0, 50))
    def append(self, count: int, timestamp: int) -> None:
        values = [b"%d" % (self.end + index) for index in range(count)]
        info = self.disk.append(*values, timestamp_ms=NOW_MS + timestamp)
        assert info.first_offset == self.end
        self.batches.append((self.end, values))
        self.end += count

    @rule()
    def roll(self) -> None:
        self.disk.log.roll()

    @rule()
    def flush(self) -> None:
        self.disk.log.flush()
        self.synced = self.end

    @rule()
    def stop_cleanly(self) -> None:
        self.disk.log.close()
        check_indexes(self.disk)
        self.disk.open(is_clean=True, log_start_offset=self.start, high_watermark=self.end)
        self.synced = self.end

    @rule(data=st.data())
    def crash_in_a_write(self, data: st.DataObject) -> None:
        """The last write tore at any byte, and whatever had not been synced may be cut; then the node comes back."""
        active = self.disk.log.segments.active
        keep = data.draw(st.integers(self._synced_bytes(), active.size), label="bytes that reached the disk")
        file = self.disk.fs.open(active.log.path)
        file.truncate(keep)
        file.close()
        self.disk.open(
            recovery_point=self.disk.log.recovery_point, log_start_offset=self.start, high_watermark=self.end
        )
        self._cut_model(self.disk.log.log_end_offset)
        assert self.end >= self.synced
        assert self.disk.log.segments.active.size <= keep

    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(self.start, self.end), label="truncate to")
        self.disk.log.truncate_to(offset)
        self._cut_model(self.disk.log.log_end_offset)
        self.synced = min(self.synced, self.end)
        assert self.end <= offset

    @rule(data=st.data())
    def delete_records(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(self.start, self.end), label="delete before")
        self.disk.log.delete_records_before(offset)
        self.start = offset

    @rule(data=st.data(), max_bytes=st.integers(1, 1000))
    def read(self, data: st.DataObject, max_bytes: int) -> None:
        offset = data.draw(st.integers(self.start, self.end), label="read from")
        assert read_records(self.disk.log, offset, max_bytes) == self._expected(offset)

    @invariant()
    def offsets_agree(self) -> None:
        log = self.disk.log
        assert (log.log_start_offset, log.log_end_offset) == (self.start, self.end)
        assert self.start <= log.high_watermark <= self.end
        assert log.recovery_point <= self.end
        assert not self.disk.failures

    def teardown(self) -> None:
        if hasattr(self, "disk"):
            assert read_records(self.disk.log, self.start) == self._expected(self.start)
            self.disk.log.close()
            check_indexes(self.disk)

    def _expected(self, offset: int) -> list[tuple[int, bytes | None]]:
        records = [(base + index, value) for base, values in self.batches for index, value in enumerate(values)]
        return [(number, value) for number, value in records if number >= offset]

    def _cut_model(self, end: int) -> None:
        self.batches = [(base, values) for base, values in self.batches if base + len(values) <= end]
        self.end = end
        assert not self.batches or self.batches[-1][0] + len(self.batches[-1][1]) == end or end >= self.start

    def _synced_bytes(self) -> int:
        """Bytes of the active segment that a sync has covered."""
        active = self.disk.log.segments.active
        located = active.locate(max(self.synced, self.disk.log.recovery_point))
        return active.size if located is None else located.position


TestLogBesideList = LogBesideList.TestCase
TestLogBesideList.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
