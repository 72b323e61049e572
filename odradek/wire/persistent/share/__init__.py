"""Keys and values of __share_group_state, by their type."""

from __future__ import annotations

from odradek.wire.persistent.registry import Registry

KEYS: Registry = Registry(
    "odradek.wire.persistent.share",
    {
        0: ("share_snapshot", "ShareSnapshotKey"),
        1: ("share_update", "ShareUpdateKey"),
    },
)
key_class = KEYS.record_class
VALUES: Registry = Registry(
    "odradek.wire.persistent.share",
    {
        0: ("share_snapshot", "ShareSnapshotValue"),
        1: ("share_update", "ShareUpdateValue"),
    },
)
value_class = VALUES.record_class

__all__ = ["KEYS", "key_class", "VALUES", "value_class"]
