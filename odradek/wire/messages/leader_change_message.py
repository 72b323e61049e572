"""LeaderChangeMessage."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class Voter(Struct):
    voter_id: int = field(INT32, "0+")
    voter_directory_id: Uuid = field(UUID, "1+")


class LeaderChangeMessage(Message, kind="data", versions="0-1", flexible="0+"):
    version: int = field(INT16, "0+")
    leader_id: int = field(INT32, "0+")
    voters: list[Voter] = field(array(Voter), "0+")
    granting_voters: list[Voter] = field(array(Voter), "0+")
