"""UpdateFeatures (KIP-584): all updates of a request, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from odradek.config.types import ResourceType
from odradek.config.validators import parse_voter
from odradek.controller.result import ControllerResult
from odradek.controller.state import ControllerState
from odradek.metadata.features import ELIGIBLE_LEADER_REPLICAS_VERSION, KRAFT_VERSION, METADATA_VERSION, SUPPORTED
from odradek.metadata.snapshot import VersionedRecord
from odradek.metadata.versions import CONTROLLERS_SINCE
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.update_features import UpdateFeaturesRequest
from odradek.wire.persistent.metadata.config_record import ConfigRecord
from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord
from odradek.wire.persistent.metadata.no_op_record import NoOpRecord

UPGRADE = 1
SAFE_DOWNGRADE = 2
UNSAFE_DOWNGRADE = 3

MIN_ISR = "min.insync.replicas"
STATIC_VOTERS = "controller.quorum.voters"
METADATA_VERSIONS_WITH_NEW_RECORDS = (7, 8, 11, 13, 14, 15, 17, 23, 30, 32, 33)
"""The levels of metadata.version that came with other records than the level before."""
DEPENDENCIES: Mapping[tuple[str, int], Mapping[str, int]] = {
    (ELIGIBLE_LEADER_REPLICAS_VERSION, 1): {METADATA_VERSION: 23}
}
"""What a level of a feature needs of other features."""


class Quorum(Protocol):
    """Who keeps kraft.version, which is no metadata."""

    @property
    def kraft_version(self) -> int:
        """The version in force."""
        ...

    def upgrade_kraft_version(self, version: int, *, validate_only: bool) -> None:
        """Raise it; KafkaError INVALID_UPDATE_VERSION if that cannot be."""
        ...


class FeatureUpdate(NamedTuple):
    """One wanted change, whatever version of the request it came in."""

    name: str
    level: int
    upgrade_type: int


def updates_of(request: UpdateFeaturesRequest, version: int) -> list[FeatureUpdate]:
    """The updates in a request; version 0 has a flag instead of a type."""
    return [
        FeatureUpdate(
            each.feature,
            each.max_version_level,
            (SAFE_DOWNGRADE if each.allow_downgrade else UPGRADE) if version == 0 else each.upgrade_type,
        )
        for each in request.feature_updates
    ]


def update_features(
    state: ControllerState, updates: list[FeatureUpdate], quorum: Quorum, *, validate_only: bool
) -> ControllerResult[None]:
    """Raises INVALID_UPDATE_VERSION with Kafka's text for the first update that cannot be made."""
    proposed = {**state.image.features.finalized, **{update.name: update.level for update in updates}}
    records = []
    for update in updates:
        record = _update(state, update, quorum, proposed)
        if record is not None:
            records.append(record)
    for update in updates:
        if update.name == KRAFT_VERSION and update.upgrade_type == UPGRADE and not validate_only:
            quorum.upgrade_kraft_version(update.level, validate_only=False)
    if any(update.name == ELIGIBLE_LEADER_REPLICAS_VERSION and update.level > 0 for update in updates):
        records = [*_same_min_isr_everywhere(state), *records]
    return ControllerResult(None, [] if validate_only else records)


def _same_min_isr_everywhere(state: ControllerState) -> list[VersionedRecord]:
    """With eligible leader replicas all brokers must count with one minimum, which becomes the cluster's (KIP-966)."""
    configs = state.image.configs
    records = []
    if MIN_ISR not in configs.properties(ResourceType.BROKER, ""):
        records.append(_min_isr("", str(state.static_config.int_(MIN_ISR))))
    for (kind, name), properties in configs.resources.items():
        if kind == ResourceType.BROKER and name and MIN_ISR in properties:
            records.append(_min_isr(name, None))
    return records


def _min_isr(broker: str, value: str | None) -> VersionedRecord:
    record = ConfigRecord(resource_type=ResourceType.BROKER, resource_name=broker, name=MIN_ISR, value=value)
    return VersionedRecord(record, 0)


def _update(
    state: ControllerState, update: FeatureUpdate, quorum: Quorum, proposed: Mapping[str, int]
) -> VersionedRecord | None:
    name, level, upgrade_type = update
    if upgrade_type not in (UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE):
        raise _invalid(update, "The controller does not support the given upgrade type.")
    current = quorum.kraft_version if name == KRAFT_VERSION else state.image.features.finalized.get(name, 0)
    if level < 0:
        raise _invalid(update, "A feature version cannot be less than 0.")
    unsupported = _reason_not_supported(state, name, level)
    if unsupported is not None:
        raise _invalid(update, unsupported)
    if name not in SUPPORTED:
        raise _invalid(update, f"Feature {name} not found.")
    if level < current and upgrade_type == UPGRADE:
        raise _invalid(
            update,
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe "
            "downgrade.",
        )
    if level > current and upgrade_type != UPGRADE:
        raise _invalid(update, "Can't downgrade to a newer version.")
    if name == KRAFT_VERSION:
        if level < current:
            raise _invalid(update, "Can't downgrade the version of this feature.")
        if upgrade_type != UPGRADE:
            return None
        quorum.upgrade_kraft_version(level, validate_only=True)
        # It is committed once this is, which comes behind it.
        return VersionedRecord(NoOpRecord(), 0)
    if name == METADATA_VERSION and level < current:
        _check_metadata_downgrade(current, level, upgrade_type)
    for needed, lowest in DEPENDENCIES.get((name, level), {}).items():
        if proposed.get(needed, 0) < lowest:
            raise _invalid(update, f"{name} could not be set to {level} because it depends on {needed} level {lowest}")
    return VersionedRecord(FeatureLevelRecord(name=name, feature_level=level), 0)


def _check_metadata_downgrade(current: int, level: int, upgrade_type: int) -> None:
    """Only a version that has the same records as the one in force can be gone back to."""
    if not any(level < changed <= current for changed in METADATA_VERSIONS_WITH_NEW_RECORDS):
        return
    reason = (
        "Unsafe metadata downgrade is not supported in this version."
        if upgrade_type == UNSAFE_DOWNGRADE
        else "Refusing to perform the requested downgrade because it might delete metadata information."
    )
    raise KafkaError(
        ErrorCode.INVALID_UPDATE_VERSION,
        f"Unsupported metadata.version downgrade from {current} to {level}. {reason}",
    )


def _invalid(update: FeatureUpdate, reason: str) -> KafkaError:
    return KafkaError(
        ErrorCode.INVALID_UPDATE_VERSION,
        f"Invalid update version {update.level} for feature {update.name}. {reason}",
    )


def _reason_not_supported(state: ControllerState, name: str, level: int) -> str | None:
    for node, features in _supporters(state):
        low, high = features.get(name, (0, 0))
        if low <= level <= high:
            continue
        if high == 0:
            return f"{node} does not support this feature."
        return f"{node} only supports versions {low if low == high else f'{low}-{high}'}"
    known = {state.identity.node_id, *state.image.cluster.controllers}
    for text in state.static_config.list_(STATIC_VOTERS):
        voter, _host, _port = parse_voter(STATIC_VOTERS, text)
        if state.metadata_version >= CONTROLLERS_SINCE and voter not in known:
            return f"controller {voter} has not registered, and may not support this feature"
    return None


def _supporters(state: ControllerState) -> Iterator[tuple[str, Mapping[str, tuple[int, int]]]]:
    own = state.identity.node_id
    yield f"Local controller {own}", SUPPORTED
    for broker in state.image.cluster.brokers.values():
        yield f"Broker {broker.id}", broker.features
    for controller in state.image.cluster.controllers.values():
        if controller.id != own:
            yield f"Controller {controller.id}", controller.features
