"""ZkMigrationStateRecord (type 21) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import INT8, Message, field


class ZkMigrationStateRecord(Message, kind="metadata", api_key=21, versions="0", flexible="0+"):
    zk_migration_state: int = field(INT8, "0+")
