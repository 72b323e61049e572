"""Votes of the quorum, as they are seen on the wire."""

from __future__ import annotations

from typing import NamedTuple, cast

from odradek.ports import Promise
from odradek.ports.network import Outcome, Reply
from odradek.wire.apis import request_header_version
from odradek.wire.messages.headers import RequestHeader
from odradek.wire.messages.vote import VoteRequest, VoteResponse
from tests.sim.cluster.channel import decode_response

VOTE_KEY = b"\x00\x34"
"""How a request for a vote begins."""


class Vote(NamedTuple):
    """What was asked, and what was answered."""

    candidate: int
    epoch: int
    is_granted: bool


def read_vote(frame: memoryview, reply: Reply | Promise[Reply]) -> Vote | None:
    """None for a pre-vote, which binds nobody, and for what was not answered."""
    if isinstance(reply, Promise | Outcome):
        return None
    assert VoteRequest.API_KEY is not None
    header, body_at = RequestHeader.decode_prefix(frame, request_header_version(VoteRequest.API_KEY, frame[3]))
    version = header.request_api_version
    request = VoteRequest.decode(frame[body_at:], version)
    data = b"".join(cast("list[bytes]", list(reply)))
    response = decode_response(memoryview(data), VoteResponse, version)
    if not request.topics or not response.topics:
        return None
    asked, answer = request.topics[0].partitions[0], response.topics[0].partitions[0]
    return None if asked.pre_vote else Vote(asked.replica_id, asked.replica_epoch, answer.vote_granted)
