"""The answers to Produce requests: where they stand, what they must be, and what is wrong with one that is not."""

from __future__ import annotations

import struct

from odradek.wire.messages.produce import PartitionProduceResponse, ProduceResponse, TopicProduceResponse
from tests.support.requests import NAMED_PRODUCE_VERSION
from tests.support.wire import framed

_BEFORE_RESPONSE = 4 + 4 + 1
"""Bytes of a frame in front of the response: its length, the correlation id and no tagged fields."""
_LENGTH_AND_ID = struct.Struct(">ii")
_INT16 = struct.Struct(">h")


class LoadFailed(Exception):
    """The broker refused a batch, closed the connection or fell silent."""


def accepting_answer(topic: str) -> bytes:
    """A whole frame that says that a batch for the first partition is at offset 0; to the request with id 0."""
    accepted = PartitionProduceResponse(index=0, error_code=0, base_offset=0)
    response = ProduceResponse(responses=[TopicProduceResponse(name=topic, partition_responses=[accepted])])
    return framed(bytes(_BEFORE_RESPONSE - 4) + response.encode(NAMED_PRODUCE_VERSION))


def answer_bytes(topic: str) -> int:
    """The size of a frame that accepts a batch for one partition of ``topic``; it is the same for all offsets."""
    return len(accepting_answer(topic))


def error_code_position(topic: str) -> int:
    """Where a frame with a Produce answer (version 9 to 12) for one partition of ``topic`` has its error code.

    Raises ValueError where the name's length would not fit into the one byte that is assumed.
    """
    name_bytes = len(topic.encode())
    if name_bytes > 126:
        raise ValueError("the topic's name is too long")
    topic_count, name_length, partition_count, index = 1, 1, 1, 4
    return _BEFORE_RESPONSE + topic_count + name_length + name_bytes + partition_count + index


class ExpectedAnswers:
    """What must come back for the requests of a ring: per answer its length, correlation id and error code 0."""

    def __init__(self, topic: str, slots: int, at_most: int) -> None:
        """``at_most`` is how many answers may come at once; ``slots`` correlation ids from 0 on."""
        self.answer_bytes = answer_bytes(topic)
        self._error_code_at = error_code_position(topic)
        length = self.answer_bytes - 4
        self._expected: tuple[int, ...] = ()
        for place in range(slots + at_most):
            self._expected += (length << 32 | place % slots, 0)
        gap = self._error_code_at - 8
        one = f"q{gap}xh{self.answer_bytes - self._error_code_at - 2}x"
        self._structs = [struct.Struct(">" + one * count) for count in range(at_most + 1)]

    def check(self, received: bytearray, slot: int, count: int) -> None:
        """Raises LoadFailed unless ``received`` begins with ``count`` good answers, from that to ``slot`` on."""
        if self._structs[count].unpack_from(received) != self._expected[2 * slot : 2 * (slot + count)]:
            raise LoadFailed(self._complaint(received, slot, count))

    def _complaint(self, received: bytearray, slot: int, count: int) -> str:
        for place in range(count):
            at = place * self.answer_bytes
            length, correlation_id = _LENGTH_AND_ID.unpack_from(received, at)
            (error_code,) = _INT16.unpack_from(received, at + self._error_code_at)
            if correlation_id != self._expected[2 * (slot + place)] & 0xFFFF_FFFF:
                return f"an answer to {correlation_id} out of order"
            if length + 4 < self._error_code_at + 2:
                return f"an answer of {length} bytes"
            if error_code:
                return f"the broker answered with error code {error_code}"
            if length + 4 != self.answer_bytes:
                return f"an answer of {length} bytes"
        return "answers that are not what they were"
