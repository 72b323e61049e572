"""What fetchers do to the logs of replicas that follow."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from odradek.broker.replication.partition import Partition
from odradek.broker.replication.truncation import offset_to_keep
from odradek.ports.files import Buffer
from odradek.storage.log import Log
from odradek.storage.log_results import UnexpectedOffsetError
from odradek.storage.manager import LogManager
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError

_log = logging.getLogger(__name__)


class FollowedLogs:
    """The logs, by partition. All methods raise KafkaError: NOT_LEADER_OR_FOLLOWER where there is no such replica that
    follows, KAFKA_STORAGE_ERROR, CORRUPT_MESSAGE."""

    def __init__(self, partitions: Mapping[TopicPartition, Partition], logs: LogManager) -> None:
        self._partitions = partitions
        self._logs = logs

    def log(self, name: TopicPartition) -> Log:
        """The log of a replica that follows."""
        return self._follower(name).local_log()

    def append(
        self, name: TopicPartition, fetch_offset: int, records: Buffer, high_watermark: int, log_start_offset: int
    ) -> None:
        """Append what the leader has from `fetch_offset` on, where the log must end.

        High watermark and log start offset follow the leader's, as far as the log goes. Raises UnexpectedOffsetError
        where the records do not continue the log.
        """
        partition = self._follower(name)
        log = partition.local_log()
        if fetch_offset != log.log_end_offset:
            raise UnexpectedOffsetError(fetch_offset, log.log_end_offset)
        if records:
            try:
                log.append_as_follower(records)
            except UnexpectedOffsetError as error:
                if log.log_end_offset != log.log_start_offset or error.offset >= log.log_end_offset:
                    raise
                # The leader's log begins within a batch.
                self.restart(name, error.offset)
                log.append_as_follower(records)
        partition.follow_leader(high_watermark, log_start_offset)

    def truncate_to_leader(self, name: TopicPartition, leader_epoch: int, leader_end_offset: int) -> None:
        """Cut what the leader, which knows this epoch to end there, does not have."""
        self.truncate(name, offset_to_keep(self.log(name), leader_epoch, leader_end_offset))

    def truncate(self, name: TopicPartition, offset: int) -> None:
        """Cut off `offset` and all behind it."""
        log = self.log(name)
        if offset < log.high_watermark:
            _log.warning("%s is cut to %d, below its high watermark %d", name, offset, log.high_watermark)
        self._logs.truncate_to({name: offset})

    def restart(self, name: TopicPartition, offset: int) -> None:
        """Empty the log, which goes on at `offset`."""
        self.log(name)
        self._logs.truncate_fully_and_start_at(name, offset)

    def _follower(self, name: TopicPartition) -> Partition:
        partition = self._partitions.get(name)
        if partition is None or partition.is_leader:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        return partition
