"""ShareSnapshot (type 0) in __share_group_state: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT8, INT16, INT32, INT64, STRING, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class ShareSnapshotKey(Message, kind="coordinator-key", api_key=0, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")
    topic_id: Uuid = field(UUID, "0")
    partition: int = field(INT32, "0")


class StateBatch(Struct):
    first_offset: int = field(INT64, "0+")
    last_offset: int = field(INT64, "0+")
    delivery_state: int = field(INT8, "0+")
    delivery_count: int = field(INT16, "0+")


class ShareSnapshotValue(Message, kind="coordinator-value", api_key=0, versions="0", flexible="0+"):
    snapshot_epoch: int = field(INT32, "0+")
    state_epoch: int = field(INT32, "0+")
    leader_epoch: int = field(INT32, "0+")
    start_offset: int = field(INT64, "0+")
    delivery_complete_count: int = field(INT32, "0+", default=-1, tag=0)
    create_timestamp: int = field(INT64, "0+")
    write_timestamp: int = field(INT64, "0+")
    state_batches: list[StateBatch] = field(array(StateBatch), "0+")
