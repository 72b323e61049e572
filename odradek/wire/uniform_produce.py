"""Plain Produce requests of one length that differ in little: what a pipelining producer sends one behind the other.

Of such a request everything that may differ is read, and everything that may not is compared, by one call of `struct`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from odradek.wire.plain_produce import ENDS, ONE, PlainProduce
from odradek.wire.records.header import (
    CRC_AT,
    HEADER_BYTES,
    LOG_OVERHEAD_BYTES,
    NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID,
    BatchHeader,
)

_LENGTH = struct.Struct(">i")
LENGTH_BYTES = 4
CLIENT_ID_SIZE_AT = 12
"""Where the size of the client id begins behind a frame's length: its first byte tells if there is one."""
_CLIENT_ID_AT = 10
"""Where the client id begins in a frame, behind its size."""
PRODUCER = struct.Struct(">qh")
"""Id and epoch of a producer, as they are in a batch."""
NO_PRODUCER = PRODUCER.pack(NO_PRODUCER_ID, NO_PRODUCER_EPOCH)
SIGN_BIT = 0x80
"""In the first byte of a producer: it has no id."""
_NO_TIME_MS = -1
_TAIL = struct.Struct(">qqB8x")

Fields = tuple[bytes, int, int, bytes, int, bytes, int, int, bytes, int, bytes, bytes]
"""Of one request:

- what its frame begins with: length, API key, version
- correlation id
- size of the client id, which itself does not matter
- all from there to the checksum of the batch
- that checksum
- the batch's attributes and last offset delta
- base timestamp, largest timestamp (milliseconds)
- producer id with epoch (`PRODUCER`), base sequence
- the number of records
- what is behind the batch
"""


class UniformForm:
    """What plain requests have in common that are of one form: all but client id, correlation id and batch.

    Of their batches it is the size, and what the fixed header says apart from checksum, timestamps and producer.
    """

    __slots__ = (
        "_iter_unpack",
        "_mid",
        "_prefix",
        "_reply",
        "_tail",
        "_tail_start_offset",
        "batch_at",
        "batch_bytes",
        "constant",
        "frame_bytes",
        "front",
        "front_at",
        "front_end",
        "leader_epoch",
        "records",
    )

    def __init__(self, framed: memoryview, body_at: int, request: PlainProduce, header: BatchHeader) -> None:
        """`request` was read from the frame whose body begins at `body_at`, `header` from its records.

        `framed` has the frame's length in front; the records are one batch and nothing else.
        """
        self.leader_epoch = header.leader_epoch
        """As the producer sent it."""
        self.records = header.record_count
        self.batch_bytes = header.length + LOG_OVERHEAD_BYTES
        self.frame_bytes = len(framed)
        """With the length in front."""
        self.batch_at = len(framed) - len(ENDS) - self.batch_bytes
        """Where the batch begins behind that."""
        front_at = self.front_at = LENGTH_BYTES + body_at - 1
        self.front_end = self.batch_at + CRC_AT
        layout = struct.Struct(
            f">8sih{front_at - LENGTH_BYTES - _CLIENT_ID_AT}x{self.front_end - front_at}sI6sqq{PRODUCER.size}si4s"
            f"{self.batch_bytes - HEADER_BYTES}x{len(ENDS)}s"
        )
        fields: Fields = layout.unpack(framed)
        begin, _, client_id_bytes, self.front, _, kind, _, _, _, _, count, ending = fields
        self.constant = (begin, client_id_bytes, self.front, kind, count, ending)
        """The fields in which there is no difference."""
        self._iter_unpack = layout.iter_unpack
        name = request.topic if isinstance(request.topic, bytes) else _compact(request.topic.encode())
        # The tagged fields of the header in front; the partition and its error code, which is none, behind.
        self._mid = bytes((0, ONE)) + name + bytes((ONE,)) + _LENGTH.pack(request.partition) + bytes(2)
        self._tail_start_offset = 0
        self._tail = _TAIL.pack(_NO_TIME_MS, 0, 1)
        reply = struct.Struct(f">4si{len(self._mid)}sq{len(self._tail)}s")
        self._reply = reply.pack
        self._prefix = _LENGTH.pack(reply.size - LENGTH_BYTES)

    def fields(self, stretch: memoryview) -> Iterator[Fields]:
        """Those of the requests that fill `stretch`, as far as they are of this form: that is for the caller to see."""
        return self._iter_unpack(stretch)

    def replies(self, correlation_ids: Sequence[int], first_offset: int, log_start_offset: int) -> bytes:
        """The responses, each behind its length, to requests whose batches lie behind each other in the log."""
        if log_start_offset != self._tail_start_offset:
            self._tail_start_offset = log_start_offset
            self._tail = _TAIL.pack(_NO_TIME_MS, log_start_offset, 1)
        pack, prefix, mid, tail, records = self._reply, self._prefix, self._mid, self._tail, self.records
        offset = first_offset
        replies = []
        for correlation_id in correlation_ids:
            replies.append(pack(prefix, correlation_id, mid, offset, tail))
            offset += records
        return b"".join(replies)


def _compact(name: bytes) -> bytes:
    return bytes((len(name) + 1,)) + name
