"""Replies as bytes and as typed messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from odradek.ports import Promise
from odradek.ports.network import Outcome, Reply
from odradek.testing.interception import RequestHead
from odradek.wire.apis import response_class, response_header_version
from odradek.wire.schema import Message

_ID_BYTES = 4
_MEMORY = (bytes, bytearray, memoryview)


def after(reply: Reply | Promise[Reply], change: Callable[[Reply], Reply]) -> Reply | Promise[Reply]:
    """What `change` makes of a reply, once it is there."""
    if not isinstance(reply, Promise):
        return change(reply)
    changed = reply.then(change)
    changed.on_abandoned(reply.abandon)
    return changed


def dropped(reply: Reply) -> Reply:
    """A closed connection in place of a reply."""
    if not isinstance(reply, Outcome):
        taken(reply)
    return Outcome.CLOSE


def taken(reply: Reply) -> bytes:
    """A reply's bytes, header included; ranges of files are read, and given back."""
    parts: list[bytes] = []
    for chunk in () if isinstance(reply, Outcome) else reply:
        if isinstance(chunk, _MEMORY):
            parts.append(bytes(chunk))
        else:
            parts.append(chunk.read(0, chunk.size))
            chunk.release()
    return b"".join(parts)


def header_size(head: RequestHead) -> int:
    """How long the header of the reply to a request is; replies of nodes have no tagged fields there."""
    return _ID_BYTES + response_header_version(head.key, head.version)


def changed(head: RequestHead, reply: Reply, change: Callable[[Message], None]) -> Reply:
    """A reply of which `change` has changed the message; what is no message stays as it is."""
    if isinstance(reply, Outcome):
        return reply
    data = taken(reply)
    response = response_class(head.key).decode(data[header_size(head) :], head.version)
    change(response)
    return encoded(head, response)


def encoded(head: RequestHead, response: Message) -> Reply:
    """The reply that has this message."""
    header = head.correlation_id.to_bytes(_ID_BYTES, "big", signed=True)
    header += b"\0" * response_header_version(head.key, head.version)
    return cast("Reply", response.encode_chunks(head.version, header))
