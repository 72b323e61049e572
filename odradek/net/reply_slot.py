"""The place of one reply among the replies of its connection."""

from __future__ import annotations

from typing import Protocol

from odradek.net.frames import FrameBuffer
from odradek.ports.network import Reply
from odradek.ports.promise import Promise


class ReplyTaker(Protocol):
    """The connection that a reply belongs to."""

    def settled(self, slot: ReplySlot, promise: Promise[Reply]) -> None:
        """The reply is there, or has failed."""
        ...


class ReplySlot:
    """The place of one reply among the replies of its connection, and what its request holds until then."""

    __slots__ = ("buffer", "channel", "charged_bytes", "promise", "reply")

    def __init__(self, channel: ReplyTaker | None, reply: Reply | None, promise: Promise[Reply] | None = None) -> None:
        self.channel = channel
        self.reply = reply
        self.promise = promise
        """Where the reply comes from, until it is there."""
        self.charged_bytes = 0
        self.buffer: FrameBuffer | None = None

    def settle(self, promise: Promise[Reply]) -> None:
        """Called by the promise of the reply."""
        channel = self.channel
        self.channel = self.promise = None
        if channel is not None:
            channel.settled(self, promise)
