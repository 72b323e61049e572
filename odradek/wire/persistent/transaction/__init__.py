"""Keys and values of __transaction_state, by their type."""

from __future__ import annotations

from odradek.wire.persistent.registry import Registry

KEYS: Registry = Registry(
    "odradek.wire.persistent.transaction",
    {
        0: ("transaction_log", "TransactionLogKey"),
    },
)
key_class = KEYS.record_class
VALUES: Registry = Registry(
    "odradek.wire.persistent.transaction",
    {
        0: ("transaction_log", "TransactionLogValue"),
    },
)
value_class = VALUES.record_class

__all__ = ["KEYS", "key_class", "VALUES", "value_class"]
