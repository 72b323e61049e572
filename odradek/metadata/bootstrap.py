"""The records that a new cluster's metadata log begins with."""

from __future__ import annotations

from collections.abc import Mapping

from odradek.metadata.features import BOOTSTRAP_LEVELS, KRAFT_VERSION, METADATA_VERSION
from odradek.metadata.snapshot import VersionedRecord
from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord


def bootstrap_records(levels: Mapping[str, int] = BOOTSTRAP_LEVELS) -> list[VersionedRecord]:
    """What formatting finalizes, by default as 4.4.0 does; features at level 0 are left out."""
    others = sorted(name for name in levels if name not in (METADATA_VERSION, KRAFT_VERSION) and levels[name] > 0)
    return [
        VersionedRecord(FeatureLevelRecord(name=name, feature_level=levels[name]), 0)
        for name in (METADATA_VERSION, *others)
    ]
