"""What the socket layer and the code that answers requests say to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from odradek.ports.files import Buffer
from odradek.ports.promise import Promise


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """Whose bytes these are. `id` is unique while the node runs; `listener` is the name from `listeners`."""

    id: str
    listener: str
    security_protocol: str
    peer_host: str
    peer_port: int
    local_host: str
    local_port: int


class FileRange(Protocol):
    """Bytes of a log that stay readable until `release`, even if the segment is deleted or truncated meanwhile."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    @property
    def offset(self) -> int:
        """Where the range begins in the file."""
        ...

    def fileno(self) -> int | None:
        """A descriptor for sendfile, or None where only `read` works."""
        ...

    def read(self, start: int, size: int) -> bytes:
        """At most `size` bytes from `start` bytes into the range; may wait for a disk; raises OSError."""
        ...

    def is_warm(self, start: int, size: int) -> bool:
        """Whether `size` bytes from `start` bytes into the range can be had without waiting for a disk."""
        ...

    def read_warm(self, start: int, size: int) -> Buffer | None:
        """`read` of what can be had without waiting for a disk, which may be less than there is; None if nothing."""
        ...

    def release(self) -> None:
        """Call once the bytes are sent or dropped."""
        ...


Chunk = Buffer | FileRange


class Outcome(Enum):
    """Answers that are no bytes."""

    NO_REPLY = "no reply"
    """Nothing is sent, as for a Produce with acks=0."""
    CLOSE = "close"
    """The connection is closed once the replies before it are sent."""


Reply = Sequence[Chunk] | Outcome
"""A response header and body without the length in front, or an outcome that sends nothing."""

FrameHandler = Callable[[ConnectionInfo, memoryview], Reply | Promise[Reply]]
"""Answers one request frame (without its length). The frame's memory may be written to, and belongs to the
handler until its reply is settled; whoever keeps bytes longer copies them. It never raises."""


class UniformReplies(NamedTuple):
    """The replies to requests that are of one form."""

    requests: int
    """How many of them, at least one."""
    framed: bytes
    """All of one size, each behind its length; empty if none are sent."""


class RunHandler(NamedTuple):
    """Answers frames that arrived one behind the other, over one connection or several, as many as it can together.

    The connection is that of the first one; no reply is waited for at any of them. Their memory belongs to it only
    until it returns, and it never raises.
    """

    answer: Callable[[ConnectionInfo, Sequence[memoryview]], Sequence[Reply]]
    """The replies to the first of the frames, all settled; none if they have to be handled one by one."""
    answer_uniform: Callable[[ConnectionInfo, memoryview], UniformReplies | None]
    """The same for frames of one length, which come as one stretch with their lengths in front: asked before
    `answer`, and None leaves them to that. Only of the first is the length known to be right."""

    def only_while(self, condition: Callable[[], bool]) -> RunHandler:
        """One that answers nothing together unless the condition holds."""
        return RunHandler(
            lambda connection, frames: self.answer(connection, frames) if condition() else (),
            lambda connection, stretch: self.answer_uniform(connection, stretch) if condition() else None,
        )
