"""The cluster that the cases share, of the kind that ``--target`` names."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.compat.cluster.nodes import IDS, KINDS, RATE, Nodes
from tests.support.apache import Unavailable
from tests.support.control_plane import alter
from tests.support.requests import BROKER


@pytest.fixture(scope="session")
def running_nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    kind = str(request.config.getoption("--target"))
    if kind not in KINDS:
        pytest.skip("needs nodes that the cases may restart")
    try:
        nodes = Nodes(tmp_path_factory.mktemp("nodes"), kind)
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka cannot be run here: {missing}")
    try:
        nodes.start()
        nodes.await_all()
        yield nodes
    finally:
        nodes.close()


@pytest.fixture
def nodes(running_nodes: Nodes) -> Nodes:
    """Three nodes, all of which run unless a fixture says otherwise."""
    return running_nodes


@pytest.fixture(scope="module")
def throttle(running_nodes: Nodes) -> Iterator[None]:
    """Replicas that are throttled get next to nothing."""
    for node_id in IDS:
        assert alter(running_nodes.to(node_id), BROKER, str(node_id), {RATE: "1"}) == ("NONE", "")
    yield
    for node_id in IDS:
        assert alter(running_nodes.to(node_id), BROKER, str(node_id), {RATE: None}) == ("NONE", "")


@pytest.fixture
def new_topic(unique: Callable[[str], str]) -> str:
    """The name of a topic that is not there yet."""
    return unique("topic")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy's result, untyped in a hook wrapper
    nodes = getattr(item, "funcargs", {}).get("nodes")
    if report.failed and isinstance(nodes, Nodes):
        report.sections.append(("the nodes' logs end", nodes.log_tail()))
