"""The shortest way through Produce, for runs of plain requests that are of one form: `odradek.wire.uniform_produce`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from odradek.broker.api.plain_produce import ACKS_ALL, ACKS_NONE, PlainProduceApi
from odradek.broker.replication.admission import Admission, TakesLongError
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Partition
from odradek.ports.network import UniformReplies
from odradek.storage.log_config import LogConfig
from odradek.storage.uniform_run import ProducerSequence, UniformRun
from odradek.wire.errors import KafkaError
from odradek.wire.records.crc import crc32c
from odradek.wire.records.header import (
    ATTRIBUTES_AT,
    TRANSACTIONAL_BIT,
    parse_header,
    rewrite_base_offset_and_epoch,
)
from odradek.wire.uniform_produce import CLIENT_ID_SIZE_AT, LENGTH_BYTES, NO_PRODUCER, PRODUCER, SIGN_BIT, UniformForm

_MAX_LAYOUTS = 64
_MAX_FORMS = 64
"""Of each layout."""
_CHECKSUMMED = slice(ATTRIBUTES_AT, None)
_new_tuple = tuple.__new__
_unpack_producer = PRODUCER.unpack
_Key = tuple[int, int, int, int]
"""Size of the frame with its length, version, where the body begins, first byte of the client id's size."""


class UniformProduceApi:
    """Answers runs of requests that nothing is wrong with; `PlainProduceApi` answers all others."""

    def __init__(self, replicas: ReplicaManager, admission: Admission, plain: PlainProduceApi) -> None:
        self._replicas = replicas
        self._admission = admission
        self._plain = plain
        self._image = replicas.image
        self._layouts: dict[_Key, _Layout] = {}
        """The latest of each kind of frames, since `_image` has been the metadata."""

    def answer(self, version: int, stretch: memoryview, frame_bytes: int, body_at: int) -> UniformReplies | None:
        """The replies to the first requests in `stretch` (see `Handler.plain_uniform`)."""
        if self._replicas.image is not self._image:
            self._image = self._replicas.image
            self._layouts.clear()
        key = (frame_bytes, version, body_at, stretch[CLIENT_ID_SIZE_AT])
        layout = self._layouts.get(key)
        known = None
        if layout is not None:
            begin, end, forms = layout
            front = bytes(stretch[begin:end])
            if stretch[frame_bytes + begin : frame_bytes + end] != front:
                return None
            known = forms.get(front)
        if known is None or known.partition.log is None or known.config is not known.partition.log.config:
            known = self._learn(key, stretch[:frame_bytes])
            if known is None:
                return None
        if not known.stays_closed:
            return None
        now_ms = self._replicas.clock.now_ms()
        collected = _collect(known, stretch, now_ms)
        if collected is None:
            return None
        correlation_ids, run = collected
        if len(correlation_ids) < 2:
            if not correlation_ids:
                # Another form has come in the place of this one.
                self._layouts[key].forms.pop(known.form.front, None)
            return None
        return self._append(known, correlation_ids, run, now_ms)

    def _learn(self, key: _Key, framed: memoryview) -> _Known | None:
        """What is to know of requests like this one; None unless all is well with it."""
        _, version, body_at, _ = key
        found = self._plain.find(version, framed[LENGTH_BYTES:], body_at)
        if found is None:
            return None
        request, partition, config = found
        try:
            header = parse_header(request.records)
            if header.size_bytes != len(request.records) or header.attributes & TRANSACTIONAL_BIT:
                return None
            stays_closed = self._admission.may_stay_closed(header, config)
            if stays_closed:
                self._admission.admit(request.records, config, version)
        except (KafkaError, TakesLongError):
            return None
        known = _Known(UniformForm(framed, body_at, request, header), request.acks, partition, config, stays_closed)
        self._remember(key, known)
        return known

    def _remember(self, key: _Key, known: _Known) -> None:
        form = known.form
        layout = self._layouts.get(key)
        if layout is None or (layout.front_at, layout.front_end) != (form.front_at, form.front_end):
            if len(self._layouts) >= _MAX_LAYOUTS:
                self._layouts.clear()
            layout = self._layouts[key] = _Layout(form.front_at, form.front_end, {})
        if len(layout.forms) >= _MAX_FORMS:
            layout.forms.clear()
        layout.forms[form.front] = known

    def _append(
        self, known: _Known, correlation_ids: Sequence[int], run: UniformRun, now_ms: int
    ) -> UniformReplies | None:
        form, acks, partition, _, _ = known
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
    stays_closed: bool
    """The batches may be appended without a look at their records."""


class _Layout(NamedTuple):
    """Forms whose requests have what is constant at one place."""

    front_at: int
    front_end: int
    forms: dict[bytes, _Known]
    """By what is there."""


def _collect(known: _Known, stretch: memoryview, now_ms: int) -> tuple[list[int], UniformRun] | None:
    """The correlation ids and batches of the first requests, as far as they are of the form; None if none may be taken.

    Producers' batches follow each other within a run; that they go on where the log ends is for the log to see.
    """
    form, acks, partition, config, _ = known
    log = partition.log
    if log is None or not partition.is_leader or (acks == ACKS_ALL and not partition.is_alone):
        return None
    latest_ms = now_ms + config.message_timestamp_after_max_ms
    begin, client_id_bytes, front, kind, count, ending = form.constant
    frame_bytes, batch_bytes, records = form.frame_bytes, form.batch_bytes, form.records
    correlation_ids: list[int] = []
    batches: list[memoryview] = []
    timestamps_ms: list[int] = []
    producers: list[tuple[bytes, int, int]] = []
    producer, sequence, sequences_each = NO_PRODUCER, 0, 0
    at = form.batch_at
    for (
        its_begin, correlation_id, its_client_id_bytes, its_front, crc, its_kind, base_ms, max_ms,
        its_producer, its_sequence, its_count, its_ending,
    ) in form.fields(stretch):  # fmt: skip
        if its_front != front or its_begin != begin or its_client_id_bytes != client_id_bytes:
            break
        if its_kind != kind or its_count != count or its_ending != ending or not base_ms <= max_ms <= latest_ms:
            break
        batch = stretch[at : at + batch_bytes]
        if crc32c(batch[_CHECKSUMMED]) != crc:
            break
        if its_producer != producer:
            producers.append((its_producer, its_sequence, len(batches)))
            producer = its_producer
            sequences_each = 0 if producer[0] & SIGN_BIT else records
            sequence = its_sequence + sequences_each
        elif sequences_each:
            if its_sequence != sequence:
                break
            sequence += sequences_each
        correlation_ids.append(correlation_id)
        batches.append(batch)
        timestamps_ms.append(max_ms)
        at += frame_bytes
    sequences = _sequences(producers, len(batches)) if producers else ()
    return correlation_ids, _new_tuple(UniformRun, (batches, batch_bytes, records, timestamps_ms, sequences))


def _sequences(producers: Sequence[tuple[bytes, int, int]], count: int) -> list[ProducerSequence]:
    """What belongs to which producer id of `count` batches: of each, id with epoch, first sequence and first batch."""
    sequences = []
    end = count
    for producer, base_sequence, begin in reversed(producers):
        producer_id, epoch = _unpack_producer(producer)
        if producer_id >= 0:
            sequences.append(_new_tuple(ProducerSequence, (producer_id, epoch, base_sequence, begin, end)))
        end = begin
    return sequences
