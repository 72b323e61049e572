"""Several embedded nodes on one loop: what each of them knows when it is said that they are ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from odradek.testing.cluster import Cluster
from odradek.testing.options import Options

NEVER_S = 3600.0
DEADLINE_S = 20.0


def test_every_node_knows_all_nodes_and_topics_from_the_start() -> None:
    async def look() -> None:
        cluster = Cluster(Options.of(3, {"t": 6}, None, None, False), lambda: None)
        await cluster.start()
        # Nothing is awaited here, so nobody can learn it late.
        images = [node.node.quorum.loader.image for node in cluster.nodes.values()]
        assert [sorted(image.cluster.brokers) for image in images] == [[1, 2, 3]] * 3
        assert [any(broker.fenced for broker in image.cluster.brokers.values()) for image in images] == [False] * 3
        assert [list(image.topics.by_name) for image in images] == [["t"]] * 3
        leaders = {each.leader for each in images[0].topics.by_name["t"].partitions.values()}
        assert leaders == {1, 2, 3}
        await cluster.stop()

    asyncio.run(look())


def test_no_time_out_is_part_of_the_start_of_a_node_alone() -> None:
    """That is what keeps a start at a few milliseconds, however slow the machine is."""

    async def start() -> None:
        loop = asyncio.get_running_loop()
        later = loop.call_later

        def never(_delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
            return later(NEVER_S, callback)

        loop.call_later = never  # type: ignore[method-assign, assignment]  # no timer of the node's ends
        cluster = Cluster(Options.of(1, ["t"], None, None, False), lambda: None)
        starting = asyncio.ensure_future(cluster.start())
        later(DEADLINE_S, starting.cancel)
        await starting
        await cluster.stop()

    asyncio.run(start())
