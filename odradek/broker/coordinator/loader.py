"""Reading a shard's state from its log, a slice of time at once."""

from __future__ import annotations

from collections.abc import Callable

from odradek.broker.coordinator.batches import RecordCodec, replay_batch
from odradek.broker.coordinator.result import StateMachine
from odradek.broker.coordinator.timeline import Timeline
from odradek.broker.coordinator.writer import PartitionWriter
from odradek.ports import Clock, Promise, Scheduler
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ProtocolError
from odradek.wire.records.header import iter_batches

SLICE_MS = 1.0
"""How long one turn of loading may keep the thread from other work."""


class ShardLoader:
    """Replays one partition from its start to its end into a fresh state machine.

    `finished(None)` is called once, or `finished(error)`; not at all after `cancel`.
    """

    def __init__(
        self,
        *,
        partition: TopicPartition,
        machine: StateMachine,
        timeline: Timeline,
        writer: PartitionWriter,
        codec: RecordCodec,
        clock: Clock,
        scheduler: Scheduler,
        buffer_bytes: int,
        finished: Callable[[Exception | None], None],
    ) -> None:
        self._partition = partition
        self._machine = machine
        self._timeline = timeline
        self._writer = writer
        self._codec = codec
        self._clock = clock
        self._scheduler = scheduler
        self._buffer_bytes = buffer_bytes
        self._finished = finished
        self._cancelled = False
        self._buffer = memoryview(b"")
        self._position = 0
        self._at_end = False

    def start(self) -> None:
        """Begin in this thread's next turn."""
        self._scheduler.call_soon(self._begin)

    def cancel(self) -> None:
        """Stop without a word."""
        self._cancelled = True

    def _begin(self) -> None:
        if self._cancelled:
            return
        try:
            offsets = self._writer.offsets(self._partition)
        except Exception as error:  # noqa: BLE001 - handed on as the outcome of loading
            self._finished(error)
            return
        self._timeline.commit(offsets.high_watermark)
        self._timeline.next_offset = offsets.log_start
        self._read()

    def _read(self) -> None:
        try:
            end = self._writer.offsets(self._partition).log_end
            if self._timeline.next_offset >= end:
                self._finished(None)
                return
            chunk = self._writer.read(self._partition, self._timeline.next_offset, self._buffer_bytes)
        except Exception as error:  # noqa: BLE001 - handed on as the outcome of loading
            self._finished(error)
            return
        chunk.on_done(self._loaded)

    def _loaded(self, chunk: Promise[bytes]) -> None:
        if self._cancelled:
            return
        try:
            self._buffer, self._position = memoryview(chunk.result()), 0
            if not self._buffer:
                self._finished(None)
                return
            self._replay()
        except Exception as error:  # noqa: BLE001 - handed on as the outcome of loading
            self._finished(error)

    def _continue(self) -> None:
        if self._cancelled:
            return
        try:
            self._replay()
        except Exception as error:  # noqa: BLE001 - handed on as the outcome of loading
            self._finished(error)

    def _replay(self) -> None:
        until_ms = self._clock.monotonic_ms() + SLICE_MS
        for position, header in iter_batches(self._buffer, self._position):
            size_bytes = header.size_bytes
            self._timeline.next_offset = header.base_offset
            replay_batch(self._machine, self._codec, self._buffer[position : position + size_bytes], header)
            self._timeline.next_offset = header.next_offset
            self._position = position + size_bytes
            if self._clock.monotonic_ms() >= until_ms:
                self._scheduler.call_soon(self._continue)
                return
        if self._position == 0:
            raise ProtocolError(f"no batch at offset {self._timeline.next_offset} of {self._partition}")
        self._scheduler.call_soon(self._next_chunk)

    def _next_chunk(self) -> None:
        if not self._cancelled:
            self._read()
