"""UpdateFeatures (57) on a cluster (KIP-584): levels up and down, by force, and on trial."""

from __future__ import annotations

import pytest

from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from tests.compat.cluster.nodes import Nodes
from tests.support.control_plane import SAFE_DOWNGRADE, UNSAFE_DOWNGRADE, UPGRADE, update_features
from tests.support.process import wait_for
from tests.support.wire import Connection

METADATA, ELR, TRANSACTION, GROUP = (
    "metadata.version",
    "eligible.leader.replicas.version",
    "transaction.version",
    "group.version",
)
FAILED = "The update failed for all features since the following feature had an error: "


def finalized(connection: Connection) -> dict[str, int]:
    request = ApiVersionsRequest(client_software_name="raw", client_software_version="1")
    answer = connection.call(request, ApiVersionsResponse, 4)
    return {each.name: each.max_version_level for each in answer.finalized_features}


@pytest.mark.parametrize(
    ("levels", "kind", "error", "message"),
    [
        ({METADATA: 32}, UPGRADE, "INVALID_UPDATE_VERSION", "without setting the upgrade type"),
        ({METADATA: 32}, SAFE_DOWNGRADE, "INVALID_UPDATE_VERSION", "might delete metadata information"),
        ({METADATA: 32}, UNSAFE_DOWNGRADE, "INVALID_UPDATE_VERSION", "Unsafe metadata downgrade is not supported"),
        ({METADATA: 6}, UNSAFE_DOWNGRADE, "INVALID_UPDATE_VERSION", "6"),
        ({METADATA: 99}, UPGRADE, "INVALID_UPDATE_VERSION", "only supports versions 7-33"),
        ({TRANSACTION: 3}, UPGRADE, "INVALID_UPDATE_VERSION", "only supports versions 0-2"),
        ({TRANSACTION: -1}, SAFE_DOWNGRADE, "INVALID_UPDATE_VERSION", "cannot be less than 0"),
        ({TRANSACTION: 1}, UPGRADE, "INVALID_UPDATE_VERSION", "without setting the upgrade type"),
        ({TRANSACTION: 1}, 9, "INVALID_UPDATE_VERSION", "does not support the given upgrade type"),
        ({TRANSACTION: 1}, SAFE_DOWNGRADE, "NONE", ""),
        ({TRANSACTION: 1}, UNSAFE_DOWNGRADE, "NONE", ""),
        ({TRANSACTION: 2}, UPGRADE, "NONE", ""),
        ({TRANSACTION: 2}, SAFE_DOWNGRADE, "NONE", ""),
        ({GROUP: 0, TRANSACTION: 0}, SAFE_DOWNGRADE, "NONE", ""),
        ({GROUP: 0, "no.such": 1}, SAFE_DOWNGRADE, "INVALID_UPDATE_VERSION", "does not support this feature"),
        ({ELR: 0}, SAFE_DOWNGRADE, "NONE", ""),
        ({"kraft.version": 0}, SAFE_DOWNGRADE, "INVALID_UPDATE_VERSION", ""),
        ({"kraft.version": 1}, UPGRADE, "NONE", ""),
        ({}, UPGRADE, "NONE", ""),
    ],
)
def test_trials(nodes: Nodes, levels: dict[str, int], kind: int, error: str, message: str) -> None:
    before = finalized(nodes.any())
    answer = update_features(nodes.any(), levels, kind, validate_only=True)
    assert answer[0] == error
    assert message in answer[1]
    assert answer[1].startswith("" if error == "NONE" else FAILED)
    assert finalized(nodes.any()) == before


def test_down_and_up_again(nodes: Nodes) -> None:
    """All brokers hear of it."""

    def await_levels(expected: dict[str, int]) -> None:
        for node_id in nodes.nodes:
            wait_for(
                lambda: all(finalized(nodes.to(node_id)).get(name, 0) == level for name, level in expected.items()),  # noqa: B023
                f"{expected} at node {node_id}",
            )

    begun_with = finalized(nodes.any())
    levels = {TRANSACTION: 1, GROUP: 0, ELR: 0}
    assert update_features(nodes.any(), levels, SAFE_DOWNGRADE) == ("NONE", "")
    await_levels(levels)
    # One update that cannot be made spoils all.
    assert update_features(nodes.any(), {TRANSACTION: 2, GROUP: 7}, UPGRADE)[0] == "INVALID_UPDATE_VERSION"
    await_levels(levels)
    assert update_features(nodes.any(), {name: begun_with[name] for name in levels}, UPGRADE) == ("NONE", "")
    await_levels(begun_with)
