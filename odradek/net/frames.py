"""Memory for frames: one read buffer per loop, and buffers of their own for frames that do not fit a single read.

Most requests are small and come whole with one read; they are cut out of the loop's shared read buffer. A frame that
did not come whole gets a `FrameBuffer`, whose capacity follows the bytes that have arrived, never the announced
length.
"""

from __future__ import annotations

from struct import Struct

from odradek.net.memory import ALLOWANCE_BYTES, Lease, MemoryUser, RequestMemory

READ_BUFFER_BYTES = 128 * 1024
"""The most that one read takes from a socket at first, unless it goes into a large frame's own buffer."""
MAX_READ_BYTES = 512 * 1024
"""The same where reads are filled again and again: a producer's batches then come several at a time."""
MAX_READ_BUFFER_BYTES = 1152 * 1024
"""The whole buffer then: the rest of a frame goes where its begin is. Kafka's default for the largest batch fits."""

LENGTH = Struct(">i")
"""What is in front of each frame."""

FIRST_CAPACITY_BYTES = 4 * 1024
GROWTH_FACTOR = 4
"""A frame's buffer has at most this many times the bytes that have arrived (or `FIRST_CAPACITY_BYTES`)."""

SPARE_BUFFERS = 4
SPARE_BUFFER_MIN_BYTES = 256 * 1024
SPARE_BUFFER_MAX_BYTES = 2 * 1024 * 1024
"""Buffers in this range are kept for the next frame, `SPARE_BUFFERS` of them at most, so that a stream of large
batches neither allocates nor grows a buffer for each."""


class Spares:
    """A few large buffers that are free."""

    __slots__ = ("_buffers",)

    def __init__(self) -> None:
        self._buffers: list[memoryview] = []

    def take(self, length: int) -> memoryview | None:
        """A buffer of at least `length` bytes but not wastefully more, or None."""
        if length < SPARE_BUFFER_MIN_BYTES:
            return None
        for index, buffer in enumerate(self._buffers):
            if length <= len(buffer) <= GROWTH_FACTOR * length:
                return self._buffers.pop(index)
        return None

    def give(self, buffer: memoryview) -> None:
        """Keep `buffer`, which nobody uses any more, if it is worth it."""
        if SPARE_BUFFER_MIN_BYTES <= len(buffer) <= SPARE_BUFFER_MAX_BYTES:
            self._buffers.append(buffer)
            if len(self._buffers) > SPARE_BUFFERS:
                del self._buffers[0]


class FrameBuffer:
    """One frame, without its length, whose bytes are arriving.

    `view` holds them; `blocked` means that it is full and the node's memory is not there yet.
    """

    __slots__ = ("_memory", "_owner", "_wanted", "blocked", "filled", "lease", "length", "view")

    def __init__(
        self, length: int, arrived: memoryview, memory: RequestMemory, spares: Spares, owner: MemoryUser
    ) -> None:
        self.length = length
        self.filled = len(arrived)
        self.lease: Lease | None = None
        self.blocked = False
        self._memory = memory
        self._owner = owner
        self._wanted = min(length, max(FIRST_CAPACITY_BYTES, GROWTH_FACTOR * self.filled))
        spare = spares.take(length) if memory.has(GROWTH_FACTOR * length) else None
        if spare is not None:
            self._wanted = len(spare)
        self.blocked = not self._reserve(self._wanted)
        self.view = spare or memoryview(bytearray(self.filled if self.blocked else self._wanted))
        self.view[: self.filled] = arrived

    @property
    def complete(self) -> bool:
        """Whether every byte is there."""
        return self.filled == self.length

    @property
    def room(self) -> memoryview:
        """Where the next bytes go; never beyond this frame."""
        return self.view[self.filled : self.length]

    def received(self, size: int) -> None:
        """`size` bytes were written to `room`; grows, or becomes blocked, if that was all the room."""
        self.filled += size
        if self.lease is not None:
            self.lease.received += size
        if self.filled == self.length:
            if self.lease is not None:
                self.lease.complete()
        elif self.filled == len(self.view):
            self._wanted = min(self.length, GROWTH_FACTOR * self.filled)
            self.blocked = not self._reserve(self._wanted)
            if not self.blocked:
                self._move()

    def granted(self) -> None:
        """The memory that it was blocked for is there."""
        self.blocked = False
        self._move()

    def close(self) -> None:
        """Give the memory back to the node's budget."""
        if self.lease is not None:
            self.lease.close()

    def _reserve(self, size_bytes: int) -> bool:
        if size_bytes <= ALLOWANCE_BYTES:
            return True
        if self.lease is None:
            self.lease = self._memory.lease(self._owner)
        return self.lease.grow(size_bytes)

    def _move(self) -> None:
        larger = memoryview(bytearray(self._wanted))
        larger[: self.filled] = self.view
        self.view = larger


def whole_frames(view: memoryview, position: int, end: int, most: int, longest: int) -> list[memoryview]:
    """The frames from `position` on that lie whole before `end`, up to one that is empty or longer than `longest`."""
    frames: list[memoryview] = []
    while end - position >= LENGTH.size and len(frames) < most:
        (length,) = LENGTH.unpack_from(view, position)
        begin = position + LENGTH.size
        position = begin + length
        if not 0 < length <= longest or position > end:
            break
        frames.append(view[begin:position])
    return frames
