"""The shortest way through Produce, for runs of plain requests that are of one form: `odradek.wire.uniform_produce`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from odradek.broker.api.plain_produce import ACKS_ALL, ACKS_NONE, PlainProduceApi
from odradek.broker.replication.admission import Admission
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Partition
from odradek.ports.network import UniformReplies
from odradek.storage.log_config import LogConfig
from odradek.storage.uniform_run import ProducerSequence, UniformRun
from odradek.wire.records.crc import crc32c
from odradek.wire.records.header import ATTRIBUTES_AT, NO_PRODUCER_ID, rewrite_base_offset_and_epoch
from odradek.wire.uniform_produce import UniformForm

_MAX_FORMS = 64
_CHECKSUMMED = slice(ATTRIBUTES_AT, None)
_new_tuple = tuple.__new__


class UniformProduceApi:
    """Answers runs of requests that nothing is wrong with; `PlainProduceApi` answers all others."""

    def __init__(self, replicas: ReplicaManager, admission: Admission, plain: PlainProduceApi) -> None:
        self._replicas = replicas
        self._admission = admission
        self._plain = plain
        self._image = replicas.image
        self._known: dict[tuple[int, int, int], _Known] = {}
        """The latest form of each frame size, version, and place of the body, since `_image` has been the metadata."""

    def answer(self, version: int, stretch: memoryview, frame_bytes: int, body_at: int) -> UniformReplies | None:
        """The replies to the first requests in `stretch` (see `Handler.plain_uniform`)."""
        if self._replicas.image is not self._image:
            self._image = self._replicas.image
            self._known.clear()
        key = (frame_bytes, version, body_at)
        now_ms = self._replicas.clock.now_ms()
        known = self._known.get(key)
        collected = None if known is None else _collect(known, stretch, now_ms)
        if collected is None:
            known = self._learn(version, stretch[:frame_bytes], body_at)
            if known is None:
                return None
            if len(self._known) >= _MAX_FORMS:
                self._known.clear()
            self._known[key] = known
            collected = _collect(known, stretch, now_ms)
        if known is None or collected is None or len(collected[0]) == 1:
            return None
        return self._append(known, *collected, now_ms)

    def _learn(self, version: int, framed: memoryview, body_at: int) -> _Known | None:
        """What is to know of requests like this one; None unless all is well with it."""
        admitted = self._plain.admit(version, framed[4:], body_at)
        if admitted is None:
            return None
        request, partition, config, batch, header = admitted
        if len(batch) != len(request.records) or not self._admission.may_stay_closed(header, config):
            return None
        return _Known(UniformForm(framed, body_at, request, header), request.acks, partition, config)

    def _append(
        self, known: _Known, correlation_ids: Sequence[int], run: UniformRun, now_ms: int
    ) -> UniformReplies | None:
        form, acks, partition, _ = known
        try:
            first_offset = self._replicas.append_uniform(partition, run, now_ms=now_ms)
        except Exception:  # noqa: BLE001 - the long way meets it again, and tells the client
            for batch in run.batches:
                rewrite_base_offset_and_epoch(batch, 0, 0, form.leader_epoch)
            return None
        if first_offset is None:
            return None
        if acks == ACKS_NONE:
            return UniformReplies(len(correlation_ids), b"")
        log_start_offset = partition.local_log().log_start_offset
        return UniformReplies(len(correlation_ids), form.replies(correlation_ids, first_offset, log_start_offset))


class _Known(NamedTuple):
    """A form, and where its requests go."""

    form: UniformForm
    acks: int
    partition: Partition
    config: LogConfig
    """Of the log when the form was learnt."""


def _collect(known: _Known, stretch: memoryview, now_ms: int) -> tuple[list[int], UniformRun] | None:
    """The first requests of a form, and their correlation ids; None if there is none, or none may be taken.

    Producers' batches follow each other within a run; that they go on where the log ends is for the log to see.
    """
    form, acks, partition, config = known
    log = partition.log
    if log is None or log.config is not config or not partition.is_leader:
        return None
    if acks == ACKS_ALL and not partition.is_alone:
        return None
    latest_ms = now_ms + config.message_timestamp_after_max_ms
    begin, client_id_bytes, front, kind, count, ending = form.constant
    frame_bytes, batch_bytes, records = form.frame_bytes, form.batch_bytes, form.records
    correlation_ids: list[int] = []
    batches: list[memoryview] = []
    timestamps_ms: list[int] = []
    producers: list[tuple[int, int, int, int]] = []
    producer_id, epoch, sequence = NO_PRODUCER_ID, 0, 0
    at = form.batch_at
    for (
        its_begin, correlation_id, its_client_id_bytes, its_front, crc, its_kind, base_ms, max_ms,
        its_producer_id, its_epoch, its_sequence, its_count, its_ending,
    ) in form.fields(stretch):  # fmt: skip
        if its_front != front or its_begin != begin or its_client_id_bytes != client_id_bytes:
            break
        if its_kind != kind or its_count != count or its_ending != ending or not base_ms <= max_ms <= latest_ms:
            break
        batch = stretch[at : at + batch_bytes]
        if crc32c(batch[_CHECKSUMMED]) != crc:
            break
        if its_producer_id != producer_id:
            producers.append((its_producer_id, its_epoch, its_sequence, len(batches)))
            producer_id, epoch, sequence = its_producer_id, its_epoch, its_sequence + records
        elif producer_id >= 0:
            if its_epoch != epoch or its_sequence != sequence:
                break
            sequence += records
        correlation_ids.append(correlation_id)
        batches.append(batch)
        timestamps_ms.append(max_ms)
        at += frame_bytes
    if not batches:
        return None
    sequences = _sequences(producers, len(batches)) if producers else ()
    return correlation_ids, _new_tuple(UniformRun, (batches, batch_bytes, records, timestamps_ms, sequences))


def _sequences(producers: Sequence[tuple[int, int, int, int]], count: int) -> list[ProducerSequence]:
    """Of each producer id, its epoch, its first sequence and batch: what belongs to it of `count` batches."""
    ends = [begin for _, _, _, begin in producers[1:]]
    ends.append(count)
    return [ProducerSequence(*each, end) for each, end in zip(producers, ends, strict=True) if each[0] >= 0]
