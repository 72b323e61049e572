"""What Odradek accepts and refuses is what Kafka accepts and refuses, with the text that Kafka gives.

`data/validation.tsv` holds Kafka's answers, made by `tools/oracle/ConfigOracle.java`; `test_oracle.py` asks it again.
To add a case, write a line that begins with OK and a tab, and let that test say what Kafka answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from odradek.config.alter import (
    validate_client_metrics,
    validate_dynamic_broker,
    validate_group,
    validate_topic_overrides,
)
from odradek.config.broker import BrokerConfig
from odradek.config.defaults import single_node_defaults
from odradek.config.types import ConfigError
from odradek.wire.errors import ErrorCode, KafkaError

CASES = Path(__file__).parent / "data" / "validation.tsv"

# Where a broker that starts says something else than Kafka on purpose: Kafka's text does not say what is wrong.
DIFFERENT_TEXT = {
    "Unable to parse a listener name from foo": "Unable to parse a listener name from foo; write NAME://HOST:PORT",
    "Error parsing configuration property 'listener.security.protocol.map': begin 0, end -1, length 1": (
        "Error parsing configuration property 'listener.security.protocol.map': 'x' is not a key:value pair"
    ),
    "Error parsing configuration property 'max.connections.per.ip.overrides': begin 0, end -1, length 1": (
        "Error parsing configuration property 'max.connections.per.ip.overrides': 'x' is not a key:value pair"
    ),
    'For input string: "b"': "max.connections.per.ip.overrides: 'b' is not a number of connections for a",
    "/ by zero": "log.cleaner.threads must be at least 1 when a node starts",
    "Unknown compression type id: 9": "offsets.topic.compression.codec: Unknown compression type id: 9",
}
# Where Kafka accepts what cannot work.
REFUSED_EARLIER = {
    "PLAINTEXT://:70000,CONTROLLER://:0": "Error creating broker listeners from "
    "'[PLAINTEXT://:70000, CONTROLLER://:0]': The port of PLAINTEXT://:70000 must be at most 65535",
    "PLAINTEXT://:-1,CONTROLLER://:0": "Error creating broker listeners from "
    "'[PLAINTEXT://:-1, CONTROLLER://:0]': Unable to parse PLAINTEXT://:-1 to a broker endpoint",
}


def _cases() -> list[tuple[str, str, dict[str, str]]]:
    cases = []
    for line in CASES.read_text(encoding="utf-8").splitlines():
        answer, kind, *properties = line.split("\t")
        cases.append((answer, kind, dict(item.split("=", 1) for item in properties)))
    return cases


def _answer(kind: str, values: Mapping[str, str]) -> str:
    """What Odradek says, in the form of the oracle: OK, or what went wrong."""
    try:
        if kind == "broker":
            BrokerConfig.load(values)
            return "OK"
        config = BrokerConfig.load(single_node_defaults("localhost", 9092, data_dir="data"))
        if kind == "topic":
            validate_topic_overrides(config, values)
        elif kind == "group":
            validate_group(config, "group", values)
        elif kind == "client-metrics":
            validate_client_metrics("name", values)
        else:
            validate_dynamic_broker(config, values, per_broker=kind == "dynamic-broker")
    except ConfigError as error:
        return error.client_message
    except KafkaError as error:
        return f"{error.code.name}: {error.message}"
    return "OK"


def _expected(answer: str, kind: str, values: Mapping[str, str]) -> str:
    if answer == "OK":
        return REFUSED_EARLIER.get(values.get("listeners", ""), "OK")
    exception, _, message = answer.partition(": ")
    if kind == "broker":
        return DIFFERENT_TEXT.get(message, message)
    if kind.startswith("dynamic-"):
        # A broker answers every refusal of a broker's key with this code (KAFKA-13609).
        return f"{ErrorCode.INVALID_REQUEST.name}: {message}"
    code = ErrorCode.INVALID_REQUEST if exception == "InvalidRequestException" else ErrorCode.INVALID_CONFIG
    return f"{code.name}: {message}"


@pytest.mark.parametrize(("answer", "kind", "values"), _cases())
def test_a_configuration_is_judged_as_kafka_judges_it(answer: str, kind: str, values: dict[str, str]) -> None:
    assert _answer(kind, values) == _expected(answer, kind, values)
