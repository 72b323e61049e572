"""`__cluster_metadata-0` as the quorum sees it, over an ordinary log."""

from __future__ import annotations

from odradek.ports import Clock, Promise
from odradek.storage.append_checks import whole_batches
from odradek.storage.checkpoints import write_topic_id
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_names import CLUSTER_METADATA_TOPIC
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.log_loader import load_log
from odradek.storage.log_results import AppendOrigin
from odradek.storage.retention import delete_old_segments
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError

TOPIC_ID = bytes(15) + b"\x01"
"""The id that Kafka reserves for the metadata log."""


class MetadataLog:
    """Implements the quorum's `RaftLog`."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    @classmethod
    def open(cls, environment: LogEnvironment, directory: str, config: LogConfig) -> MetadataLog:
        """Open the log in `directory`, recovering what a crash left; raises OSError, CorruptFileError."""
        name = TopicPartition(CLUSTER_METADATA_TOPIC, 0)
        log = load_log(environment, directory, name, config)
        if log.topic_id is None:
            write_topic_id(environment.fs, directory, TOPIC_ID)
        return cls(log, environment.clock)

    @property
    def start_offset(self) -> int:
        """The first offset that is there."""
        return self._log.log_start_offset

    @property
    def end_offset(self) -> int:
        """The offset that the next record gets."""
        return self._log.log_end_offset

    def append(self, batches: bytearray, leader_epoch: int) -> None:
        """Append whole batches that begin at `end_offset`."""
        self._log.append_as_leader(
            batches, leader_epoch=leader_epoch, now_ms=self._clock.now_ms(), origin=AppendOrigin.RAFT
        )

    def append_as_follower(self, batches: bytes) -> None:
        """Append whole batches of a leader that begin at `end_offset`."""
        self._log.append_as_follower(batches)

    def flush(self) -> Promise[int]:
        """Settles with the offset below which everything is on the disk."""
        end_offset = self._log.log_end_offset
        return self._log.flush_later().then(lambda _nothing: end_offset)

    def read(self, offset: int, max_bytes: int) -> bytes:
        """Whole batches, at least one, from the one that holds `offset`; empty at the end of the log."""
        part = self._log.read(offset, max_bytes=max_bytes, max_offset=self._log.log_end_offset, min_one_message=True)
        if isinstance(part.records, bytes):
            return part.records
        try:
            return bytes(whole_batches(memoryview(part.records.read(0, part.size))))
        except OSError as error:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error
        finally:
            part.records.release()

    def truncate_to(self, offset: int) -> None:
        """Drop the batches from `offset` on."""
        self._log.truncate_to(offset)

    def delete_before(self, offset: int) -> None:
        """Begin the log at `offset`; segments that end there or before are deleted."""
        self._log.update_high_watermark(max(offset, self._log.high_watermark))
        self._log.advance_log_start_offset(offset)
        delete_old_segments(self._log, self._clock.now_ms())

    def restart_at(self, offset: int) -> None:
        """Drop all batches; the next record gets `offset`."""
        self._log.truncate_fully_and_start_at(offset)

    @property
    def size_bytes(self) -> int:
        """What the log's segments take."""
        return self._log.size_bytes

    def close(self) -> None:
        """Write everything out; raises KafkaError KAFKA_STORAGE_ERROR, and holds no file all the same."""
        try:
            self._log.close()
        finally:
            self._log.release()
