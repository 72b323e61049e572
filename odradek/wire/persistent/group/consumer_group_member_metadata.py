"""ConsumerGroupMemberMetadata (type 5) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import BYTES, INT32, STRING, Message, Struct, array, field, nested


class ConsumerGroupMemberMetadataKey(Message, kind="coordinator-key", api_key=5, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")
    member_id: str = field(STRING, "0")


class ClassicProtocol(Struct):
    name: str = field(STRING, "0+")
    metadata: bytes = field(BYTES, "0+")


class ClassicMemberMetadata(Struct):
    session_timeout_ms: int = field(INT32, "0+")
    supported_protocols: list[ClassicProtocol] = field(array(ClassicProtocol), "0+")


class ConsumerGroupMemberMetadataValue(Message, kind="coordinator-value", api_key=5, versions="0", flexible="0+"):
    instance_id: str | None = field(STRING, "0+", nullable="0+")
    rack_id: str | None = field(STRING, "0+", nullable="0+")
    client_id: str = field(STRING, "0+")
    client_host: str = field(STRING, "0+")
    subscribed_topic_names: list[str] = field(array(STRING), "0+")
    subscribed_topic_regex: str | None = field(STRING, "0+", nullable="0+")
    rebalance_timeout_ms: int = field(INT32, "0+", default=-1)
    server_assignor: str | None = field(STRING, "0+", nullable="0+")
    classic_member_metadata: ClassicMemberMetadata | None = field(
        nested(ClassicMemberMetadata), "0+", nullable="0+", tag=0
    )
