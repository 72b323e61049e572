"""ShareGroupMemberMetadata (type 10) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import STRING, Message, array, field


class ShareGroupMemberMetadataKey(Message, kind="coordinator-key", api_key=10, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")
    member_id: str = field(STRING, "0")


class ShareGroupMemberMetadataValue(Message, kind="coordinator-value", api_key=10, versions="0", flexible="0+"):
    rack_id: str | None = field(STRING, "0+", nullable="0+")
    client_id: str = field(STRING, "0+")
    client_host: str = field(STRING, "0+")
    subscribed_topic_names: list[str] = field(array(STRING), "0+")
