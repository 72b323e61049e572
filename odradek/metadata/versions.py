"""Which metadata versions there are, and which levels of other features go with each (KIP-584, KIP-1022)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from odradek.metadata.features import (
    ELIGIBLE_LEADER_REPLICAS_VERSION,
    GROUP_VERSION,
    KRAFT_VERSION,
    LATEST_METADATA_VERSION,
    METADATA_VERSION,
    SHARE_VERSION,
    STREAMS_VERSION,
    TRANSACTION_VERSION,
)

METADATA_VERSIONS: Mapping[int, str] = MappingProxyType(
    {
        7: "3.3-IV3",
        8: "3.4-IV0",
        9: "3.5-IV0",
        10: "3.5-IV1",
        11: "3.5-IV2",
        12: "3.6-IV0",
        13: "3.6-IV1",
        14: "3.6-IV2",
        15: "3.7-IV0",
        16: "3.7-IV1",
        17: "3.7-IV2",
        18: "3.7-IV3",
        19: "3.7-IV4",
        20: "3.8-IV0",
        21: "3.9-IV0",
        22: "4.0-IV0",
        23: "4.0-IV1",
        24: "4.0-IV2",
        25: "4.0-IV3",
        26: "4.1-IV0",
        27: "4.1-IV1",
        28: "4.2-IV0",
        29: "4.2-IV1",
        30: "4.3-IV0",
        31: "4.4-IV0",
        32: "4.4-IV1",
        33: "4.4-IV2",
        34: "4.5-IV0",
    }
)
"""Level of metadata.version -> its name; those above LATEST_METADATA_VERSION are not stable in 4.4.0."""

MIGRATION_SINCE = 8
SCRAM_SINCE = 11
"""The metadata version that can hold SCRAM credentials."""
SAME_EPOCH_ON_SHRINK_SINCE = 12
"""From here on a leader whose in-sync replicas become fewer goes on in its epoch (KAFKA-15021)."""
TRANSACTIONS_SINCE = 13
"""From here on there are metadata transactions (KIP-868)."""
TOKENS_SINCE = 14
"""From here on there are delegation tokens."""
CONTROLLERS_SINCE = 15
"""From here on controllers are registered (KIP-919)."""
DIRECTORIES_SINCE = 17
"""From here on it is known which log directory holds which replica (KIP-858)."""
ELR_SINCE = 23
CORDONED_SINCE = 30
"""From here on log directories can be cordoned (KIP-1066)."""
CONTROLLERS_GO_SINCE = 33
"""From here on controllers can be unregistered."""


def register_broker_version(metadata_version: int) -> int:
    """Which version of RegisterBrokerRecord a metadata version writes."""
    for version, since in ((4, CORDONED_SINCE), (3, DIRECTORIES_SINCE), (2, MIGRATION_SINCE)):
        if metadata_version >= since:
            return version
    return 1


def partition_version(metadata_version: int) -> int:
    """Which version of PartitionRecord and PartitionChangeRecord a metadata version writes."""
    return 2 if metadata_version >= ELR_SINCE else 1 if metadata_version >= DIRECTORIES_SINCE else 0


class FeatureLevel(NamedTuple):
    """One level of a feature."""

    since_metadata_version: int
    """From which metadata version on a new cluster gets it."""
    dependencies: Mapping[str, int] = MappingProxyType({})
    """Feature -> the level that it needs at least."""


_LEVEL_0 = FeatureLevel(7)
FEATURE_LEVELS: Mapping[str, tuple[FeatureLevel, ...]] = MappingProxyType(
    {
        KRAFT_VERSION: (_LEVEL_0, FeatureLevel(21)),
        TRANSACTION_VERSION: (_LEVEL_0, FeatureLevel(24), FeatureLevel(24)),
        GROUP_VERSION: (_LEVEL_0, FeatureLevel(22)),
        ELIGIBLE_LEADER_REPLICAS_VERSION: (_LEVEL_0, FeatureLevel(26, {METADATA_VERSION: 23})),
        SHARE_VERSION: (_LEVEL_0, FeatureLevel(28), FeatureLevel(31)),
        STREAMS_VERSION: (_LEVEL_0, FeatureLevel(29)),
    }
)
"""All features but metadata.version, by name, in the order in which tools list them."""


class VersionError(ValueError):
    """A feature, a level or a release that there is not; the text is Kafka's."""


def metadata_version_of(text: str, *, unstable: bool = False) -> int:
    """The level of `4.4-IV2`, or the last stable one of a release such as `4.4` or `4.4.0`; raises VersionError."""
    name = ".".join(text.split(".")[:2])
    found = None
    for level, known in METADATA_VERSIONS.items():
        if name == known or (name == known.partition("-")[0] and level <= LATEST_METADATA_VERSION):
            found = level
    if found is None or (found > LATEST_METADATA_VERSION and not unstable):
        shown = [known for level, known in METADATA_VERSIONS.items() if unstable or level <= LATEST_METADATA_VERSION]
        raise VersionError(f"Unknown metadata.version '{text}'. Supported metadata.version are: {', '.join(shown)}")
    return found


def metadata_version_name(level: int) -> str:
    """The name of a level; raises VersionError."""
    if level not in METADATA_VERSIONS:
        raise VersionError(
            f"No MetadataVersion with feature level {level}. Valid feature levels are from {min(METADATA_VERSIONS)} to "
            f"{max(METADATA_VERSIONS)}."
        )
    return METADATA_VERSIONS[level]


def default_level(feature: str, metadata_version: int) -> int:
    """The level of a feature in a cluster that begins with a metadata version."""
    level = 0
    for candidate, properties in enumerate(FEATURE_LEVELS[feature]):
        if properties.since_metadata_version > metadata_version:
            break
        level = candidate
    return level


def dependencies(feature: str, level: int) -> Mapping[str, int]:
    """What a level of a feature needs of others; raises VersionError."""
    levels = FEATURE_LEVELS[feature]
    if not 0 <= level < len(levels):
        raise VersionError(f"No feature:{feature} with feature level {level}")
    return levels[level].dependencies


def check_levels(levels: Mapping[str, int]) -> None:
    """Raise VersionError for a level that there is not, or that needs more than the other levels give."""
    for feature in sorted(levels):
        if feature == METADATA_VERSION:
            continue
        for needed, least in dependencies(feature, levels[feature]).items():
            if levels.get(needed, -1) < least:
                raise VersionError(
                    f"{feature} could not be set to {levels[feature]} because it depends on {needed} level {least}"
                )
