"""Metadata versions and feature levels, as Apache Kafka 4.4.0's tool lists them."""

from __future__ import annotations

import pytest

from odradek.metadata.bootstrap import bootstrap_records
from odradek.metadata.features import BOOTSTRAP_LEVELS, LATEST_METADATA_VERSION, MIN_METADATA_VERSION, SUPPORTED
from odradek.metadata.versions import (
    FEATURE_LEVELS,
    METADATA_VERSIONS,
    VersionError,
    check_levels,
    default_level,
    dependencies,
    metadata_version_name,
    metadata_version_of,
)

# What `kafka-storage version-mapping` prints for releases at which something changes.
MAPPINGS = {
    "3.3": (7, [0, 0, 0, 0, 0, 0]),
    "3.8": (20, [0, 0, 0, 0, 0, 0]),
    "3.9": (21, [1, 0, 0, 0, 0, 0]),
    "4.0-IV0": (22, [1, 0, 1, 0, 0, 0]),
    "4.0": (25, [1, 2, 1, 0, 0, 0]),
    "4.1": (27, [1, 2, 1, 1, 0, 0]),
    "4.2-IV0": (28, [1, 2, 1, 1, 1, 0]),
    "4.2": (29, [1, 2, 1, 1, 1, 1]),
    "4.4-IV0": (31, [1, 2, 1, 1, 2, 1]),
    "4.4": (33, [1, 2, 1, 1, 2, 1]),
}
ORDER = [
    "kraft.version",
    "transaction.version",
    "group.version",
    "eligible.leader.replicas.version",
    "share.version",
    "streams.version",
]


@pytest.mark.parametrize("release", MAPPINGS)
def test_a_release_says_which_levels_a_cluster_begins_with(release: str) -> None:
    level, features = MAPPINGS[release]
    assert metadata_version_of(release) == level
    assert list(FEATURE_LEVELS) == ORDER
    assert [default_level(name, level) for name in ORDER] == features


def test_the_patch_of_a_release_does_not_count() -> None:
    assert metadata_version_of("4.4.0") == metadata_version_of("4.4-IV2") == LATEST_METADATA_VERSION


@pytest.mark.parametrize("text", ["2.9-IV2", "invalid", "", "4.5", "4.5-IV0", "4.4-IV3", "4"])
def test_what_is_no_stable_release_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(VersionError, match=rf"^Unknown metadata.version '{text}'. .* are: 3.3-IV3, .*, 4.4-IV2$"):
        metadata_version_of(text)


def test_what_is_not_stable_yet_can_be_looked_up() -> None:
    assert metadata_version_of("4.5-IV0", unstable=True) == 34
    assert metadata_version_name(34) == "4.5-IV0"
    with pytest.raises(VersionError, match=r"feature level 35. Valid feature levels are from 7 to 34\."):
        metadata_version_name(35)


def test_the_table_is_of_what_nodes_support() -> None:
    assert {name: len(levels) - 1 for name, levels in FEATURE_LEVELS.items()} == {
        name: highest for name, (_lowest, highest) in SUPPORTED.items() if name != "metadata.version"
    }
    assert min(METADATA_VERSIONS) == MIN_METADATA_VERSION
    assert {
        name: default_level(name, LATEST_METADATA_VERSION) for name in FEATURE_LEVELS if name != "kraft.version"
    } == {name: level for name, level in BOOTSTRAP_LEVELS.items() if name != "metadata.version"}


def test_a_level_may_need_more_of_another_feature() -> None:
    assert dependencies("eligible.leader.replicas.version", 1) == {"metadata.version": 23}
    check_levels({"metadata.version": 23, "eligible.leader.replicas.version": 1})
    with pytest.raises(
        VersionError, match=r"^eligible.* could not be set to 1 because it depends on metadata.version level 23$"
    ):
        check_levels({"metadata.version": 22, "eligible.leader.replicas.version": 1})
    for level in (-1, 3):
        with pytest.raises(VersionError, match=f"^No feature:share.version with feature level {level}$"):
            check_levels({"metadata.version": 33, "share.version": level})


def test_a_cluster_begins_with_metadata_version_and_without_features_that_are_off() -> None:
    levels = {"transaction.version": 0, "group.version": 1, "kraft.version": 1, "metadata.version": 22}
    records = [record.message for record in bootstrap_records(levels)]
    assert [(record.name, record.feature_level) for record in records] == [  # type: ignore[attr-defined]  # feature levels
        ("metadata.version", 22),
        ("group.version", 1),
    ]
