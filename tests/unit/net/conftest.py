"""An event loop of each kind that the node may run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from odradek.net.limits import NetworkLimits
from odradek.net.loop import new_event_loop
from tests.unit.net.harness import Node, run_on

Scenario = Callable[[Node], Coroutine[Any, Any, None]]
Run = Callable[..., None]


@pytest.fixture(params=["default", "selector"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    loop = new_event_loop() if request.param == "default" else asyncio.SelectorEventLoop()
    yield loop
    loop.close()


@pytest.fixture
def run(loop: asyncio.AbstractEventLoop) -> Run:
    """Runs a scenario with a node, and stops the node afterwards."""

    def run_scenario(
        scenario: Scenario, limits: NetworkLimits | None = None, inter_broker_listener: str | None = None
    ) -> None:
        async def whole() -> None:
            node = Node(limits or NetworkLimits(), inter_broker_listener)
            try:
                await scenario(node)
            finally:
                await node.close()

        run_on(loop, whole)

    return run_scenario
