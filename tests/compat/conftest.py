"""Fixtures of the conformance suite: the target, topics and raw connections."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.apache import Unavailable
from tests.support.clients import client_of
from tests.support.drivers.base import Driver
from tests.support.drivers.registry import DRIVER_NAMES, open_driver
from tests.support.process import BrokerProcess
from tests.support.requests import connect, create_topic
from tests.support.targets import FAST_SETTINGS, ExternalBroker, Target, new_broker
from tests.support.wire import Connection

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    # Client libraries leave sockets to the garbage collector, which may run anywhere.
    config.addinivalue_line("filterwarnings", "ignore::ResourceWarning")
    warnings.simplefilter("ignore", ResourceWarning)
    config.addinivalue_line("markers", "owns_broker: starts a broker of its own, with settings or restarts")
    config.addinivalue_line("markers", "client(name): the library that a case is about, where no parameter says so")
    config.addinivalue_line("markers", "odradek_only(reason): a promise that Apache Kafka does not make")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kind = target_kind(config)
    clients = config.getoption("--client")
    if clients:
        others = [item for item in items if client_of(item) not in clients]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if client_of(item) in clients]
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        # What client libraries deprecate or leave open is not ours to fix.
        item.add_marker(pytest.mark.filterwarnings("default"))
        item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
        only = item.get_closest_marker("odradek_only")
        if only is not None and kind != "odradek":
            item.add_marker(pytest.mark.skip(reason=f"only for Odradek: {only.kwargs['reason']}"))
        if item.get_closest_marker("owns_broker") and kind not in ("odradek", "apache"):
            item.add_marker(pytest.mark.skip(reason="needs a broker that the test may restart"))


def target_kind(config: pytest.Config) -> str:
    return str(config.getoption("--target"))


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The broker that most cases share."""
    kind = target_kind(request.config)
    if kind not in ("odradek", "apache"):
        yield ExternalBroker(kind)
        return
    try:
        broker = new_broker(kind, tmp_path_factory.mktemp("broker"), FAST_SETTINGS)
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka cannot be run here: {missing}")
    broker.start()
    try:
        yield broker
    finally:
        broker.close()


@pytest.fixture
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., BrokerProcess]]:
    """Starts brokers of this test's own: ``own_broker({"property": "value"})``."""
    with ExitStack() as stack:

        def start(overrides: Mapping[str, str] | None = None) -> BrokerProcess:
            directory = tmp_path / f"broker-{uuid4().hex[:6]}"
            directory.mkdir()
            try:
                settings = {**FAST_SETTINGS, **(overrides or {})}
                broker = new_broker(target_kind(request.config), directory, settings)
            except Unavailable as missing:
                pytest.skip(f"Apache Kafka cannot be run here: {missing}")
            stack.callback(broker.close)
            broker.start()
            return broker

        yield start


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Makes names that no other test or run uses: ``unique("group")``."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")[:60]

    def name(kind: str) -> str:
        return f"{kind}-{stem}-{uuid4().hex[:8]}"

    return name


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy's result, untyped in a hook wrapper
    if report.failed and "target" in getattr(item, "funcargs", {}):
        report.sections.append(("the broker's log ends", item.funcargs["target"].log_tail()))  # type: ignore[attr-defined]  # set by pytest on functions


@pytest.fixture
def connection(target: Target) -> Iterator[Connection]:
    """A raw connection to the shared broker."""
    with connect(target) as opened:
        yield opened


@pytest.fixture
def new_topic(connection: Connection, unique: Callable[[str], str]) -> Callable[..., str]:
    """Creates a topic of this test's own: ``new_topic(partitions=2, configs={...})``."""

    def create(partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        name = unique("topic")
        create_topic(connection, name, partitions, configs)
        return name

    return create


@pytest.fixture(scope="session")
def drivers(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Driver]]:
    """Client libraries by name, each opened once."""
    opened: dict[str, Driver] = {}
    log_path = tmp_path_factory.mktemp("drivers") / "log"

    def get(name: str) -> Driver:
        if name not in opened:
            try:
                opened[name] = open_driver(name, target.bootstrap, log_path)
            except Unavailable as missing:
                pytest.skip(f"no {name} client here: {missing}")
        return opened[name]

    yield get
    for driver in opened.values():
        driver.close()


@pytest.fixture(params=DRIVER_NAMES)
def driver(request: pytest.FixtureRequest, drivers: Callable[[str], Driver]) -> Driver:
    """Every client library in turn."""
    return drivers(request.param)
