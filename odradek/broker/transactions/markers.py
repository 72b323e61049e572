"""Writing the markers of decided transactions to the leaders of their partitions, until all are written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from odradek.broker.broker_client import BrokerClient
from odradek.broker.transactions.metadata import TransactionMetadata
from odradek.metadata.image import MetadataImage
from odradek.ports import Promise, Scheduler
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.write_txn_markers import (
    WritableTxnMarker,
    WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)

_log = logging.getLogger(__name__)

RETRY_MS = 100
"""How long what could not be written waits for another attempt."""
MAX_PARTITIONS_PER_REQUEST = 10_000
_GONE = -2
_NO_LEADER = -1

_WRITTEN = frozenset(
    {
        ErrorCode.NONE,
        # The partition has seen a later epoch of this producer, so nothing of this transaction is undecided there.
        ErrorCode.INVALID_PRODUCER_EPOCH,
        ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        ErrorCode.UNSUPPORTED_VERSION,
    }
)
"""What leaves nothing to be done in a partition."""


class _Completion:
    """One transaction that is waiting for its markers. Only the latest of a transactional id counts."""

    __slots__ = ("coordinator_epoch", "metadata", "partition", "remaining")

    def __init__(self, partition: TopicPartition, coordinator_epoch: int, metadata: TransactionMetadata) -> None:
        self.partition = partition
        self.coordinator_epoch = coordinator_epoch
        self.metadata = metadata
        self.remaining = dict.fromkeys(metadata.partitions)


class _Part(NamedTuple):
    """Some of a transaction's partitions, which one broker leads."""

    completion: _Completion
    partitions: Sequence[TopicPartition]


class MarkerSender:
    """Sends WriteTxnMarkers, all that is due in one turn of the loop to one broker in one request."""

    def __init__(
        self,
        client: BrokerClient,
        image: Callable[[], MetadataImage],
        scheduler: Scheduler,
        finished: Callable[[TopicPartition, TransactionMetadata], None],
    ) -> None:
        """`finished` is called once per transaction, with its partition of `__transaction_state`."""
        self._client = client
        self._image = image
        self._scheduler = scheduler
        self._finished = finished
        self._completions: dict[tuple[int, str], _Completion] = {}
        self._due: dict[int, list[_Part]] = {}

    def begin(self, partition: TopicPartition, coordinator_epoch: int, metadata: TransactionMetadata) -> None:
        """Write the markers of a transaction whose decision is in the log, in place of what was begun for its id."""
        completion = _Completion(partition, coordinator_epoch, metadata)
        self._completions[partition.partition, metadata.transactional_id] = completion
        self._route(completion, tuple(completion.remaining))

    def drop(self, partition: int) -> None:
        """Another broker goes on with the transactions of this partition of `__transaction_state`."""
        for key in [key for key in self._completions if key[0] == partition]:
            del self._completions[key]

    def __len__(self) -> int:
        return len(self._completions)

    def _route(self, completion: _Completion, partitions: Iterable[TopicPartition]) -> None:
        """Put what is left to write before the brokers that lead; what has no leader waits for one."""
        if not self._is_current(completion):
            return
        by_leader: dict[int, list[TopicPartition]] = {}
        for name in partitions:
            by_leader.setdefault(self._leader(name), []).append(name)
        for name in by_leader.pop(_GONE, ()):
            _log.info("no marker of %s for %s, which is deleted", completion.metadata.transactional_id, name)
            del completion.remaining[name]
        self._retry_later(completion, by_leader.pop(_NO_LEADER, ()))
        for leader, led in by_leader.items():
            if not self._due:
                self._scheduler.call_soon(self._flush)
            parts = self._due.setdefault(leader, [])
            for start in range(0, len(led), MAX_PARTITIONS_PER_REQUEST):
                parts.append(_Part(completion, led[start : start + MAX_PARTITIONS_PER_REQUEST]))
        self._finish_if_done(completion)

    def _leader(self, name: TopicPartition) -> int:
        image = self._image()
        topic = image.topics.by_name.get(name.topic)
        partition = None if topic is None else topic.partitions.get(name.partition)
        if partition is None:
            return _GONE
        broker = image.cluster.brokers.get(partition.leader)
        return _NO_LEADER if broker is None or broker.fenced else partition.leader

    def _flush(self) -> None:
        due, self._due = self._due, {}
        for leader, parts in due.items():
            while parts:
                batch, count = [], 0
                while parts and count + len(parts[0].partitions) <= MAX_PARTITIONS_PER_REQUEST:
                    part = parts.pop(0)
                    count += len(part.partitions)
                    if self._is_current(part.completion):
                        batch.append(part)
                if batch:
                    self._send(leader, batch)

    def _send(self, leader: int, parts: Sequence[_Part]) -> None:
        request = WriteTxnMarkersRequest(markers=[_marker(part) for part in parts])
        self._client.send(leader, request, WriteTxnMarkersResponse).on_done(
            lambda answer: self._answered(parts, answer)
        )

    def _answered(self, parts: Sequence[_Part], answer: Promise[WriteTxnMarkersResponse]) -> None:
        if answer.error is not None:
            if not isinstance(answer.error, KafkaError):
                _log.error("markers could not be written", exc_info=answer.error)
            for part in parts:
                self._retry_later(part.completion, part.partitions)
            return
        results = _results(answer.result())
        for part in parts:
            self._take(part, results.get(part.completion.metadata.producer_id, {}))

    def _take(self, part: _Part, results: Mapping[TopicPartition, ErrorCode]) -> None:
        completion = part.completion
        if not self._is_current(completion):
            return
        again = []
        for name in part.partitions:
            code = results.get(name, ErrorCode.UNKNOWN_SERVER_ERROR)
            if code in _WRITTEN:
                completion.remaining.pop(name, None)
            else:
                again.append(name)
            if code is ErrorCode.TRANSACTION_COORDINATOR_FENCED:
                _log.info("another coordinator completes the transaction of %s", completion.metadata.transactional_id)
                del self._completions[completion.partition.partition, completion.metadata.transactional_id]
                return
            if code is not ErrorCode.NONE:
                _log.info("marker of %s for %s: %s", completion.metadata.transactional_id, name, code.name)
        self._retry_later(completion, again)
        self._finish_if_done(completion)

    def _retry_later(self, completion: _Completion, partitions: Sequence[TopicPartition]) -> None:
        if partitions:
            self._scheduler.call_later(RETRY_MS, lambda: self._route(completion, partitions))

    def _finish_if_done(self, completion: _Completion) -> None:
        if completion.remaining or not self._is_current(completion):
            return
        del self._completions[completion.partition.partition, completion.metadata.transactional_id]
        self._finished(completion.partition, completion.metadata)

    def _is_current(self, completion: _Completion) -> bool:
        key = completion.partition.partition, completion.metadata.transactional_id
        return self._completions.get(key) is completion


def _marker(part: _Part) -> WritableTxnMarker:
    metadata = part.completion.metadata
    topics: dict[str, WritableTxnMarkerTopic] = {}
    for name in part.partitions:
        topic = topics.setdefault(name.topic, WritableTxnMarkerTopic(name=name.topic))
        topic.partition_indexes.append(name.partition)
    return WritableTxnMarker(
        producer_id=metadata.producer_id,
        producer_epoch=metadata.producer_epoch,
        transaction_result=metadata.is_commit,
        topics=list(topics.values()),
        coordinator_epoch=part.completion.coordinator_epoch,
        transaction_version=metadata.client_version,
    )


def _results(response: WriteTxnMarkersResponse) -> dict[int, dict[TopicPartition, ErrorCode]]:
    results: dict[int, dict[TopicPartition, ErrorCode]] = {}
    for marker in response.markers:
        of_producer = results.setdefault(marker.producer_id, {})
        for topic in marker.topics:
            for partition in topic.partitions:
                of_producer[TopicPartition(topic.name, partition.partition_index)] = ErrorCode(partition.error_code)
    return results
