"""The levels of a node's loggers, described and changed while it runs (KIP-412); also by its controller (KIP-919)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from odradek.wire.messages import alter_configs
from odradek.wire.messages.describe_configs import DescribeConfigsResult
from odradek.wire.messages.describe_quorum import DescribeQuorumRequest, DescribeQuorumResponse
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from tests.compat.test_admin_configs import APPEND, BROKER, BROKER_LOGGER, DELETE, SET, SUBTRACT, describe
from tests.compat.test_controller import CLUSTER_METADATA
from tests.support.requests import code
from tests.support.wire import Connection

DYNAMIC_BROKER_LOGGER = 6
ROOT = "root"
LEVELS = {"FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"}


@pytest.fixture
def node(connection: Connection) -> str:
    (broker,) = connection.call(MetadataRequest(topics=[]), MetadataResponse).brokers
    return str(broker.node_id)


@pytest.fixture(params=["broker", "controller"])
def asked(request: pytest.FixtureRequest, connection: Connection) -> Iterator[Connection]:
    """A connection to the broker's listener, then to the controller's."""
    if request.param == "broker":
        yield connection
        return
    quorum = DescribeQuorumRequest(topics=[CLUSTER_METADATA])
    listener = connection.call(quorum, DescribeQuorumResponse).nodes[0].listeners[0]
    with Connection(listener.host, listener.port) as opened:
        yield opened


@pytest.fixture(autouse=True)
def levels_as_before(connection: Connection, node: str) -> Iterator[None]:
    before = levels(connection, node)
    yield
    changed = {name: level for name, level in before.items() if levels(connection, node).get(name) != level}
    if changed:
        alter(connection, node, *((name, SET, level) for name, level in changed.items()))


def levels(connection: Connection, node: str) -> dict[str, str | None]:
    return {entry.name: entry.value for entry in described(connection, node).configs}


def described(connection: Connection, node: str, keys: list[str] | None = None) -> DescribeConfigsResult:
    return describe(connection, BROKER_LOGGER, node, keys)


def alter(
    connection: Connection, node: str, *changes: tuple[str, int, str | None], validate_only: bool = False
) -> tuple[str, str | None]:
    configs = [AlterableConfig(name=name, config_operation=op, value=value) for name, op, value in changes]
    resource = AlterConfigsResource(resource_type=BROKER_LOGGER, resource_name=node, configs=configs)
    request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=validate_only)
    (answer,) = connection.call(request, IncrementalAlterConfigsResponse).responses
    return code(answer.error_code), answer.error_message


def some_logger(connection: Connection, node: str) -> str:
    return next(name for name in levels(connection, node) if name != ROOT)


def test_every_logger_has_a_level(asked: Connection, node: str) -> None:
    entries = {entry.name: entry for entry in described(asked, node).configs}
    assert len(entries) > 1
    assert {entry.value for entry in entries.values()} <= LEVELS
    root = entries[ROOT]
    assert (root.config_source, root.read_only, root.is_sensitive) == (DYNAMIC_BROKER_LOGGER, False, False)
    assert (root.config_type, root.synonyms, root.documentation) == (0, [], "")
    (only,) = described(asked, node, [ROOT, "no.such.logger"]).configs
    assert only.name == ROOT


def test_a_level_is_set_and_taken_back(asked: Connection, node: str) -> None:
    logger = some_logger(asked, node)
    for level in (*LEVELS, "TRACE"):
        assert alter(asked, node, (logger, SET, level)) == ("NONE", None)
        assert levels(asked, node)[logger] == level
    assert alter(asked, node, (ROOT, SET, "ERROR")) == ("NONE", None)
    assert levels(asked, node)[logger] == "TRACE"
    assert alter(asked, node, (logger, DELETE, None)) == ("NONE", None)
    assert levels(asked, node)[logger] == levels(asked, node)[ROOT] == "ERROR"


def test_validate_only_changes_nothing(asked: Connection, node: str) -> None:
    logger = some_logger(asked, node)
    before = levels(asked, node)
    assert alter(asked, node, (logger, SET, "TRACE"), validate_only=True) == ("NONE", None)
    assert levels(asked, node) == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("no.such.logger", SET, "INFO"), "INVALID_CONFIG"),
        (("no.such.logger", DELETE, None), "INVALID_CONFIG"),
        ((ROOT, SET, "LOUD"), "INVALID_CONFIG"),
        ((ROOT, SET, "debug"), "INVALID_CONFIG"),
        ((ROOT, SET, "OFF"), "INVALID_CONFIG"),
        ((ROOT, DELETE, None), "INVALID_REQUEST"),
        ((ROOT, APPEND, "INFO"), "INVALID_REQUEST"),
        ((ROOT, SUBTRACT, "INFO"), "INVALID_REQUEST"),
        ((ROOT, 9, "INFO"), "INVALID_REQUEST"),
    ],
)
def test_what_cannot_be_set(asked: Connection, node: str, change: tuple[str, int, str | None], expected: str) -> None:
    """And nothing of the same request is."""
    logger = some_logger(asked, node)
    before = levels(asked, node)
    assert alter(asked, node, (logger, SET, "TRACE"), change)[0] == expected
    assert levels(asked, node) == before


@pytest.mark.parametrize("name", ["", "999", "abc"])
def test_another_nodes_loggers(asked: Connection, name: str) -> None:
    assert code(described(asked, name).error_code) == "INVALID_REQUEST"
    assert alter(asked, name, (ROOT, SET, "INFO"))[0] == "INVALID_REQUEST"


@pytest.mark.parametrize("changes", [((ROOT, SET, None),), ((ROOT, SET, "INFO"), (ROOT, SET, "WARN"))])
def test_a_broker_refuses_a_level_of_nothing_and_a_logger_twice(
    connection: Connection, node: str, changes: tuple[tuple[str, int, str | None], ...]
) -> None:
    assert alter(connection, node, *changes)[0] == "INVALID_REQUEST"


def test_the_old_alter_configs_does_not_know_loggers(asked: Connection, node: str) -> None:
    configs = [alter_configs.AlterableConfig(name=ROOT, value="INFO")]
    resource = alter_configs.AlterConfigsResource(resource_type=BROKER_LOGGER, resource_name=node, configs=configs)
    request = alter_configs.AlterConfigsRequest(resources=[resource])
    (answer,) = asked.call(request, alter_configs.AlterConfigsResponse).responses
    assert code(answer.error_code) == "INVALID_REQUEST"


def test_loggers_and_properties_in_one_request(asked: Connection, node: str) -> None:
    resources = [
        AlterConfigsResource(
            resource_type=kind,
            resource_name=node,
            configs=[AlterableConfig(name=name, config_operation=SET, value=value)],
        )
        for kind, name, value in ((BROKER_LOGGER, ROOT, "WARN"), (BROKER, "log.cleaner.threads", "1"))
    ]
    answer = asked.call(IncrementalAlterConfigsRequest(resources=resources), IncrementalAlterConfigsResponse)
    outcomes = {each.resource_type: code(each.error_code) for each in answer.responses}
    assert outcomes == {BROKER: "NONE", BROKER_LOGGER: "NONE"}
    assert levels(asked, node)[ROOT] == "WARN"
