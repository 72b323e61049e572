"""UpdateRaftVoter (API key 82): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, STRING, UINT16, UUID, Message, Struct, array, field, nested
from odradek.wire.uuids import Uuid


class Listener(Struct):
    name: str = field(STRING, "0+", map_key=True)
    host: str = field(STRING, "0+")
    port: int = field(UINT16, "0+")


class KRaftVersionFeature(Struct):
    min_supported_version: int = field(INT16, "0+")
    max_supported_version: int = field(INT16, "0+")


class UpdateRaftVoterRequest(
    Message, kind="request", api_key=82, versions="0", flexible="0+", listeners=("controller",)
):
    cluster_id: str | None = field(STRING, "0+", nullable="0+")
    current_leader_epoch: int = field(INT32, "0+")
    voter_id: int = field(INT32, "0+")
    voter_directory_id: Uuid = field(UUID, "0+")
    listeners: list[Listener] = field(array(Listener), "0+")
    kraft_version_feature: KRaftVersionFeature = field(
        nested(KRaftVersionFeature), "0+", kafka_name="KRaftVersionFeature"
    )


class CurrentLeader(Struct):
    leader_id: int = field(INT32, "0+", default=-1)
    leader_epoch: int = field(INT32, "0+", default=-1)
    host: str = field(STRING, "0+")
    port: int = field(INT32, "0+")


class UpdateRaftVoterResponse(Message, kind="response", api_key=82, versions="0", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    current_leader: CurrentLeader = field(nested(CurrentLeader), "0+", tag=0)
