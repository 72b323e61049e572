"""The disk of one of three nodes is full: the others go on, and once there is space it comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.cluster import Node
from tests.support.histories.trial import CALM, RECOVERY_S, Trial, new_seed
from tests.support.process import wait_for
from tests.support.small_disk import ON_SMALL_DISKS_ONLY, SmallDisk

MEGABYTES = 100
SMALL = 1
"""The node whose disk it is."""

pytestmark = ON_SMALL_DISKS_ONLY


class OnSmallDisk(Node):
    """All that one of the nodes has is on a small disk."""

    def __init__(self, directory: Path, node_id: int, properties: Mapping[str, str]) -> None:
        self.disk = SmallDisk(directory / "small")
        super().__init__(directory, node_id, {**properties, **self._directories()} if node_id == SMALL else properties)

    def format(self, *options: str) -> None:
        if self.node_id == SMALL:
            self.disk.path.mkdir()
            self.disk.mount(MEGABYTES)
        super().format(*options)

    def close(self) -> None:
        super().close()
        if self.disk.path.is_mount():
            self.disk.unmount()

    def _directories(self) -> dict[str, str]:
        return {"log.dirs": f"{self.disk.path}/logs"}


class PartlyOnSmallDisk(OnSmallDisk):
    """One of the node's log directories is, but not that of the metadata."""

    def _directories(self) -> dict[str, str]:
        directory = self.disk.path.parent
        return {"log.dirs": f"{directory}/data,{self.disk.path}/logs", "metadata.log.dir": f"{directory}/data"}


@pytest.fixture(params=[OnSmallDisk, PartlyOnSmallDisk])
def trial(request: pytest.FixtureRequest) -> Iterator[Trial]:
    with Trial.held(new_seed(), CALM, kind=request.param) as held:
        yield held


def small(trial: Trial) -> OnSmallDisk:
    node = trial.cluster.nodes[SMALL]
    assert isinstance(node, OnSmallDisk)
    return node


def test_clients_go_on_while_a_disk_is_full(trial: Trial) -> None:
    node = small(trial)
    with trial.ordeal("a full disk"):
        node.disk.fill()
        if isinstance(node, PartlyOnSmallDisk):
            wait_for(lambda: bool(trial.ailing()), "a directory is offline", RECOVERY_S)
        else:
            wait_for(lambda: not node.running, "the node ends", RECOVERY_S)
        time.sleep(3.0)
        trial.errors()
        time.sleep(2.0)
        assert trial.errors() == []
        node.disk.clear()
        assert node.stop() == (0 if isinstance(node, PartlyOnSmallDisk) else 1)
