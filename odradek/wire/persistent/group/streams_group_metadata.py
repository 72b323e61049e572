"""StreamsGroupMetadata (type 17) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT32, INT64, STRING, Message, Struct, array, field


class StreamsGroupMetadataKey(Message, kind="coordinator-key", api_key=17, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")


class LastAssignmentConfig(Struct):
    key: str = field(STRING, "0+")
    value: str = field(STRING, "0+")


class StreamsGroupMetadataValue(Message, kind="coordinator-value", api_key=17, versions="0", flexible="0+"):
    epoch: int = field(INT32, "0+")
    metadata_hash: int = field(INT64, "0+")
    validated_topology_epoch: int = field(INT32, "0+", default=-1, tag=0)
    last_assignment_configs: list[LastAssignmentConfig] | None = field(
        array(LastAssignmentConfig), "0+", nullable="0+", tag=1
    )
    stored_description_topology_epoch: int = field(INT32, "0+", default=-1, tag=2)
    failed_description_topology_epoch: int = field(INT32, "0+", default=-1, tag=3)
