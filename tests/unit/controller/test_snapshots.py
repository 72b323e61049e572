from __future__ import annotations

from odradek.controller.snapshots import SnapshotGenerator, SnapshotLimits
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT
from tests.unit.controller.harness import Disk, Node, started
from tests.unit.controller.test_topics import create, topic


def snapshotting(node: Node, max_bytes: int, max_interval_ms: int = 0) -> None:
    limits = SnapshotLimits(max_bytes, max_interval_ms)
    generator = SnapshotGenerator(node.raft, node.loader, limits, node.world, node.world)
    node.loader.add_publisher(generator.publish)


def test_a_start_from_a_snapshot_gives_the_same_image_as_the_whole_log() -> None:
    node = started()
    snapshotting(node, 2_000)
    for number in range(60):
        create(node, topic(f"t{number}", 2, retention_ms="5"))
        node.world.run_soon()
    found = node.disk.snapshots.list()
    assert found[0] == BOOTSTRAP_SNAPSHOT
    assert len(found) == 3
    assert found[-1].offset > 100
    restarted = Node(node.disk).start()
    assert restarted.image.same_content(node.image)
    whole = Disk()
    whole.log = node.disk.log
    assert Node(whole).start().image.same_content(node.image)
    assert restarted.register() > 0
    assert create(restarted, topic("after"))[0].error_code == 0


def test_a_snapshot_is_due_after_bytes_or_after_time() -> None:
    node = started()
    snapshotting(node, 1_000_000, max_interval_ms=3_000)
    create(node, topic("t"))
    assert len(node.disk.snapshots.list()) == 1
    node.world.advance(3_500)
    create(node, topic("u"))
    assert len(node.disk.snapshots.list()) == 2
    create(node, topic("v"))
    assert len(node.disk.snapshots.list()) == 2
