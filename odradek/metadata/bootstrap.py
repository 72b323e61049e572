"""The records that a new cluster's metadata log begins with."""

from __future__ import annotations

from odradek.metadata.features import BOOTSTRAP_LEVELS
from odradek.metadata.snapshot import VersionedRecord
from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord


def bootstrap_records() -> list[VersionedRecord]:
    """What formatting with the defaults of 4.4.0 finalizes."""
    return [
        VersionedRecord(FeatureLevelRecord(name=name, feature_level=level), 0)
        for name, level in BOOTSTRAP_LEVELS.items()
    ]
