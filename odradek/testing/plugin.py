"""The pytest plugin: a Kafka for each test, or for all of them, without anything to configure.

    def test_orders(kafka_broker):
        produce(kafka_broker.bootstrap_servers, ...)

    @pytest.mark.kafka(topics={"orders": 3}, config={"auto.create.topics.enable": False})
    def test_no_other_topics(kafka_broker): ...

Under xdist each worker has nodes of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from odradek.testing.embedded import EmbeddedKafka
    from odradek.testing.warm import WarmProcesses

LOG_TAIL_LINES = 40
"""How much of the nodes' log is shown below a test that has failed."""
REQUESTS_SHOWN = 20
"""How many of the clients' last requests are shown there."""
_MARKER = "kafka"
_CLUSTER_NODES = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, which go for all nodes of a run."""
    group = parser.getgroup("kafka", "the Kafka of kafka_broker, kafka_broker_session and kafka_cluster")
    group.addoption(
        "--kafka-set", metavar="KEY=VALUE", action="append", default=[], help="set a property of all nodes; repeatable"
    )
    group.addoption("--kafka-process", action="store_true", help="run the nodes in processes of their own")
    group.addoption("--kafka-defaults", action="store_true", help="have Kafka's defaults, and not those for tests")
    parser.addini("kafka_set", "properties of all nodes, KEY=VALUE a line", type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(nodes, topics, config, process, kafka_defaults, seed, max_versions): what kafka_broker or "
        "kafka_cluster is like, with the arguments of odradek.testing.EmbeddedKafka; properties of all markers of a "
        "test count, and of the other arguments those of the marker that is closest to it",
    )


@pytest.fixture
def kafka_broker(request: pytest.FixtureRequest) -> Iterator[EmbeddedKafka]:
    """An empty Kafka of one node for this test: an `odradek.testing.EmbeddedKafka` that is running."""
    yield from _running(request, 1)


@pytest.fixture
def kafka_cluster(request: pytest.FixtureRequest) -> Iterator[EmbeddedKafka]:
    """An empty Kafka of three nodes for this test: an `odradek.testing.EmbeddedKafka` that is running."""
    yield from _running(request, _CLUSTER_NODES)


@pytest.fixture(scope="session")
def kafka_broker_session(request: pytest.FixtureRequest) -> Iterator[EmbeddedKafka]:
    """A Kafka of one node that all tests of a run share: an `odradek.testing.EmbeddedKafka` that is running."""
    yield from _running(request, 1)


@pytest.fixture(scope="session")
def _kafka_warm_processes() -> Iterator[WarmProcesses]:
    """A process takes much longer to start than its nodes, so those of one test are emptied for the next."""
    from odradek.testing.warm import WarmProcesses

    with WarmProcesses() as processes:
        yield processes


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Say what is missing, what is too much and what differs of the records of a topic."""
    if op != "==" or "odradek.testing.records" not in sys.modules:
        return None
    from odradek.testing.differences import explain

    return explain(left, right)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show below a test that has failed what its clients asked last, and the end of the nodes' log."""
    report = yield
    embedded = sys.modules.get("odradek.testing.embedded")
    if embedded is not None and report.failed and call.when == "call":
        for name, value in sorted(getattr(item, "funcargs", {}).items()):
            if isinstance(value, embedded.EmbeddedKafka):
                report.sections.append((f"The last requests to {name}", _last_requests(value)))
                report.sections.append((f"The end of {name}'s log", "\n".join(value.log[-LOG_TAIL_LINES:])))
    return report


def _last_requests(kafka: EmbeddedKafka) -> str:
    try:
        return "\n".join(map(str, kafka.requests[-REQUESTS_SHOWN:])) or "none"
    except RuntimeError as error:
        return str(error)


def _running(request: pytest.FixtureRequest, nodes: int) -> Iterator[EmbeddedKafka]:
    from odradek.testing.embedded import EmbeddedKafka

    options = request.config.option
    lines = [*request.config.getini("kafka_set"), *options.kafka_set]
    config: dict[str, str] = dict(map(_property, lines))
    arguments: dict[str, Any] = {
        "nodes": nodes,
        "process": options.kafka_process,
        "kafka_defaults": options.kafka_defaults,
    }
    if request.scope == "function":
        # The closest marker comes first, and has the last word.
        for marker in reversed(list(request.node.iter_markers(_MARKER))):
            if marker.args:
                raise pytest.UsageError(f"{request.node.nodeid}: the arguments of @pytest.mark.{_MARKER} have names")
            arguments.update(marker.kwargs)
            config.update(marker.kwargs.get("config") or {})
    arguments["config"] = config
    if request.scope == "function" and arguments["process"] and "data_dir" not in arguments:
        with request.getfixturevalue("_kafka_warm_processes").empty(arguments) as kafka:
            yield kafka
    else:
        with EmbeddedKafka(**arguments) as kafka:
            yield kafka


def _property(text: str) -> tuple[str, str]:
    """Read KEY=VALUE; raises UsageError."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise pytest.UsageError(f"kafka_set: {text}: write KEY=VALUE")
    return key.strip(), value.strip()
