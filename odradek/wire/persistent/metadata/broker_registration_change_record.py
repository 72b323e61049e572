"""BrokerRegistrationChangeRecord (type 17) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import INT8, INT32, INT64, UUID, Message, array, field
from odradek.wire.uuids import Uuid


class BrokerRegistrationChangeRecord(Message, kind="metadata", api_key=17, versions="0-3", flexible="0+"):
    broker_id: int = field(INT32, "0+")
    broker_epoch: int = field(INT64, "0+")
    fenced: int = field(INT8, "0+", tag=0)
    in_controlled_shutdown: int = field(INT8, "1+", tag=1)
    log_dirs: list[Uuid] = field(array(UUID), "2+", tag=2)
    cordoned_log_dirs: list[Uuid] | None = field(array(UUID), "3+", nullable="3+", default=None, tag=3)
