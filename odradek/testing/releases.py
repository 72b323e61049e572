"""What older releases of Apache Kafka offer: the latest versions of their APIs, and levels of features.

The numbers are facts of the releases' own declarations: `validVersions` in `clients/src/main/resources/common/message`
(without those that are `latestVersionUnstable`), at the tags 2.8.2, 3.0.2, 3.1.2, 3.2.3, 3.3.2, 3.4.1, 3.5.2, 3.6.2,
3.7.1, 3.8.0, and in the jar of kafka-clients 3.9.1; `MetadataVersion` and `BrokerFeatures` at the same tags, 3.9.0-rc3
for 3.9. APIs are those that brokers have, with the names of 4.4.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from odradek.wire.api_table import APIS
from odradek.wire.apis import ApiKey, stable_versions

_CHANGES: tuple[tuple[str, Mapping[str, int]], ...] = (
    (
        "2.8",
        {
            "AddOffsetsToTxn": 3, "AddPartitionsToTxn": 3, "AlterClientQuotas": 1, "AlterConfigs": 2,
            "AlterPartitionReassignments": 0, "AlterReplicaLogDirs": 2, "AlterUserScramCredentials": 0,
            "ApiVersions": 3, "CreateAcls": 2, "CreateDelegationToken": 2, "CreatePartitions": 3, "CreateTopics": 7,
            "DeleteAcls": 2, "DeleteGroups": 2, "DeleteRecords": 2, "DeleteTopics": 6, "DescribeAcls": 2,
            "DescribeClientQuotas": 1, "DescribeCluster": 0, "DescribeConfigs": 4, "DescribeDelegationToken": 2,
            "DescribeGroups": 5, "DescribeLogDirs": 2, "DescribeProducers": 0, "DescribeUserScramCredentials": 0,
            "ElectLeaders": 2, "EndTxn": 3, "ExpireDelegationToken": 2, "Fetch": 12, "FindCoordinator": 3,
            "Heartbeat": 4, "IncrementalAlterConfigs": 1, "InitProducerId": 4, "JoinGroup": 7, "LeaveGroup": 4,
            "ListGroups": 4, "ListOffsets": 6, "ListPartitionReassignments": 0, "Metadata": 11, "OffsetCommit": 8,
            "OffsetDelete": 0, "OffsetFetch": 7, "OffsetForLeaderEpoch": 4, "Produce": 9, "RenewDelegationToken": 2,
            "SaslAuthenticate": 2, "SaslHandshake": 1, "SyncGroup": 5, "TxnOffsetCommit": 3, "UpdateFeatures": 0,
            "WriteTxnMarkers": 1,
        },
    ),
    (
        "3.0",
        {"DescribeTransactions": 0, "FindCoordinator": 4, "ListOffsets": 7, "ListTransactions": 0, "OffsetFetch": 8},
    ),
    ("3.1", {"Fetch": 13, "Metadata": 12}),
    ("3.2", {"DescribeLogDirs": 3, "JoinGroup": 9, "LeaveGroup": 5}),
    (
        "3.3",
        {
            "CreateAcls": 3, "CreateDelegationToken": 3, "DeleteAcls": 3, "DescribeAcls": 3,
            "DescribeDelegationToken": 3, "DescribeLogDirs": 4, "DescribeQuorum": 1, "UnregisterBroker": 0,
            "UpdateFeatures": 1,
        },
    ),
    ("3.4", {}),
    ("3.5", {"Fetch": 15, "ListOffsets": 8}),
    ("3.6", {"AddPartitionsToTxn": 4}),
    (
        "3.7",
        {
            "ConsumerGroupHeartbeat": 0, "DescribeCluster": 1, "Fetch": 16, "GetTelemetrySubscriptions": 0,
            "ListConfigResources": 0, "OffsetCommit": 9, "OffsetFetch": 9, "Produce": 10, "PushTelemetry": 0,
        },
    ),
    (
        "3.8",
        {
            "AddOffsetsToTxn": 4, "AddPartitionsToTxn": 5, "ConsumerGroupDescribe": 0, "DescribeTopicPartitions": 0,
            "EndTxn": 4, "FindCoordinator": 5, "InitProducerId": 5, "ListGroups": 5, "ListTransactions": 1,
            "Produce": 11, "TxnOffsetCommit": 4,
        },
    ),
    (
        "3.9",
        {
            "AddRaftVoter": 0, "ApiVersions": 4, "DescribeQuorum": 2, "Fetch": 17, "FindCoordinator": 6,
            "ListOffsets": 9, "RemoveRaftVoter": 0,
        },
    ),
)  # fmt: skip
"""What each release offers that the one before does not."""

_METADATA_LEVELS: Mapping[str, int] = {
    "3.3": 7, "3.4": 8, "3.5": 11, "3.6": 14, "3.7": 19, "3.8": 20, "3.9": 21,
}  # fmt: skip
"""The highest `metadata.version`; 1 is the lowest. Brokers of earlier releases say nothing of features."""
_KRAFT_VERSION_SINCE = "3.9"

_KEYS = {api.name: ApiKey(key) for key, api in APIS.items()}


class Offer(NamedTuple):
    """What clients are offered."""

    versions: Mapping[ApiKey, int]
    """The latest version of each API; what is not here is not offered."""
    features: Mapping[str, tuple[int, int]] | None
    """The lowest and highest levels that are supported; None: what this node supports."""


MaxVersions = str | Mapping[str, int]
"""A release, or the latest versions of some APIs by name."""


def releases() -> list[str]:
    """Those that are known, oldest first."""
    return [release for release, _changes in _CHANGES]


def offer_of(wanted: MaxVersions) -> Offer:
    """Raises ValueError for a release, an API or a version that is not known."""
    if isinstance(wanted, str):
        return _offer_of_release(wanted)
    versions = {key: stable_versions(key)[-1] for key in _KEYS.values() if stable_versions(key)}
    for name, version in wanted.items():
        key = _KEYS.get(name)
        if key is None:
            raise ValueError(f"max_versions: there is no API {name!r}")
        if version not in stable_versions(key):
            offered = stable_versions(key)
            raise ValueError(f"max_versions: {name} has the versions {offered[0]} to {offered[-1]}, and not {version}")
        versions[key] = version
    return Offer(versions, None)


def _offer_of_release(wanted: str) -> Offer:
    if wanted not in releases():
        raise ValueError(f"max_versions: {wanted!r} is none of the releases {', '.join(releases())}")
    versions: dict[ApiKey, int] = {}
    for release, changes in _CHANGES:
        versions.update((_KEYS[name], version) for name, version in changes.items())
        if release == wanted:
            break
    features = {}
    if wanted in _METADATA_LEVELS:
        features["metadata.version"] = (1, _METADATA_LEVELS[wanted])
    if wanted == _KRAFT_VERSION_SINCE:
        features["kraft.version"] = (0, 1)
    return Offer(versions, features)
