"""DescribeConfigs answers what a broker of Apache Kafka 4.4.0 answered with the same properties.

`data/describe_configs.json` is what such a broker said, before and after changes at run time; an entry is value,
source, sensitive, read-only, type and synonyms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import pytest

from odradek.config.broker import BrokerConfig
from odradek.config.describe import (
    ConfigEntry,
    describe_broker_logger,
    describe_broker_resource,
    describe_client_metrics,
    describe_group,
    describe_topic,
)
from odradek.config.table import TABLE
from odradek.config.types import ConfigSource
from odradek.wire.errors import ErrorCode, KafkaError

Row = list[object]


class Case(TypedDict):
    kind: str
    name: str
    overrides: dict[str, str]
    entries: dict[str, Row]


class Scenario(TypedDict):
    dynamic_broker: dict[str, str]
    dynamic_default: dict[str, str]
    cases: list[Case]


class Recording(TypedDict):
    static: dict[str, str]
    scenarios: list[Scenario]


RECORDING: Recording = json.loads((Path(__file__).parent / "data" / "describe_configs.json").read_bytes())


def _config(scenario: Scenario) -> BrokerConfig:
    config = BrokerConfig.load(RECORDING["static"])
    return config.with_dynamic(scenario["dynamic_default"], scenario["dynamic_broker"])


def _describe(
    config: BrokerConfig, kind: str, name: str, overrides: Mapping[str, str], documentation: bool = False
) -> list[ConfigEntry]:
    if kind == "BROKER":
        return describe_broker_resource(config, name, documentation=documentation)
    if kind == "TOPIC":
        return describe_topic(config, overrides, documentation=documentation)
    if kind == "GROUP":
        return describe_group(config, name, overrides, documentation=documentation)
    return describe_client_metrics(name, overrides, documentation=documentation)


def _row(entry: ConfigEntry) -> Row:
    synonyms = [[each.name, each.value, int(each.source)] for each in entry.synonyms]
    return [entry.value, int(entry.source), entry.sensitive, entry.read_only, int(entry.type), synonyms]


KEYS = {name for table in TABLE.values() for name in table}
CASES = [(scenario, case) for scenario in RECORDING["scenarios"] for case in scenario["cases"]]


@pytest.mark.parametrize(
    ("scenario", "case"), CASES, ids=[f"{each['kind']}-{each['name']}-{i}" for i, (_, each) in enumerate(CASES)]
)
def test_every_entry_is_that_of_apache_kafka(scenario: Scenario, case: Case) -> None:
    entries = _describe(_config(scenario), case["kind"], case["name"], case["overrides"])
    assert {entry.name: _row(entry) for entry in entries} == case["entries"]


def test_only_the_names_asked_for_are_described() -> None:
    config = _config(RECORDING["scenarios"][0])
    assert [entry.name for entry in describe_broker_resource(config, "1", ["node.id", "nope"])] == ["node.id"]
    assert [entry.name for entry in describe_topic(config, {}, ["retention.ms"])] == ["retention.ms"]


def test_secrets_are_never_shown() -> None:
    for scenario in RECORDING["scenarios"]:
        for entry in describe_broker_resource(_config(scenario), "1"):
            shown = [entry.value, *(synonym.value for synonym in entry.synonyms)]
            assert "secret" not in shown
            assert "geheim" not in shown


def test_documentation_comes_when_asked_for() -> None:
    config = _config(RECORDING["scenarios"][0])
    for case in RECORDING["scenarios"][0]["cases"]:
        for entry in _describe(config, case["kind"], case["name"], {}, documentation=True):
            if entry.name in KEYS:
                assert entry.documentation, entry.name
        assert all(not entry.documentation for entry in _describe(config, case["kind"], case["name"], {}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("2", "Unexpected broker id, expected 1 or empty string, but received 2"),
        ("x", "Broker id must be an integer, but it is: x"),
    ],
)
def test_another_broker_is_not_described(name: str, message: str) -> None:
    with pytest.raises(KafkaError, match=message) as caught:
        describe_broker_resource(_config(RECORDING["scenarios"][0]), name)
    assert caught.value.code is ErrorCode.INVALID_REQUEST


def test_loggers_are_described_for_this_broker_only() -> None:
    config = _config(RECORDING["scenarios"][0])
    (entry,) = describe_broker_logger(config, "1", {"root": "INFO"})
    assert (entry.name, entry.value, entry.source) == ("root", "INFO", ConfigSource.DYNAMIC_BROKER_LOGGER_CONFIG)
    for name in ("", "2", "x"):
        with pytest.raises(KafkaError):
            describe_broker_logger(config, name, {})


def test_a_resource_without_a_name_is_refused() -> None:
    config = _config(RECORDING["scenarios"][0])
    with pytest.raises(KafkaError, match="Group name must not be empty"):
        describe_group(config, "", {})
    with pytest.raises(KafkaError, match="Client metrics subscription name must not be empty"):
        describe_client_metrics("", {})
