"""Requests of steady work from templates, and the error codes of their answers; pure.

The layouts are those of `odradek.wire.messages.produce` (version 12) and `offset_commit` (version 9).
"""

from __future__ import annotations

import struct

from benchmarks.load.fetch_wire import FetchFailed
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from tests.support.requests import NAMED_PRODUCE_VERSION, produce_request
from tests.support.wire import encode_request, framed

COMMIT_VERSION = 9
"""The last one that names topics."""

_CORRELATION_ID_AT = 8
_MARK = 0x5A5B5C5D
"""Stands for a partition until its place in the template is found."""
_OFFSET_MARK = 0x5A5B5C5D6A6B6C6D
_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_INT64 = struct.Struct(">q")
_MOST_NAME_BYTES = 126
"""Lengths of longer names take more than one byte."""


class ProduceWriter:
    """Writes requests that produce the same batch to one partition each, with acks=all."""

    def __init__(self, topic: str, records: bytes) -> None:
        request = produce_request(topic, b"", partition=_MARK)
        empty = framed(encode_request(request, NAMED_PRODUCE_VERSION, correlation_id=0))
        partition_at = empty.index(_INT32.pack(_MARK))
        request = produce_request(topic, records)
        whole = framed(encode_request(request, NAMED_PRODUCE_VERSION, correlation_id=0))
        # What is in front of the records is as long whatever they are.
        self._front = whole[:_CORRELATION_ID_AT]
        self._middle = whole[_CORRELATION_ID_AT + 4 : partition_at]
        self._rest = whole[partition_at + 4 :]

    def write(self, correlation_id: int, partition: int) -> bytes:
        """A frame."""
        return b"".join((self._front, _INT32.pack(correlation_id), self._middle, _INT32.pack(partition), self._rest))


class CommitWriter:
    """Writes requests that commit an offset of one partition for a group without members."""

    def __init__(self, group: str, topic: str) -> None:
        partition = OffsetCommitRequestPartition(
            partition_index=_MARK, committed_offset=_OFFSET_MARK, committed_metadata=""
        )
        request = OffsetCommitRequest(
            group_id=group, topics=[OffsetCommitRequestTopic(name=topic, partitions=[partition])]
        )
        self._template = bytearray(framed(encode_request(request, COMMIT_VERSION, correlation_id=0)))
        self._partition_at = self._template.index(_INT32.pack(_MARK) + _INT64.pack(_OFFSET_MARK))

    def write(self, correlation_id: int, partition: int, offset: int) -> bytes:
        """A frame."""
        _INT32.pack_into(self._template, _CORRELATION_ID_AT, correlation_id)
        _INT32.pack_into(self._template, self._partition_at, partition)
        _INT64.pack_into(self._template, self._partition_at + 4, offset)
        return bytes(self._template)


def check_produce(data: bytes | bytearray, start: int, end: int, correlation_id: int, topic: str) -> None:
    """Check the response `data[start:end]` (with its header) to a request of one partition. Raises FetchFailed."""
    throttle_bytes = 0
    _check(data, start, end, correlation_id, topic, throttle_bytes)


def check_commit(data: bytes | bytearray, start: int, end: int, correlation_id: int, topic: str) -> None:
    """The same for a commit. Raises FetchFailed."""
    throttle_bytes = 4
    _check(data, start, end, correlation_id, topic, throttle_bytes)


def _check(data: bytes | bytearray, start: int, end: int, correlation_id: int, topic: str, throttle_bytes: int) -> None:
    name_bytes = len(topic.encode())
    if name_bytes > _MOST_NAME_BYTES:
        raise ValueError("the topic's name is too long")
    # Behind correlation id, tags, throttle time: topics, name, partitions, index.
    error_code_at = start + 4 + 1 + throttle_bytes + 1 + 1 + name_bytes + 1 + 4
    if end < error_code_at + _INT16.size:
        raise FetchFailed(f"an answer of {end - start} bytes")
    (found,) = _INT32.unpack_from(data, start)
    if found != correlation_id:
        raise FetchFailed(f"an answer to {found} instead of {correlation_id}")
    (error_code,) = _INT16.unpack_from(data, error_code_at)
    if error_code:
        raise FetchFailed(f"the broker answered with error code {error_code}")
