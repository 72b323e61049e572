"""What a container's environment says, by the rules of Apache Kafka's image."""

from __future__ import annotations

import re

import pytest

from odradek.config import BrokerConfig, ConfigError
from odradek.config.image import image_properties, log_level, started_lines

NODE = {
    "KAFKA_NODE_ID": "7",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "7@localhost:9093",
}


def test_one_underscore_is_a_dot_two_are_one_and_three_are_a_dash() -> None:
    told = image_properties({**NODE, "KAFKA_VALID___PROPERTY__ALL_CASES": "All Cases Value"})
    assert told.ignored == ("valid-property_all.cases",)
    assert image_properties({**NODE, "KAFKA_LOG_RETENTION_MS": "5"}).properties["log.retention.ms"] == "5"


def test_variables_of_the_jvm_and_of_others_are_no_properties() -> None:
    environment = {
        **NODE,
        **dict.fromkeys(("KAFKA_HEAP_OPTS", "KAFKA_OPTS", "KAFKA_JMX_OPTS", "KAFKA_LOG4J_LOGGERS"), "-Xmx1g"),
        "KAFKA_LOG4J_ROOT_LOGLEVEL": "WARN",
        "SOME_VARIABLE": "Some Value",
        "CLUSTER_ID": "MYwKGPhXQZidgd0qMv8Mkw",
    }
    told = image_properties(environment)
    assert told == image_properties(NODE)
    assert told.ignored == ()
    assert told.properties == {
        "node.id": "7",
        "process.roles": "broker,controller",
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": "7@localhost:9093",
        "log.dirs": "/var/lib/kafka/data",
    }


@pytest.mark.parametrize(
    ("variable", "level"), [("WARN", "warning"), ("trace", "debug"), ("FATAL", "error"), ("", "info")]
)
def test_the_root_log_level_is_that_of_the_node(variable: str, level: str) -> None:
    assert log_level({"KAFKA_LOG4J_ROOT_LOGLEVEL": variable}) == level
    assert log_level({}) == "info"


def test_the_environment_comes_before_a_mounted_file() -> None:
    mounted = "num.partitions=3\nlog.dirs=/mine\nzookeeper.connect=old:2181"
    told = image_properties({**NODE, "KAFKA_NUM_PARTITIONS": "4"}, mounted)
    assert (told.properties["num.partitions"], told.properties["log.dirs"]) == ("4", "/mine")
    assert told.ignored == ("zookeeper.connect",)


def test_listeners_are_derived_from_those_that_are_advertised() -> None:
    environment = {
        **NODE,
        "KAFKA_LISTENERS": "",
        "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://broker:19092,CONTROLLER://localhost:9093,",
    }
    told = image_properties(environment)
    assert told.properties["listeners"] == "PLAINTEXT://0.0.0.0:19092,CONTROLLER://0.0.0.0:9093"
    assert told.properties["advertised.listeners"] == "PLAINTEXT://broker:19092,CONTROLLER://localhost:9093"


def test_a_controller_advertises_nothing() -> None:
    controller = {**NODE, "KAFKA_PROCESS_ROLES": "controller", "KAFKA_LISTENERS": "CONTROLLER://:9093"}
    with pytest.raises(ConfigError, match="KAFKA_ADVERTISED_LISTENERS"):
        image_properties({**controller, "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://localhost:9092"})
    told = image_properties({**controller, "KAFKA_ADVERTISED_LISTENERS": ""})
    assert "advertised.listeners" not in told.properties
    assert told.properties["listeners"] == "CONTROLLER://:9093"


def test_without_variables_it_is_one_node_on_port_9092() -> None:
    config = BrokerConfig.load(image_properties({}).properties)
    (listener,) = config.broker_listeners
    assert (listener.host, listener.port) == ("", 9092)
    (advertised,) = config.advertised_listeners
    assert (advertised.host, advertised.port) == ("localhost", 9092)
    assert config.node_id == 1
    assert config.int_("offsets.topic.replication.factor") == 1


def test_where_nothing_says_what_its_role_is_a_node_is_a_cluster_of_its_own() -> None:
    """As the images of ZooKeeper's times are started."""
    told = image_properties(
        {
            "KAFKA_BROKER_ID": "4",
            "KAFKA_ZOOKEEPER_CONNECT": "localhost:2181",
            "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092",
            "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://localhost:32768,BROKER://host:9092",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "2",
        }
    )
    assert told.ignored == ("zookeeper.connect",)
    config = BrokerConfig.load(told.properties)
    assert config.node_id == 4
    assert [each.name for each in config.broker_listeners] == ["PLAINTEXT", "BROKER"]
    (controller,) = config.controller_listeners
    assert (controller.host, controller.port) == ("127.0.0.1", 0)
    assert config.int_("transaction.state.log.min.isr") == 2
    assert config.int_("transaction.state.log.replication.factor") == 1


def test_voters_are_of_no_cluster_without_a_role() -> None:
    """As where a variable is left over from a cluster: the node is its own controller, and waits for nobody."""
    told = image_properties({"KAFKA_CONTROLLER_QUORUM_VOTERS": "1@controller:9093,2@other:9093"})
    assert "controller.quorum.voters" not in told.properties
    assert BrokerConfig.load(told.properties).list_("controller.quorum.bootstrap.servers") == ("127.0.0.1:0",)


@pytest.mark.parametrize(
    "pattern",
    [
        r".*Transitioning from RECOVERY to RUNNING.*",
        r".*Kafka Server started.*",
        r".*\[KafkaServer id=\d+\] started.*",
    ],
)
def test_a_ready_node_says_what_programs_wait_for(pattern: str) -> None:
    assert any(re.fullmatch(pattern, line) for line in started_lines(12, ["broker", "controller"]))


def test_a_controller_alone_does_not_say_that_a_broker_runs() -> None:
    (line,) = started_lines(3, ["controller"])
    assert "Kafka Server started" in line
