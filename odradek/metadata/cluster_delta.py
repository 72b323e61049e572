"""Changes to the registered brokers and controllers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from odradek.metadata.image import BrokerRegistration, ClusterImage, ControllerRegistration, Endpoint
from odradek.metadata.topics_delta import MetadataError

if TYPE_CHECKING:
    from odradek.wire.persistent.metadata.broker_registration_change_record import BrokerRegistrationChangeRecord
    from odradek.wire.persistent.metadata.fence_broker_record import FenceBrokerRecord
    from odradek.wire.persistent.metadata.register_broker_record import RegisterBrokerRecord
    from odradek.wire.persistent.metadata.register_controller_record import RegisterControllerRecord
    from odradek.wire.persistent.metadata.unfence_broker_record import UnfenceBrokerRecord
    from odradek.wire.persistent.metadata.unregister_broker_record import UnregisterBrokerRecord
    from odradek.wire.persistent.metadata.unregister_controller_record import UnregisterControllerRecord

R = TypeVar("R")
NO_CHANGE = 0
FENCE = 1
UNFENCE = -1


class _EndpointRecord(Protocol):
    name: str
    host: str
    port: int
    security_protocol: int


class _FeatureRecord(Protocol):
    name: str
    min_supported_version: int
    max_supported_version: int


class ClusterDelta:
    """What becomes of a ClusterImage."""

    def __init__(self, image: ClusterImage) -> None:
        self._image = image
        self._brokers: dict[int, BrokerRegistration | None] = {}
        self._controllers: dict[int, ControllerRegistration | None] = {}

    @property
    def changed_brokers(self) -> Iterable[int]:
        """The ids of brokers that registered, changed or are gone."""
        return self._brokers.keys()

    @property
    def changed_controllers(self) -> Iterable[int]:
        """The ids of controllers that registered or are gone."""
        return self._controllers.keys()

    def register_broker(self, record: RegisterBrokerRecord) -> None:
        """Replay RegisterBrokerRecord."""
        cordoned = record.cordoned_log_dirs
        self._brokers[record.broker_id] = BrokerRegistration(
            id=record.broker_id,
            epoch=record.broker_epoch,
            incarnation_id=record.incarnation_id,
            endpoints=_endpoints(record.end_points),
            features=_features(record.features),
            rack=record.rack,
            fenced=record.fenced,
            in_controlled_shutdown=record.in_controlled_shutdown,
            directories=tuple(record.log_dirs),
            cordoned_directories=None if cordoned is None else tuple(cordoned),
        )

    def unregister_broker(self, record: UnregisterBrokerRecord) -> None:
        """Replay UnregisterBrokerRecord."""
        self._broker(record.broker_id, record.broker_epoch)
        self._brokers[record.broker_id] = None

    def fence_broker(self, record: FenceBrokerRecord) -> None:
        """Replay FenceBrokerRecord, which old metadata versions wrote."""
        self._brokers[record.id] = self._broker(record.id, record.epoch)._replace(fenced=True)

    def unfence_broker(self, record: UnfenceBrokerRecord) -> None:
        """Replay UnfenceBrokerRecord, which old metadata versions wrote."""
        self._brokers[record.id] = self._broker(record.id, record.epoch)._replace(fenced=False)

    def change_broker(self, record: BrokerRegistrationChangeRecord) -> None:
        """Replay BrokerRegistrationChangeRecord: what is not at its default changes."""
        broker = self._broker(record.broker_id, record.broker_epoch)
        if record.fenced != NO_CHANGE:
            broker = broker._replace(fenced=record.fenced == FENCE)
        if record.in_controlled_shutdown != NO_CHANGE:
            broker = broker._replace(in_controlled_shutdown=True)
        if record.log_dirs:
            broker = broker._replace(directories=tuple(record.log_dirs))
        if record.cordoned_log_dirs is not None:
            broker = broker._replace(cordoned_directories=tuple(record.cordoned_log_dirs))
        self._brokers[record.broker_id] = broker

    def register_controller(self, record: RegisterControllerRecord) -> None:
        """Replay RegisterControllerRecord."""
        self._controllers[record.controller_id] = ControllerRegistration(
            id=record.controller_id,
            incarnation_id=record.incarnation_id,
            endpoints=_endpoints(record.end_points),
            features=_features(record.features),
            zk_migration_ready=record.zk_migration_ready,
        )

    def unregister_controller(self, record: UnregisterControllerRecord) -> None:
        """Replay UnregisterControllerRecord."""
        self._controllers[record.controller_id] = None

    def apply(self) -> ClusterImage:
        """The image after the changes."""
        brokers, controllers = self._image
        if self._brokers:
            brokers = brokers.changed(*_split(self._brokers))
        if self._controllers:
            controllers = controllers.changed(*_split(self._controllers))
        return ClusterImage(brokers, controllers)

    def _broker(self, broker_id: int, epoch: int) -> BrokerRegistration:
        broker = self._brokers[broker_id] if broker_id in self._brokers else self._image.brokers.get(broker_id)
        if broker is None:
            raise MetadataError(f"record of unknown broker {broker_id}")
        if broker.epoch != epoch:
            raise MetadataError(f"record of broker {broker_id} in epoch {epoch}, which has epoch {broker.epoch}")
        return broker


def _split(changes: dict[int, R | None]) -> tuple[dict[int, R], list[int]]:
    put = {key: value for key, value in changes.items() if value is not None}
    return put, [key for key, value in changes.items() if value is None]


def _endpoints(records: Sequence[_EndpointRecord]) -> dict[str, Endpoint]:
    return {
        record.name: Endpoint(record.name, record.host, record.port, record.security_protocol) for record in records
    }


def _features(records: Sequence[_FeatureRecord]) -> dict[str, tuple[int, int]]:
    return {record.name: (record.min_supported_version, record.max_supported_version) for record in records}
