"""A small consumer's fetching: rounds of requests to the leaders of its partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from odradek.cli.offsets import EARLIEST, LATEST, list_offsets
from odradek.cli.session import check
from odradek.net.client import RETRY_MS, Client
from odradek.wire import ErrorCode
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData
from odradek.wire.messages.metadata import MetadataResponseTopic
from odradek.wire.records.batch import iter_records
from odradek.wire.records.control import ControlType
from odradek.wire.records.header import BatchHeader, iter_batches
from odradek.wire.records.record import Record

MAX_WAIT_MS = 500
MAX_BYTES = 50 * 1024 * 1024
PARTITION_MAX_BYTES = 1024 * 1024
READ_COMMITTED = 1
CONSUMER = -1

_ABORT = int(ControlType.ABORT).to_bytes(2, "big")


class Consumed(NamedTuple):
    """A record and the partition that it came from."""

    partition: int
    record: Record


class Fetcher:
    """Reads partitions of one topic; `positions` holds the next offset of each and may be changed."""

    def __init__(self, client: Client, topic: str, *, from_beginning: bool) -> None:
        self.positions: dict[int, int] = {}
        self._client = client
        self._name = topic
        self._reset_to = EARLIEST if from_beginning else LATEST
        self._topic: MetadataResponseTopic | None = None

    async def locate(self) -> MetadataResponseTopic:
        """Ask for the topic's leaders; raises KafkaError if there is no such topic."""
        found = (await self._client.metadata([self._name])).topics[0]
        check(found.error_code, f"no topic {self._name} here" if found.error_code else None)
        self._topic = found
        return found

    async def assign(self, partitions: Iterable[int], offsets: Mapping[int, int]) -> None:
        """Read these partitions, from `offsets` on, elsewhere from the beginning or the end."""
        topic = self._topic or await self.locate()
        wanted = sorted(partitions)
        missing = [number for number in wanted if number not in offsets]
        known = {each.partition_index for each in topic.partitions}
        if any(number not in known for number in wanted):
            check(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{self._name} has partitions 0 to {len(known) - 1}")
        found = await list_offsets(self._client, topic, self._reset_to, missing) if missing else {}
        self.positions = {number: offsets[number] if number in offsets else found[number] for number in wanted}

    async def fetch(self) -> list[Consumed]:
        """The next records, after at most `MAX_WAIT_MS` without any. Moves the positions past them."""
        topic = self._topic or await self.locate()
        leaders = {each.partition_index: each.leader_id for each in topic.partitions}
        by_leader: dict[int, list[int]] = {}
        for number in self.positions:
            by_leader.setdefault(leaders[number], []).append(number)
        if not by_leader:
            await asyncio.sleep(MAX_WAIT_MS / 1000)
        rounds = (self._fetch_from(topic, leader, numbers) for leader, numbers in by_leader.items())
        return [consumed for part in await asyncio.gather(*rounds) for consumed in part]

    async def _fetch_from(self, topic: MetadataResponseTopic, leader: int, numbers: list[int]) -> list[Consumed]:
        asked = [
            FetchPartition(
                partition=number, fetch_offset=self.positions[number], partition_max_bytes=PARTITION_MAX_BYTES
            )
            for number in numbers
        ]
        request = FetchRequest(
            replica_id=CONSUMER,
            max_wait_ms=MAX_WAIT_MS,
            min_bytes=1,
            max_bytes=MAX_BYTES,
            isolation_level=READ_COMMITTED,
            topics=[FetchTopic(topic=self._name, topic_id=topic.topic_id, partitions=asked)],
        )
        response = await self._client.send(request, FetchResponse, node_id=leader)
        check(response.error_code)
        consumed: list[Consumed] = []
        for part in response.responses[0].partitions if response.responses else ():
            if part.error_code:
                await self._recover(part)
            elif part.partition_index in self.positions:
                consumed += self._records(part)
        return consumed

    async def _recover(self, part: PartitionData) -> None:
        code = ErrorCode(part.error_code)
        if code is ErrorCode.OFFSET_OUT_OF_RANGE:
            topic = self._topic or await self.locate()
            self.positions |= await list_offsets(self._client, topic, self._reset_to, [part.partition_index])
        elif code.retriable:
            await asyncio.sleep(RETRY_MS / 1000)
            await self.locate()
        else:
            check(code)

    def _records(self, part: PartitionData) -> list[Consumed]:
        if not isinstance(part.records, (bytes, bytearray, memoryview)):
            return []
        number = part.partition_index
        aborted = AbortedTransactions(part)
        consumed: list[Consumed] = []
        for position, header in iter_batches(part.records):
            batch = memoryview(part.records)[position : position + header.size_bytes]
            if not aborted.hides(header, batch):
                fresh = (record for record in iter_records(batch) if record.offset >= self.positions[number])
                consumed += [Consumed(number, record) for record in fresh]
            self.positions[number] = max(self.positions[number], header.next_offset)
        return consumed


class AbortedTransactions:
    """What a consumer must not see: control batches, and those of the aborted transactions that a response lists."""

    def __init__(self, part: PartitionData) -> None:
        self._begins = sorted((each.first_offset, each.producer_id) for each in part.aborted_transactions or ())
        self._open: set[int] = set()

    def hides(self, header: BatchHeader, batch: memoryview) -> bool:
        """Call for each batch in its order."""
        while self._begins and self._begins[0][0] <= header.last_offset:
            self._open.add(self._begins.pop(0)[1])
        if header.is_control:
            for record in iter_records(batch):
                if record.key is not None and record.key[2:4] == _ABORT:
                    self._open.discard(header.producer_id)
            return True
        return header.is_transactional and header.producer_id in self._open
