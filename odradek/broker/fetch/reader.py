"""Reads the partitions of one fetch under the limits of one response (KIP-74)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from odradek.broker.fetch.session import FetchedPartition, PartitionKey, size_of
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Isolation, Partition
from odradek.broker.replication.replica_selector import ReadingClient
from odradek.ports import Slices
from odradek.ports.network import FileRange
from odradek.storage.log import Log
from odradek.storage.segment import ColdLookupError
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.fetch import AbortedTransaction, EpochEndOffset, LeaderIdAndEpoch, PartitionData

_log = logging.getLogger(__name__)

UNKNOWN_OFFSET = -1
_NOTHING_TO_READ = (ErrorCode.UNKNOWN_TOPIC_ID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
CONSUMER = -1
"""The replica id of whoever is no replica."""


@dataclass(slots=True)
class FetchOptions:
    """What holds for the whole request. Sizes in bytes."""

    max_bytes: int
    isolation: Isolation
    replica_id: int = CONSUMER
    tells_leaders: bool = False
    """Whether the response has a place for who leads instead (KIP-951)."""
    waits: bool = True
    """Whether look-ups may wait for a disk; else they are told of in `FetchRead.unprepared`."""
    replica_epoch: int = -1
    """The broker epoch of a replica that fetches, -1 if it does not say."""
    notes_progress: bool = True
    """Whether the fetch says where a replica's log ends now: not when it is read again after it has waited."""
    only_leader: bool = True
    """Whether followers must not answer: to replicas, and to consumers of before KIP-392."""
    client: ReadingClient | None = None
    """A consumer that may be sent to a replica nearby (KIP-392)."""


@dataclass(slots=True)
class FetchRead:
    """One pass over the partitions: a response for each, bytes read, and whether there is a reason not to wait."""

    responses: list[tuple[FetchedPartition, PartitionData]]
    size: int = 0
    answer_now: bool = False
    refused: list[tuple[FetchedPartition, PartitionData]] = field(default_factory=list)
    """What there is nothing to read of: told behind all that was read."""
    unprepared: list[Callable[[], None]] = field(default_factory=list)
    """What to run on another thread before these partitions are read again: some need a disk to be looked up."""

    def add_refused(self) -> None:
        """Put what was refused behind the rest, unknown topic ids first."""
        if self.refused:
            self.refused.sort(key=lambda each: each[1].error_code != ErrorCode.UNKNOWN_TOPIC_ID)
            self.responses += self.refused


class FetchReader:
    """Turns fetched partitions into response partitions."""

    def __init__(self, replicas: ReplicaManager) -> None:
        self._replicas = replicas
        self._local = replicas.partitions
        self._image = replicas.image
        self._names: dict[PartitionKey, TopicPartition] = {}
        """By topic id, as they were asked for since `_image` has been the metadata."""

    def resolve(self, fetched: FetchedPartition) -> TopicPartition | None:
        """The partition's name; None for a topic id that nobody has."""
        key = fetched.key
        topic, index = key
        if not isinstance(topic, bytes):
            return TopicPartition(topic, index)
        replicas = self._replicas
        if replicas.image is not self._image:
            self._image = replicas.image
            self._names.clear()
        name = self._names.get(key)
        if name is None:
            topic_name = replicas.topic_name(topic)
            if topic_name is None:
                return None
            name = TopicPartition(topic_name, index)
            if name in replicas.partitions:
                self._names[key] = name
        return name

    def read(self, partitions: Iterable[FetchedPartition], options: FetchOptions) -> FetchRead:
        """Read each partition in turn; the first data is returned even if it is larger than every limit."""
        result = FetchRead([])
        is_replica = options.replica_id >= 0
        for fetched in partitions:
            if not (is_replica and self._is_caught_up(fetched, options)):
                self._add_partition(fetched, options, result)
        result.add_refused()
        return result

    def count_sent(self, read: FetchRead) -> None:
        """What was read goes to a replica, and counts for the quotas of those that are throttled."""
        for fetched, response in read.responses:
            size = size_of(response)
            name = self.resolve(fetched) if size else None
            partition = None if name is None else self._replicas.partitions.get(name)
            if partition is not None:
                self._replicas.sent_to_replica(partition, size)

    async def read_many(
        self, partitions: Iterable[FetchedPartition], options: FetchOptions, slices: Slices
    ) -> FetchRead:
        """`read`, giving way to others in between."""
        result = FetchRead([])
        async for fetched in slices.each(partitions):
            self._add_partition(fetched, options, result)
        result.add_refused()
        return result

    def _add_partition(self, fetched: FetchedPartition, options: FetchOptions, result: FetchRead) -> None:
        try:
            response = self._read_partition(fetched, options, result)
        except ColdLookupError as cold:
            result.unprepared.append(cold.prepare)
            return
        except KafkaError as error:
            result.answer_now = True
            if error.code in _NOTHING_TO_READ:
                result.refused.append((fetched, refused_partition(fetched, error.code)))
                return
            response = self._failed(fetched, error, options)
        except Exception:  # noqa: BLE001 - logged with its traceback; the other partitions are still answered
            _log.exception("reading partition %d of %s failed unexpectedly", fetched.key[1], fetched.key[0])
            result.answer_now = True
            response = failed_partition(fetched, ErrorCode.UNKNOWN_SERVER_ERROR)
        if response is not None:
            result.responses.append((fetched, response))

    def _read_partition(
        self, fetched: FetchedPartition, options: FetchOptions, result: FetchRead
    ) -> PartitionData | None:
        name = self.resolve(fetched)
        if name is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
        partition = self._replicas.partition(name)
        if options.replica_id >= 0:
            return self._read_for_replica(partition, fetched, options, result)
        log = partition.readable_log(fetched.current_leader_epoch, only_leader=options.only_leader)
        response = _response(name, log, log.high_watermark)
        if options.client is not None and partition.leadership is not None:
            preferred = self._replicas.preferred_read_replica(partition, options.client, fetched.fetch_offset)
            if preferred is not None:
                response.preferred_read_replica = preferred
                result.answer_now = True
                return response
        diverging = self._divergence(log, fetched)
        if diverging is not None:
            response.diverging_epoch = diverging
            result.answer_now = True
            return response
        part = log.read(
            fetched.fetch_offset,
            max_bytes=max(0, min(fetched.max_bytes, options.max_bytes - result.size)),
            max_offset=partition.readable_end(options.isolation),
            min_one_message=result.size == 0,
            waits=options.waits,
        )
        response.records = part.records
        if options.isolation is Isolation.READ_COMMITTED and not part.first_entry_incomplete:
            response.aborted_transactions = [
                AbortedTransaction(producer_id=aborted.producer_id, first_offset=aborted.first_offset)
                for aborted in log.aborted_in(part, fetched.fetch_offset)
            ]
        result.size += part.size
        return response

    def _is_caught_up(self, fetched: FetchedPartition, options: FetchOptions) -> bool:
        """Whether there is nothing to tell a replica, whose fetch is noted then: the quick way for most partitions.

        Whatever is unusual goes the long way, which says the same of all others.
        """
        if self._replicas.image is not self._image:
            return False
        name = self._names.get(fetched.key)
        partition = None if name is None else self._local.get(name)
        if partition is None or fetched.current_leader_epoch != partition.leader_epoch:
            return False
        log, leadership = partition.log, partition.leadership
        if log is None or leadership is None:
            return False
        end_offset = log.log_end_offset
        if fetched.fetch_offset != end_offset or fetched.is_news(log.high_watermark, log.log_start_offset):
            return False
        follower = leadership.followers.get(options.replica_id)
        if follower is None or fetched.last_fetched_epoch != log.leader_epochs.latest_epoch:
            return False
        if options.notes_progress:
            try:
                partition.follower_fetched(
                    follower, end_offset, fetched.log_start_offset, end_offset, options.replica_epoch
                )
            except KafkaError:
                return False
        return True

    def _read_for_replica(
        self, partition: Partition, fetched: FetchedPartition, options: FetchOptions, result: FetchRead
    ) -> PartitionData | None:
        """What a replica on another broker gets, whose fetch says how far it is; None if that is nothing new.

        The high watermark is that of before, which its fetch may move.
        """
        log = partition.leader_log(fetched.current_leader_epoch)
        follower = partition.follower(options.replica_id, fetched.current_leader_epoch)
        high_watermark, end_offset = log.high_watermark, log.log_end_offset
        diverging = self._divergence(log, fetched)
        if diverging is not None:
            response = _response(partition.topic_partition, log, high_watermark)
            response.diverging_epoch = diverging
            result.answer_now = True
            return response
        part = None
        if fetched.fetch_offset != end_offset and not self._replicas.is_held_back(partition, options.replica_id):
            part = log.read(
                fetched.fetch_offset,
                max_bytes=max(0, min(fetched.max_bytes, options.max_bytes - result.size)),
                max_offset=end_offset,
                min_one_message=result.size == 0,
                waits=options.waits,
            )
        if options.notes_progress:
            try:
                partition.follower_fetched(
                    follower, fetched.fetch_offset, fetched.log_start_offset, end_offset, options.replica_epoch
                )
            except KafkaError:
                if part is not None and not isinstance(part.records, bytes):
                    part.records.release()
                raise
        if part is None and not fetched.is_news(high_watermark, log.log_start_offset):
            return None  # which its session would not tell it anyway
        response = _response(partition.topic_partition, log, high_watermark)
        if part is not None:
            response.records = part.records
            result.size += part.size
        return response

    @staticmethod
    def _divergence(log: Log, fetched: FetchedPartition) -> EpochEndOffset | None:
        """Where the reader's log parted from ours, if the epoch it fetched last ends elsewhere here (KIP-595)."""
        if fetched.last_fetched_epoch < 0:
            return None
        epoch, end_offset = log.leader_epochs.end_offset_for(fetched.last_fetched_epoch, log.log_end_offset)
        if epoch < 0 or end_offset < 0 or fetched.fetch_offset < log.log_start_offset:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        if epoch < fetched.last_fetched_epoch or end_offset < fetched.fetch_offset:
            return EpochEndOffset(epoch=epoch, end_offset=end_offset)
        return None

    def _failed(self, fetched: FetchedPartition, error: KafkaError, options: FetchOptions) -> PartitionData:
        response = failed_partition(fetched, error.code)
        if not options.tells_leaders:
            return response
        name = self.resolve(fetched)
        topic = None if name is None else self._replicas.image.topics.by_name.get(name.topic)
        partition = None if topic is None or name is None else topic.partitions.get(name.partition)
        if partition is not None and error.code in (
            ErrorCode.NOT_LEADER_OR_FOLLOWER,
            ErrorCode.FENCED_LEADER_EPOCH,
        ):
            response.current_leader = LeaderIdAndEpoch(leader_id=partition.leader, leader_epoch=partition.leader_epoch)
        return response


def _response(name: TopicPartition, log: Log, high_watermark: int) -> PartitionData:
    return PartitionData(
        partition_index=name.partition,
        high_watermark=high_watermark,
        last_stable_offset=log.last_stable_offset,
        log_start_offset=log.log_start_offset,
        aborted_transactions=None,
        records=b"",
    )


def refused_partition(fetched: FetchedPartition, code: ErrorCode) -> PartitionData:
    """The response partition of what was not even tried to read: its aborted transactions are none, not unknown."""
    response = failed_partition(fetched, code)
    response.aborted_transactions = []
    return response


def failed_partition(fetched: FetchedPartition, code: ErrorCode) -> PartitionData:
    """The response partition that carries an error and nothing else."""
    return PartitionData(
        partition_index=fetched.key[1],
        error_code=code,
        high_watermark=UNKNOWN_OFFSET,
        aborted_transactions=None,
        records=b"",
    )


def release_records(response: PartitionData) -> None:
    """Give back the file range of a response that will not be sent."""
    if response.records is not None:
        release(response.records)
    response.records = b""


def release(records: object) -> None:
    """Give back a file range that will not be sent; what is in memory needs nothing."""
    if not isinstance(records, bytes | bytearray | memoryview):
        range_: FileRange = records  # type: ignore[assignment] # storage's RecordsSource is a FileRange
        range_.release()
