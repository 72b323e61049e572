"""RegisterBrokerRecord (type 0) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import BOOL, INT16, INT32, INT64, STRING, UINT16, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class BrokerEndpoint(Struct):
    name: str = field(STRING, "0+", map_key=True)
    host: str = field(STRING, "0+")
    port: int = field(UINT16, "0+")
    security_protocol: int = field(INT16, "0+")


class BrokerFeature(Struct):
    name: str = field(STRING, "0+", map_key=True)
    min_supported_version: int = field(INT16, "0+")
    max_supported_version: int = field(INT16, "0+")


class RegisterBrokerRecord(Message, kind="metadata", api_key=0, versions="0-4", flexible="0+"):
    broker_id: int = field(INT32, "0+")
    is_migrating_zk_broker: bool = field(BOOL, "2+", default=False)
    incarnation_id: Uuid = field(UUID, "0+")
    broker_epoch: int = field(INT64, "0+")
    end_points: list[BrokerEndpoint] = field(array(BrokerEndpoint), "0+")
    features: list[BrokerFeature] = field(array(BrokerFeature), "0+")
    rack: str | None = field(STRING, "0+", nullable="0+")
    fenced: bool = field(BOOL, "0+", default=True)
    in_controlled_shutdown: bool = field(BOOL, "1+", default=False)
    log_dirs: list[Uuid] = field(array(UUID), "3+", tag=0)
    cordoned_log_dirs: list[Uuid] | None = field(array(UUID), "4+", nullable="4+", default=None, tag=1)
