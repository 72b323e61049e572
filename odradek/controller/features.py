"""UpdateFeatures (KIP-584): all updates of a request, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from odradek.controller.result import ControllerResult
from odradek.controller.state import ControllerState
from odradek.metadata.features import KRAFT_VERSION, METADATA_VERSION, SUPPORTED
from odradek.metadata.snapshot import VersionedRecord
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.update_features import UpdateFeaturesRequest
from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord

UPGRADE = 1
SAFE_DOWNGRADE = 2
UNSAFE_DOWNGRADE = 3


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
    state: ControllerState, updates: list[FeatureUpdate], kraft_version: int, *, validate_only: bool
) -> ControllerResult[None]:
    """Raises INVALID_UPDATE_VERSION with Kafka's text for the first update that cannot be made."""
    records = []
    for update in updates:
        record = _update(state, update, kraft_version)
        if record is not None:
            records.append(record)
    return ControllerResult(None, [] if validate_only else records)


def _update(state: ControllerState, update: FeatureUpdate, kraft_version: int) -> VersionedRecord | None:
    name, level, upgrade_type = update
    if upgrade_type not in (UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE):
        raise _invalid(update, "The controller does not support the given upgrade type.")
    current = kraft_version if name == KRAFT_VERSION else state.image.features.finalized.get(name, 0)
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
        return None
    if name == METADATA_VERSION and level < current:
        reason = (
            "Unsafe metadata downgrade is not supported in this version."
            if upgrade_type == UNSAFE_DOWNGRADE
            else "Refusing to perform the requested downgrade because it might delete metadata information."
        )
        raise KafkaError(
            ErrorCode.INVALID_UPDATE_VERSION,
            f"Unsupported metadata.version downgrade from {current} to {level}. {reason}",
        )
    return VersionedRecord(FeatureLevelRecord(name=name, feature_level=level), 0)


def _invalid(update: FeatureUpdate, reason: str) -> KafkaError:
    return KafkaError(
        ErrorCode.INVALID_UPDATE_VERSION,
        f"Invalid update version {update.level} for feature {update.name}. {reason}",
    )


def _reason_not_supported(state: ControllerState, name: str, level: int) -> str | None:
    for node, features in _supporters(state):
        bounds = features.get(name)
        if bounds is None and level > 0:
            return f"{node} does not support this feature."
        if bounds is None:
            continue
        if not bounds[0] <= level <= bounds[1]:
            return f"{node} only supports versions {bounds[0]}-{bounds[1]}"
    return None


def _supporters(state: ControllerState) -> Iterator[tuple[str, Mapping[str, tuple[int, int]]]]:
    own = state.identity.node_id
    yield f"Local controller {own}", SUPPORTED
    for broker in state.image.cluster.brokers.values():
        yield f"Broker {broker.id}", broker.features
    for controller in state.image.cluster.controllers.values():
        if controller.id != own:
            yield f"Controller {controller.id}", controller.features
