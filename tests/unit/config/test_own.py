"""The properties that Kafka does not have."""

from __future__ import annotations

import pytest

from odradek.config import BrokerConfig, ConfigError, single_node_defaults
from odradek.config.describe import describe_broker
from odradek.config.own import RECORD_VALIDATION


def load(validation: str | None = None) -> BrokerConfig:
    named = {} if validation is None else {RECORD_VALIDATION: validation}
    return BrokerConfig.load({**single_node_defaults("localhost", 9092, data_dir="data"), **named})


def test_it_has_a_default_and_is_not_described_unless_set() -> None:
    config = load()
    assert config.string(RECORD_VALIDATION) == "header"
    assert [entry.value for entry in describe_broker(config, [RECORD_VALIDATION])] == []


def test_it_can_be_set_and_is_then_described() -> None:
    config = load(validation="full")
    assert config.string(RECORD_VALIDATION) == "full"
    assert [entry.value for entry in describe_broker(config, [RECORD_VALIDATION])] == ["full"]


def test_other_values_are_refused() -> None:
    with pytest.raises(ConfigError, match=RECORD_VALIDATION):
        load(validation="some")
