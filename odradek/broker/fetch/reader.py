"""Reads the partitions of one fetch under the limits of one response (KIP-74)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from odradek.broker.fetch.session import FetchedPartition
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Isolation, Partition
from odradek.ports import Slices
from odradek.storage.segment import ColdLookupError
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.fetch import AbortedTransaction, EpochEndOffset, LeaderIdAndEpoch, PartitionData

_log = logging.getLogger(__name__)

UNKNOWN_OFFSET = -1
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


@dataclass(slots=True)
class FetchRead:
    """One pass over the partitions: a response for each, bytes read, and whether there is a reason not to wait."""

    responses: list[tuple[FetchedPartition, PartitionData]]
    size: int = 0
    answer_now: bool = False
    unprepared: list[Callable[[], None]] = field(default_factory=list)
    """What to run on another thread before these partitions are read again: some need a disk to be looked up."""


class FetchReader:
    """Turns fetched partitions into response partitions; holds no state of its own."""

    def __init__(self, replicas: ReplicaManager) -> None:
        self._replicas = replicas

    def resolve(self, fetched: FetchedPartition) -> TopicPartition | None:
        """The partition's name; None for a topic id that nobody has."""
        topic, index = fetched.key
        if isinstance(topic, bytes):
            name = self._replicas.topic_name(topic)
            return None if name is None else TopicPartition(name, index)
        return TopicPartition(topic, index)

    def read(self, partitions: Iterable[FetchedPartition], options: FetchOptions) -> FetchRead:
        """Read each partition in turn; the first data is returned even if it is larger than every limit."""
        result = FetchRead([])
        for fetched in partitions:
            self._add_partition(fetched, options, result)
        return result

    async def read_many(
        self, partitions: Iterable[FetchedPartition], options: FetchOptions, slices: Slices
    ) -> FetchRead:
        """`read`, giving way to others in between."""
        result = FetchRead([])
        async for fetched in slices.each(partitions):
            self._add_partition(fetched, options, result)
        return result

    def _add_partition(self, fetched: FetchedPartition, options: FetchOptions, result: FetchRead) -> None:
        try:
            response = self._read_partition(fetched, options, result)
        except ColdLookupError as cold:
            result.unprepared.append(cold.prepare)
            return
        except KafkaError as error:
            result.answer_now = True
            response = self._failed(fetched, error, options)
        except Exception:  # noqa: BLE001 - logged with its traceback; the other partitions are still answered
            _log.exception("reading partition %d of %s failed unexpectedly", fetched.key[1], fetched.key[0])
            result.answer_now = True
            response = failed_partition(fetched, ErrorCode.UNKNOWN_SERVER_ERROR)
        result.responses.append((fetched, response))

    def _read_partition(self, fetched: FetchedPartition, options: FetchOptions, result: FetchRead) -> PartitionData:
        name = self.resolve(fetched)
        if name is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
        partition = self._replicas.partition(name)
        log = partition.leader_log(fetched.current_leader_epoch)
        if options.replica_id >= 0 and (
            options.replica_id == self._replicas.node_id or options.replica_id not in partition.replicas
        ):
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        response = PartitionData(
            partition_index=name.partition,
            high_watermark=log.high_watermark,
            last_stable_offset=log.last_stable_offset,
            log_start_offset=log.log_start_offset,
            aborted_transactions=None,
            records=b"",
        )
        diverging = self._divergence(partition, fetched)
        if diverging is not None:
            response.diverging_epoch = diverging
            result.answer_now = True
            return response
        part = partition.read(
            fetched.fetch_offset,
            max_bytes=max(0, min(fetched.max_bytes, options.max_bytes - result.size)),
            isolation=options.isolation,
            min_one_message=result.size == 0,
            waits=options.waits,
        )
        response.records = part.records
        if options.isolation is Isolation.READ_COMMITTED:
            response.aborted_transactions = [
                AbortedTransaction(producer_id=aborted.producer_id, first_offset=aborted.first_offset)
                for aborted in log.aborted_in(part, fetched.fetch_offset)
            ]
        result.size += part.size
        return response

    @staticmethod
    def _divergence(partition: Partition, fetched: FetchedPartition) -> EpochEndOffset | None:
        """Where the reader's log parted from ours, if the epoch it fetched last ends elsewhere here (KIP-595)."""
        if fetched.last_fetched_epoch < 0:
            return None
        log = partition.local_log()
        epoch, end_offset = log.leader_epochs.end_offset_for(fetched.last_fetched_epoch, log.log_end_offset)
        if epoch < 0 or end_offset < 0:
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


def failed_partition(fetched: FetchedPartition, code: ErrorCode) -> PartitionData:
    """The response partition that carries an error and nothing else."""
    return PartitionData(
        partition_index=fetched.key[1],
        error_code=code,
        high_watermark=UNKNOWN_OFFSET,
        aborted_transactions=None,
        records=b"",
    )
