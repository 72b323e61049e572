"""A controller's registration with the active one (KIP-919)."""

from __future__ import annotations

from odradek.controller.result import ControllerResult
from odradek.metadata.delta import MetadataDelta
from odradek.metadata.image import MetadataImage
from odradek.metadata.snapshot import VersionedRecord
from odradek.wire.persistent.metadata.unregister_controller_record import UnregisterControllerRecord
from tests.unit.node.machine import Machine


def test_a_controller_that_is_forgotten_while_it_runs_registers_again() -> None:
    node = Machine().start()
    own_id = node.node.config.node_id
    known: list[bool] = []

    def see(_delta: MetadataDelta, image: MetadataImage) -> None:
        known.append(own_id in image.cluster.controllers)

    node.node.quorum.loader.add_publisher(see)
    for _ in range(2):
        forgotten = [VersionedRecord(UnregisterControllerRecord(controller_id=own_id), 0)]
        known.clear()
        node.settled(
            node.node.controller.controller.submit(lambda _state, records=forgotten: ControllerResult(None, records)),  # type: ignore[misc]  # bound here
            1000,
        )
        node.world.advance(100)
        assert known[:1] == [False]
        assert known[-1]
    known.clear()
    node.world.advance(5000)
    assert all(known)
