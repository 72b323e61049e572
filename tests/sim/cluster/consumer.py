"""A consumer that reads what is committed in all partitions of a topic, without a group."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import cast

from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData
from odradek.wire.records.batch import iter_records
from odradek.wire.records.header import crc_is_valid, iter_batches, parse_header
from tests.sim.cluster.client import Client
from tests.sim.cluster.named import EPOCHS, NOTHING_LOST
from tests.sim.cluster.recorder import Outcome, Poll, Recorder

MAX_BYTES = 256 * 1024
READ_COMMITTED = 1


@lru_cache(10_000)
def _read(batch: bytes) -> tuple[bool, tuple[tuple[int, int], ...]]:
    """Whether the checksum is right, and offset and value of each record: most batches are read several times."""
    records = () if parse_header(batch).is_control else iter_records(batch)
    return crc_is_valid(batch), tuple((record.offset, int(record.value or b"-1")) for record in records)


class Consumer:
    """Polls one leader after the other."""

    def __init__(
        self,
        client: Client,
        partitions: int,
        pause_ms: float,
        recorder: Recorder,
        on_violation: Callable[[str, str], None],
    ) -> None:
        self.client = client
        self.positions = dict.fromkeys(range(partitions), 0)
        self.ends = dict.fromkeys(range(partitions), -1)
        """The high watermarks that were seen last."""
        self.read_epochs: dict[int, int] = {}
        """The leader epochs of the batches that were read last."""
        self.max_wait_ms = 300
        self._pause_ms = pause_ms
        self._recorder = recorder
        self._on_violation = on_violation
        self.name = client.process.name
        """Of the process in the history."""
        self.on_read: Callable[[int, int, int], None] = lambda _partition, _start, _end: None
        """Called with a partition and the offsets that were read, whether they had records or not."""
        self._turn = 0

    async def run(self) -> None:
        """For ever."""
        client = self.client
        await client.refresh()
        failures = 0
        while True:
            if await self.poll():
                failures = 0
                await client.sleep(self._pause_ms * 2 * client.random.random())
            else:
                await client.back_off(failures)
                failures += 1
                await client.refresh()

    async def poll(self) -> bool:
        """One request; returns whether all went well."""
        client = self.client
        leaders = {partition: leader for partition, leader in client.leaders.items() if partition in self.positions}
        nodes = sorted(dict.fromkeys(leader.node_id for leader in leaders.values()))
        if not nodes:
            return False
        self._turn += 1
        node_id = nodes[self._turn % len(nodes)]
        wanted = [
            FetchPartition(
                partition=partition,
                current_leader_epoch=leader.epoch,
                fetch_offset=self.positions[partition],
                partition_max_bytes=MAX_BYTES,
            )
            for partition, leader in leaders.items()
            if leader.node_id == node_id
        ]
        request = FetchRequest(
            max_wait_ms=self.max_wait_ms,
            min_bytes=1,
            isolation_level=READ_COMMITTED,
            max_bytes=MAX_BYTES,
            topics=[FetchTopic(topic=client.topic, topic_id=client.topic_id, partitions=wanted)],
        )
        operation = self._recorder.invoke(self.name, "poll")
        try:
            response = await client.ask(node_id, request, FetchResponse)
        except KafkaError:
            self._recorder.end(operation, Outcome.INFO, ())
            return False
        polled: dict[str, tuple[tuple[int, int], ...]] = {}
        epochs = {asked.partition: asked.current_leader_epoch for asked in wanted}
        is_ok = response.error_code == ErrorCode.NONE
        for topic in response.responses:
            for answer in topic.partitions:
                is_ok &= self._take(answer, epochs[answer.partition_index], polled)
        self._recorder.requests += is_ok
        self._recorder.end(operation, Outcome.OK, [Poll(polled)])
        return is_ok and len(leaders) == len(self.positions)

    def _take(self, answer: PartitionData, epoch: int, polled: dict[str, tuple[tuple[int, int], ...]]) -> bool:
        partition = answer.partition_index
        name = f"{self.client.topic}-{partition}"
        position = start = self.positions[partition]
        if answer.error_code == ErrorCode.OFFSET_OUT_OF_RANGE:
            self._on_violation(
                NOTHING_LOST,
                f"{self.name}: offset {position} of {name}, up to which all was read, is no more",
            )
        if answer.error_code:
            return False
        self.ends[partition] = answer.high_watermark
        records: list[tuple[int, int]] = []
        data = cast("memoryview | None", answer.records)
        if data is not None:
            aborted = sorted((entry.first_offset, entry.producer_id) for entry in answer.aborted_transactions or ())
            left_out: dict[int, None] = {}
            for at, header in iter_batches(data):
                batch = data[at : at + header.size_bytes]
                if header.leader_epoch > epoch:
                    self._on_violation(
                        EPOCHS,
                        f"{self.name}: {name} was asked in epoch {epoch} and answers with offset "
                        f"{header.base_offset} of epoch {header.leader_epoch}",
                    )
                is_valid, values = _read(bytes(batch))
                if not is_valid:
                    self._on_violation(
                        NOTHING_LOST, f"{name}: the batch at offset {header.base_offset} does not match its checksum"
                    )
                while aborted and aborted[0][0] <= header.last_offset:
                    left_out[aborted.pop(0)[1]] = None
                if header.is_control:
                    left_out.pop(header.producer_id, None)
                elif not (header.is_transactional and header.producer_id in left_out):
                    records += [each for each in values if each[0] >= position]
                position = header.base_offset + header.last_offset_delta + 1
                self.read_epochs[partition] = header.leader_epoch
        if records:
            polled[name] = tuple(records)
        self.positions[partition] = position
        if position > start:
            self.on_read(partition, start, position)
        return True
