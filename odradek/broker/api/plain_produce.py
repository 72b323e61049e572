"""The short way through Produce, for the request that nearly every producer sends: `odradek.wire.plain_produce`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from odradek.broker.replication.admission import Admission, TakesLongError
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Partition
from odradek.metadata.topic_names import is_internal
from odradek.ports.network import Outcome, Reply
from odradek.storage.log_config import LogConfig
from odradek.storage.log_results import AppendInfo
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import KafkaError
from odradek.wire.plain_produce import PlainForm, PlainProduce, plain_replies, read_plain
from odradek.wire.records.header import TRANSACTIONAL_BIT, BatchHeader, rewrite_base_offset_and_epoch

ACKS_NONE = 0
_ACKS_WITHOUT_WAITING = (1, ACKS_NONE)
ACKS_ALL = -1
_new_tuple = tuple.__new__


class PlainProduceApi:
    """Answers plain requests whose batch is appended and committed at once; `ProduceApi` answers all others."""

    def __init__(self, replicas: ReplicaManager, admission: Admission) -> None:
        self._replicas = replicas
        self._admission = admission
        self._image = replicas.image
        self._partitions: dict[tuple[str | bytes, int], Partition] = {}
        """What requests asked for since `_image` has been the metadata."""

    def answer(self, version: int, correlation_id: int, frame: memoryview, body_at: int) -> Reply | None:
        """The reply (see `Handler.plain`); None, with nothing changed, if the request has to go the long way."""
        admitted = self._admit(version, frame, body_at)
        return None if admitted is None else self._append(correlation_id, admitted)

    def answer_run(self, version: int, requests: Iterator[tuple[int, memoryview]], body_at: int) -> Sequence[Reply]:
        """The replies to the first of `requests` (see `Handler.plain_run`): those for one partition, in sequence."""
        for correlation_id, frame in requests:
            first = self._admit(version, frame, body_at)
            if first is None or first.config.uses_log_append_time:
                # Batches that get their time here go one by one: checking them all first would be done twice.
                return ()
            run = _Run(PlainForm(frame, body_at, first.request), correlation_id, first)
            self._extend(run, version, requests, body_at)
            if len(run.batches) > 1:
                return self._append_run(run)
            reply = self._append(correlation_id, first)
            return () if reply is None else (reply,)
        return ()

    def find(self, version: int, frame: memoryview, body_at: int) -> tuple[PlainProduce, Partition, LogConfig] | None:
        """The request, where it goes, and that log's configuration; None if it has to go the long way."""
        request = read_plain(frame, body_at, version)
        if request is None:
            return None
        topic, index, acks, _ = request
        if self._replicas.image is not self._image:
            self._image = self._replicas.image
            self._partitions.clear()
        partition = self._partitions.get((topic, index))
        if partition is None:
            partition = self._partition(topic, index)
            if partition is None:
                return None
        log = partition.log
        if log is None or not partition.is_leader:
            return None
        if acks not in _ACKS_WITHOUT_WAITING and (acks != ACKS_ALL or not partition.is_alone):
            return None
        return request, partition, log.config

    def _admit(self, version: int, frame: memoryview, body_at: int) -> _Admitted | None:
        """The request's batch and where it goes; None if it has to go the long way."""
        found = self.find(version, frame, body_at)
        if found is None:
            return None
        request, partition, config = found
        try:
            batch, header = self._admission.admit(request.records, config, version)
        except (KafkaError, TakesLongError):
            return None
        if header.attributes & TRANSACTIONAL_BIT:
            return None
        return _new_tuple(_Admitted, (request, partition, config, batch, header))

    def _extend(self, run: _Run, version: int, requests: Iterator[tuple[int, memoryview]], body_at: int) -> None:
        """Check further requests, up to one that may not be appended together with those before it.

        They go to one partition; those of one producer follow each other, and continue what is in the log.
        """
        request, partition, config, _, header = run.first
        log, form = partition.log, run.form
        now_ms = self._replicas.clock.now_ms()
        correlation_ids, batches, headers = run.correlation_ids, run.batches, run.headers
        before: set[int] = set()
        producer_id, epoch = header.producer_id, header.producer_epoch
        sequence = header.base_sequence + header.last_offset_delta + 1
        for correlation_id, frame in requests:
            records = form.records(frame)
            if records is None:
                other = read_plain(frame, body_at, version)
                if other is None or other[:3] != request[:3]:
                    return
                records = other.records
            try:
                batch, header = self._admission.admit(records, config, version, now_ms)
            except (KafkaError, TakesLongError):
                return
            _, _, _, _, _, attributes, delta, _, _, its_id, its_epoch, its_sequence, _ = header
            if attributes & TRANSACTIONAL_BIT:
                return
            if its_id != producer_id:
                before.add(producer_id)
                if its_id >= 0 and (its_id in before or log is None or not log.continues(header)):
                    return
                producer_id, epoch, sequence = its_id, its_epoch, its_sequence
            if its_id >= 0:
                if its_epoch != epoch or its_sequence != sequence:
                    return
                sequence += delta + 1
            correlation_ids.append(correlation_id)
            batches.append(batch)
            headers.append(header)

    def _append(self, correlation_id: int, admitted: _Admitted) -> Reply | None:
        request, partition, _, batch, header = admitted
        try:
            info = self._replicas.append(partition, batch, (header,), all_replicas=request.acks == ACKS_ALL)
        except Exception:  # noqa: BLE001 - the long way meets it again, and tells the client
            _restore(batch, header)
            return None
        if request.acks == ACKS_NONE:
            return Outcome.NO_REPLY
        return [_replies(request, info)(correlation_id, info.first_offset)]

    def _append_run(self, run: _Run) -> Sequence[Reply]:
        batches, headers = run.batches, run.headers
        try:
            info = self._replicas.append_run(run.first.partition, batches, headers)
        except Exception:  # noqa: BLE001 - the long way meets it again, and tells the client
            for batch, header in zip(batches, headers, strict=True):
                _restore(batch, header)
            return ()
        if info is None:
            return ()
        if run.first.request.acks == ACKS_NONE:
            return [Outcome.NO_REPLY] * len(headers)
        reply_of, offset = _replies(run.first.request, info), info.first_offset
        replies = []
        for correlation_id, header in zip(run.correlation_ids, headers, strict=True):
            replies.append([reply_of(correlation_id, offset)])
            offset += header.last_offset_delta + 1
        return replies

    def _partition(self, topic: str | bytes, index: int) -> Partition | None:
        """The replica of a topic for clients; None for a topic that is internal, unknown or elsewhere."""
        name = self._replicas.topic_name(topic) if isinstance(topic, bytes) else topic
        if name is None or is_internal(name):
            return None
        try:
            partition = self._partitions[topic, index] = self._replicas.partition(TopicPartition(name, index))
        except KafkaError:
            return None
        return partition


class _Admitted(NamedTuple):
    """A plain request's checked batch, and where it goes."""

    request: PlainProduce
    partition: Partition
    config: LogConfig
    batch: memoryview
    header: BatchHeader


class _Run:
    """Plain requests that are appended together."""

    __slots__ = ("batches", "correlation_ids", "first", "form", "headers")

    def __init__(self, form: PlainForm, correlation_id: int, first: _Admitted) -> None:
        self.form = form
        self.first = first
        self.correlation_ids = [correlation_id]
        self.batches = [first.batch]
        self.headers = [first.header]


def _restore(batch: memoryview, header: BatchHeader) -> None:
    """Give a request's batch the look that it came with."""
    rewrite_base_offset_and_epoch(batch, 0, 0, header.leader_epoch)


def _replies(request: PlainProduce, info: AppendInfo) -> Callable[[int, int], bytes]:
    return plain_replies(
        request.topic,
        request.partition,
        log_append_time_ms=info.log_append_time_ms,
        log_start_offset=info.log_start_offset,
    )
