"""AlterConfigs and IncrementalAlterConfigs: operations, and refusals that need more than one value to see."""

from __future__ import annotations

import pytest

from odradek.config.alter import (
    MAX_VALUE_LENGTH,
    Alteration,
    AlterOp,
    apply_alterations,
    check_broker_name,
    check_request,
    validate_client_metrics,
    validate_dynamic_broker,
    validate_group,
    validate_topic_overrides,
)
from odradek.config.broker import BrokerConfig
from odradek.config.defaults import single_node_defaults
from odradek.config.types import ResourceType
from odradek.wire.errors import ErrorCode, KafkaError

CONFIG = BrokerConfig.load(single_node_defaults("localhost", 9092, data_dir="data"))
TOPIC = ResourceType.TOPIC
BROKER = ResourceType.BROKER


def altered(current: str | None, op: AlterOp, value: str, name: str = "cleanup.policy") -> str | None:
    existing = {} if current is None else {name: current}
    return apply_alterations(TOPIC, existing, [Alteration(name, op, value)])[name]


def refusal(code: ErrorCode, message: str) -> pytest.RaisesExc[KafkaError]:
    def matches(error: KafkaError) -> bool:
        return error.code is code and error.message == message

    return pytest.RaisesExc(KafkaError, check=matches)


def test_set_and_delete() -> None:
    changes = apply_alterations(
        TOPIC, {"a": "1"}, [Alteration("a", AlterOp.DELETE, None), Alteration("b", AlterOp.SET, "x")]
    )
    assert changes == {"a": None, "b": "x"}


@pytest.mark.parametrize(
    ("current", "op", "value", "result"),
    [
        (None, AlterOp.APPEND, "compact", "delete,compact"),
        ("compact", AlterOp.APPEND, "compact", "compact"),
        ("compact", AlterOp.APPEND, "delete,compact", "compact,delete"),
        ("", AlterOp.APPEND, "compact", "compact"),
        ("compact,delete", AlterOp.SUBTRACT, "compact", "delete"),
        ("delete", AlterOp.SUBTRACT, "delete,compact", ""),
        (None, AlterOp.SUBTRACT, "delete", ""),
        ("delete", AlterOp.APPEND, ",", "delete"),
        ("delete", AlterOp.APPEND, "", "delete,"),
    ],
)
def test_lists_grow_and_shrink(current: str | None, op: AlterOp, value: str, result: str) -> None:
    assert altered(current, op, value) == result


@pytest.mark.parametrize(
    ("kind", "name", "op", "message"),
    [
        (TOPIC, "retention.ms", AlterOp.APPEND, "Can't APPEND to key retention.ms because its type is not LIST."),
        (TOPIC, "foo", AlterOp.SUBTRACT, "Can't SUBTRACT to key foo because its type is not LIST."),
        (
            ResourceType.GROUP,
            "streams.rack.aware.assignment.tags",
            AlterOp.APPEND,
            "Can't APPEND to key streams.rack.aware.assignment.tags because its type is not LIST.",
        ),
        (
            ResourceType.CLIENT_METRICS,
            "metrics",
            AlterOp.APPEND,
            "Can't APPEND to key metrics because its type is not LIST.",
        ),
        (
            BROKER,
            "max.connections",
            AlterOp.APPEND,
            "Config value append is not allowed for config key: max.connections",
        ),
        (BROKER, "foo", AlterOp.APPEND, "Unknown config name: foo"),
    ],
)
def test_only_lists_of_brokers_and_topics_can_be_appended_to(
    kind: ResourceType, name: str, op: AlterOp, message: str
) -> None:
    with refusal(ErrorCode.INVALID_CONFIG, message):
        apply_alterations(kind, {}, [Alteration(name, op, "x")])


def test_a_value_fits_into_a_record_or_is_refused() -> None:
    assert altered(None, AlterOp.SET, "x" * MAX_VALUE_LENGTH) == "x" * MAX_VALUE_LENGTH
    with pytest.raises(KafkaError) as caught:
        altered(None, AlterOp.SET, "x" * (MAX_VALUE_LENGTH + 1))
    assert caught.value.code is ErrorCode.INVALID_CONFIG


def test_a_request_names_each_key_once_and_gives_values() -> None:
    check_request([Alteration("a", AlterOp.SET, "1"), Alteration("b", AlterOp.DELETE, None)])
    with refusal(ErrorCode.INVALID_REQUEST, "Error due to duplicate config keys"):
        check_request([Alteration("a", AlterOp.SET, "1"), Alteration("a", AlterOp.DELETE, None)])
    with refusal(ErrorCode.INVALID_REQUEST, "Null value not supported for : a, b"):
        check_request([Alteration("a", AlterOp.SET, None), Alteration("b", AlterOp.APPEND, None)])
    with refusal(ErrorCode.INVALID_REQUEST, "Unknown operations type 7"):
        check_request([Alteration("a", 7, "1")])


def test_a_broker_takes_changes_for_itself_and_for_all() -> None:
    check_broker_name("", 1)
    check_broker_name("1", 1)
    with refusal(ErrorCode.INVALID_REQUEST, "Unexpected broker id, expected 1, but received 2"):
        check_broker_name("2", 1)
    with refusal(ErrorCode.INVALID_REQUEST, "Node id must be an integer, but it is: x"):
        check_broker_name("x", 1)


def test_resources_without_a_name_are_refused() -> None:
    with refusal(ErrorCode.INVALID_REQUEST, "Default group resources are not allowed."):
        validate_group(CONFIG, "", {})
    with refusal(ErrorCode.INVALID_REQUEST, "Subscription name can't be empty"):
        validate_client_metrics("", {})


def test_a_topics_rules_count_what_the_broker_gives() -> None:
    broker = CONFIG.with_dynamic({"log.cleaner.max.compaction.lag.ms": "10"}, {})
    message = "conflict topic config setting min.compaction.lag.ms (1000) > max.compaction.lag.ms (10)"
    with refusal(ErrorCode.INVALID_CONFIG, message):
        validate_topic_overrides(broker, {"min.compaction.lag.ms": "1000"})


INVALID_DYNAMIC = (
    "Invalid value org.apache.kafka.common.config.ConfigException: {} for configuration Invalid dynamic configuration"
)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "num.io.threads",
            "17",
            INVALID_DYNAMIC.format(
                "Dynamic thread count update validation failed for num.io.threads=17, value should not be greater than "
                "double the current value 8"
            ),
        ),
        (
            "num.io.threads",
            "3",
            INVALID_DYNAMIC.format(
                "Dynamic thread count update validation failed for num.io.threads=3, value should be at least half the "
                "current value 8"
            ),
        ),
        (
            "log.cleaner.threads",
            "3",
            INVALID_DYNAMIC.format("Log cleaner threads cannot be increased to more than double the current value 1"),
        ),
        (
            "log.local.retention.ms",
            "604800001",
            INVALID_DYNAMIC.format(
                "Invalid value 604800001 for configuration log.local.retention.ms: Value must not be more than "
                "log.retention.ms property value: 604800000"
            ),
        ),
        (
            "log.local.retention.ms",
            "-1",
            INVALID_DYNAMIC.format(
                "Invalid value -1 for configuration log.local.retention.ms: Value must not be -1 as log.retention.ms "
                "value is set as 604800000."
            ),
        ),
        (
            "log.retention.ms",
            "0",
            "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
        ),
        (
            "group.consumer.assignment.interval.ms",
            "999999999",
            "group.consumer.assignment.interval.ms must be less than or equal to "
            "group.consumer.max.assignment.interval.ms",
        ),
    ],
)
def test_a_dynamic_value_has_to_fit_the_others(name: str, value: str, message: str) -> None:
    with refusal(ErrorCode.INVALID_REQUEST, message):
        validate_dynamic_broker(CONFIG, {name: value}, per_broker=True)


def test_accepted_dynamic_values_are_in_force() -> None:
    for_all = validate_dynamic_broker(CONFIG, {"num.io.threads": "16", "foo": "1"}, per_broker=False)
    assert for_all.int_("num.io.threads") == 16
    own = validate_dynamic_broker(for_all, {"num.io.threads": "8"}, per_broker=True)
    assert own.int_("num.io.threads") == 8
    assert own.dynamic_default["num.io.threads"] == "16"
