"""StreamsGroupMemberMetadata (type 19) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT32, STRING, UINT16, Message, Struct, array, field, nested


class StreamsGroupMemberMetadataKey(Message, kind="coordinator-key", api_key=19, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")
    member_id: str = field(STRING, "0")


class Endpoint(Struct):
    host: str = field(STRING, "0+")
    port: int = field(UINT16, "0+")


class KeyValue(Struct):
    key: str = field(STRING, "0+")
    value: str = field(STRING, "0+")


class StreamsGroupMemberMetadataValue(Message, kind="coordinator-value", api_key=19, versions="0", flexible="0+"):
    instance_id: str | None = field(STRING, "0+", nullable="0+")
    rack_id: str | None = field(STRING, "0+", nullable="0+")
    client_id: str = field(STRING, "0+")
    client_host: str = field(STRING, "0+")
    rebalance_timeout_ms: int = field(INT32, "0+", default=-1)
    topology_epoch: int = field(INT32, "0+")
    process_id: str = field(STRING, "0+")
    user_endpoint: Endpoint | None = field(nested(Endpoint), "0+", nullable="0+", default=None)
    client_tags: list[KeyValue] = field(array(KeyValue), "0+")
