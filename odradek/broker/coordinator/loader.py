"""Reading a shard's state from its log, a slice of time at once."""

from __future__ import annotations

from collections.abc import Callable

from odradek.broker.coordinator.batches import RecordCodec, replay_batch
from odradek.broker.coordinator.result import StateMachine
from odradek.broker.coordinator.timeline import Timeline
from odradek.broker.coordinator.writer import PartitionWriter
from odradek.ports import Clock, Promise, Scheduler, Slices, Turns, spawn
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ProtocolError
from odradek.wire.records.header import iter_batches

RECORDS_AT_ONCE = 8
"""Records of a batch that are replayed between two looks at the clock."""


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

    def start(self) -> None:
        """Begin in this thread's next turn."""
        self._scheduler.call_soon(self._begin)

    def cancel(self) -> None:
        """Stop without a word."""
        self._cancelled = True

    def _begin(self) -> None:
        if not self._cancelled:
            spawn(self._load()).on_done(self._ended)

    def _ended(self, loading: Promise[None]) -> None:
        if not self._cancelled:
            error = loading.error
            assert error is None or isinstance(error, Exception)
            self._finished(error)

    async def _load(self) -> None:
        """Replay everything up to the log's end, also what is appended meanwhile."""
        turns = Turns(self._clock, self._scheduler)
        timeline = self._timeline
        offsets = self._writer.offsets(self._partition)
        timeline.commit(offsets.high_watermark)
        timeline.next_offset = offsets.log_start
        while timeline.next_offset < self._writer.offsets(self._partition).log_end:
            chunk = await self._writer.read(self._partition, timeline.next_offset, self._buffer_bytes)
            if not chunk or self._cancelled:
                return
            await self._replay(memoryview(chunk), turns)
            if self._cancelled:
                return
            await turns.next()

    async def _replay(self, chunk: memoryview, turns: Turns) -> None:
        timeline = self._timeline
        slices = Slices(turns)
        is_empty = True
        for position, header in iter_batches(chunk, 0):
            is_empty = False
            timeline.next_offset = header.base_offset
            batch = chunk[position : position + header.size_bytes]
            for number, _ in enumerate(replay_batch(self._machine, self._codec, batch, header), 1):
                if number % RECORDS_AT_ONCE == 0:
                    await slices.pause()
                    if self._cancelled:
                        return
            timeline.next_offset = header.next_offset
            await slices.pause()
            if self._cancelled:
                return
        if is_empty:
            raise ProtocolError(f"no batch at offset {timeline.next_offset} of {self._partition}")
