"""RemoveRaftVoter (API key 81): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, STRING, UUID, Message, field
from odradek.wire.uuids import Uuid


class RemoveRaftVoterRequest(
    Message, kind="request", api_key=81, versions="0", flexible="0+", listeners=("controller", "broker")
):
    cluster_id: str | None = field(STRING, "0+", nullable="0+")
    voter_id: int = field(INT32, "0+")
    voter_directory_id: Uuid = field(UUID, "0+")


class RemoveRaftVoterResponse(Message, kind="response", api_key=81, versions="0", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+", ignorable=True)
