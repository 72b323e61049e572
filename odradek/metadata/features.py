"""The feature levels of Apache Kafka 4.4.0 (KIP-584, KIP-1022)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

METADATA_VERSION = "metadata.version"
KRAFT_VERSION = "kraft.version"
ELIGIBLE_LEADER_REPLICAS_VERSION = "eligible.leader.replicas.version"
GROUP_VERSION = "group.version"
SHARE_VERSION = "share.version"
STREAMS_VERSION = "streams.version"
TRANSACTION_VERSION = "transaction.version"

MIN_METADATA_VERSION = 7
LATEST_METADATA_VERSION = 33
"""4.4-IV2."""

SUPPORTED: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        METADATA_VERSION: (MIN_METADATA_VERSION, LATEST_METADATA_VERSION),
        ELIGIBLE_LEADER_REPLICAS_VERSION: (0, 1),
        GROUP_VERSION: (0, 1),
        KRAFT_VERSION: (0, 1),
        SHARE_VERSION: (0, 2),
        STREAMS_VERSION: (0, 1),
        TRANSACTION_VERSION: (0, 2),
    }
)
"""What nodes of this release support: feature -> (lowest, highest level)."""

BOOTSTRAP_LEVELS: Mapping[str, int] = MappingProxyType(
    {
        METADATA_VERSION: LATEST_METADATA_VERSION,
        ELIGIBLE_LEADER_REPLICAS_VERSION: 1,
        GROUP_VERSION: 1,
        SHARE_VERSION: 2,
        STREAMS_VERSION: 1,
        TRANSACTION_VERSION: 2,
    }
)
"""What formatting finalizes, in the order of the bootstrap records; `kraft.version` has control records of its own."""

BOOTSTRAP_KRAFT_VERSION = 1
