"""VotersRecord."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, STRING, UINT16, UUID, Message, Struct, array, field, nested
from odradek.wire.uuids import Uuid


class Endpoint(Struct):
    name: str = field(STRING, "0+", map_key=True)
    host: str = field(STRING, "0+")
    port: int = field(UINT16, "0+")


class KRaftVersionFeature(Struct):
    min_supported_version: int = field(INT16, "0+")
    max_supported_version: int = field(INT16, "0+")


class Voter(Struct):
    voter_id: int = field(INT32, "0+")
    voter_directory_id: Uuid = field(UUID, "0+")
    endpoints: list[Endpoint] = field(array(Endpoint), "0+")
    kraft_version_feature: KRaftVersionFeature = field(
        nested(KRaftVersionFeature), "0+", kafka_name="KRaftVersionFeature"
    )


class VotersRecord(Message, kind="data", versions="0", flexible="0+"):
    version: int = field(INT16, "0+")
    voters: list[Voter] = field(array(Voter), "0+")
