"""How a node's properties are read: names, values, listeners, units, and what is set at run time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from odradek.config.broker import BrokerConfig, ProcessRole
from odradek.config.defaults import single_node_defaults
from odradek.config.listeners import Listener, SecurityProtocol
from odradek.config.properties import parse_properties
from odradek.config.resources import GroupConfig, TopicConfig
from odradek.config.support import ignored_properties
from odradek.config.table import BROKER_QUOTAS, GROUP, TABLE
from odradek.config.types import ConfigError, format_value, parse_value

MINIMAL = single_node_defaults("localhost", 9092, data_dir="data")


def load(**properties: str) -> BrokerConfig:
    """A node with these properties over the minimal ones; underscores stand for dots."""
    return BrokerConfig.load({**MINIMAL, **{name.replace("_", "."): value for name, value in properties.items()}})


def refusal(properties: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        BrokerConfig.load({**MINIMAL, **properties})
    message = caught.value.message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("num.partition", "unknown property 'num.partition'; did you mean 'num.partitions'?"),
        ("log.dris", "unknown property 'log.dris'; did you mean 'log.dirs'?"),
        ("qqqq", "unknown property 'qqqq'; docs/configuration.md lists all properties"),
        ("zookeeper.connect", "unknown property 'zookeeper.connect': Kafka 4 no longer has it, remove the line"),
        (
            "retention.ms",
            "unknown property 'retention.ms': it is a topic's property; its default for all topics is "
            "'log.retention.ms'",
        ),
        (
            "remote.storage.enable",
            "unknown property 'remote.storage.enable': it is a topic's property and can only be set on a topic",
        ),
        (
            "share.isolation.level",
            "unknown property 'share.isolation.level': it is a group's property and can only be set on a group",
        ),
        (
            "listener.name.plaintext.ssl.keystore.locatio",
            "unknown property 'listener.name.plaintext.ssl.keystore.locatio'; did you mean "
            "'listener.name.plaintext.ssl.keystore.location'?",
        ),
        (
            "leader.replication.throttled.rate",
            "unknown property 'leader.replication.throttled.rate': it can only be set at run time, for example with "
            "kafka-configs --entity-type brokers",
        ),
        ("ssl.my.plugin", "unknown property 'ssl.my.plugin'; docs/configuration.md lists all properties"),
    ],
)
def test_an_unknown_name_is_refused_with_a_hint(name: str, message: str) -> None:
    assert refusal({name: "1"}) == message


def test_a_very_long_name_is_cut_and_not_compared() -> None:
    assert len(refusal({"x" * 1_000_000: "1"})) < 300


@pytest.mark.parametrize(
    "properties",
    [
        {"super.users": "User:a", "allow.everyone.if.no.acl.found": "true"},
        {"listener.name.plaintext.max.connections": "5"},
        {"listener.name.plaintext.scram-sha-256.sasl.jaas.config": "x"},
        {"rsm.config.bucket": "b", "rlmm.config.x": "y"},
        {"remote.log.storage.manager.impl.prefix": "mine.", "mine.bucket": "b"},
        {"ssl.engine.factory.class": "my.Factory", "ssl.my.plugin": "1"},
        {"metric.reporters": "my.Reporter", "metrics.my.plugin": "1"},
    ],
)
def test_what_belongs_to_plugins_is_accepted(properties: dict[str, str]) -> None:
    assert BrokerConfig.load({**MINIMAL, **properties}).originals[next(iter(properties))]


def test_placeholders_are_refused_rather_than_taken_literally() -> None:
    assert "config.providers is not supported" in refusal({"config.providers": "env"})


def test_values_have_their_types() -> None:
    config = load(num_partitions=" 3 ", auto_create_topics_enable="FALSE", log_cleanup_policy="delete , compact")
    assert config.int_("num.partitions") == 3
    assert config.bool_("auto.create.topics.enable") is False
    assert config.list_("log.cleanup.policy") == ("delete", "compact")
    assert config.double("log.cleaner.min.cleanable.ratio") == 0.5
    assert config.string("compression.type") == "producer"
    assert config.optional_string("broker.rack") is None
    assert config.optional_int("log.retention.ms") is None
    assert config.list_("early.start.listeners") == ()
    with pytest.raises(TypeError, match=r"num\.partitions holds no string: 3"):
        config.string("num.partitions")
    with pytest.raises(TypeError):
        config.int_("auto.create.topics.enable")
    with pytest.raises(KeyError):
        config.int_("no.such.key")


def test_listeners_are_told_apart_by_role() -> None:
    config = load(
        listeners="PLAINTEXT://:9092,INTERNAL://[::1]:9094,CONTROLLER://127.0.0.1:0",
        listener_security_protocol_map="PLAINTEXT:PLAINTEXT,INTERNAL:SSL,CONTROLLER:PLAINTEXT",
        advertised_listeners="INTERNAL://inside:1,PLAINTEXT://outside:9092",
    )
    plaintext = Listener("PLAINTEXT", "", 9092, SecurityProtocol.PLAINTEXT)
    internal = Listener("INTERNAL", "::1", 9094, SecurityProtocol.SSL)
    controller = Listener("CONTROLLER", "127.0.0.1", 0, SecurityProtocol.PLAINTEXT)
    assert config.listeners == (plaintext, internal, controller)
    assert config.broker_listeners == (plaintext, internal)
    assert config.controller_listeners == (controller,)
    assert [each.host for each in config.advertised_listeners] == ["inside", "outside"]
    assert config.advertised_controller_listeners == (controller,)
    assert config.inter_broker_listener_name == "PLAINTEXT"
    assert config.process_roles == (ProcessRole.BROKER, ProcessRole.CONTROLLER)


def test_a_listener_can_have_a_value_of_its_own() -> None:
    config = BrokerConfig.load({**MINIMAL, "max.connections": "10", "listener.name.plaintext.max.connections": "5"})
    assert config.for_listener("PLAINTEXT", "max.connections") == 5
    assert config.for_listener("CONTROLLER", "max.connections") == 10
    message = refusal({"listener.name.plaintext.max.connections": "x"})
    assert message == (
        "Invalid value x for configuration listener.name.plaintext.max.connections: Not a number of type INT"
    )


def test_broker_id_and_node_id_stand_for_each_other() -> None:
    properties = {name: value for name, value in MINIMAL.items() if name != "node.id"}
    assert BrokerConfig.load({**properties, "broker.id": "7"}).node_id == 7
    assert load(node_id="8").int_("broker.id") == 8


def test_the_finest_unit_that_is_set_counts() -> None:
    assert load().log_retention_ms == 168 * 3_600_000
    assert load(log_retention_hours="2").log_retention_ms == 7_200_000
    assert load(log_retention_hours="2", log_retention_minutes="5").log_retention_ms == 300_000
    assert load(log_retention_minutes="5", log_retention_ms="9").log_retention_ms == 9
    assert load(log_retention_ms="-7").log_retention_ms == -1
    assert load(log_roll_hours="2").log_roll_ms == 7_200_000
    assert load(log_roll_jitter_hours="1").log_roll_jitter_ms == 3_600_000
    assert load(log_flush_scheduler_interval_ms="5").log_flush_interval_ms == 5


def test_log_dirs_come_before_log_dir() -> None:
    assert load(log_dirs="a,b", log_dir="c").log_dirs == ("a", "b")
    properties = {name: value for name, value in MINIMAL.items() if name != "log.dirs"}
    config = BrokerConfig.load({**properties, "log.dir": "c"})
    assert config.log_dirs == ("c",)
    assert config.metadata_log_dir == "c"
    assert load(metadata_log_dir="m").metadata_log_dir == "m"


def test_dynamic_values_come_before_the_file_and_the_nodes_own_before_the_clusters() -> None:
    config = load(log_retention_hours="2", log_retention_ms="5", max_connections="1")
    changed = config.with_dynamic({"log.retention.ms": "6", "max.connections": "2"}, {"max.connections": "3"})
    assert (config.log_retention_ms, config.int_("max.connections")) == (5, 1)
    assert (changed.log_retention_ms, changed.int_("max.connections")) == (6, 3)
    assert changed.with_dynamic({}, {}).log_retention_ms == 5


def test_a_topics_own_value_comes_first() -> None:
    broker = load(log_retention_hours="2", log_segment_bytes="2000000", log_cleanup_policy="compact")
    topic = TopicConfig(broker, {"segment.bytes": "3000000", "cleanup.policy": "delete"})
    assert topic.int_("segment.bytes") == 3_000_000
    assert topic.int_("retention.ms") == 7_200_000
    assert (topic.is_deleted, topic.is_compacted) == (True, False)
    plain = TopicConfig(broker.with_dynamic({"log.retention.ms": "-5"}, {}), {})
    assert plain.int_("segment.bytes") == 2_000_000
    assert plain.int_("retention.ms") == -1
    assert (plain.is_deleted, plain.is_compacted) == (False, True)
    assert plain.int_("segment.ms") == 168 * 3_600_000
    assert plain.bool_("remote.storage.enable") is False
    with pytest.raises(ConfigError):
        TopicConfig(broker, {"segment.bytes": "x"})


def test_a_group_stays_within_the_brokers_bounds() -> None:
    broker = load(group_consumer_session_timeout_ms="50000")
    assert GroupConfig(broker, {}).int_("consumer.session.timeout.ms") == 50_000
    assert GroupConfig(broker, {}).string("streams.assignor.name") == "sticky"
    overrides = {"consumer.session.timeout.ms": "1", "share.session.timeout.ms": "99999999"}
    group = GroupConfig(broker, overrides)
    assert group.int_("consumer.session.timeout.ms") == 45_000
    assert group.int_("share.session.timeout.ms") == 60_000
    assert set(GROUP) == {name for name in GROUP if group.value(name) is not None}


def test_a_properties_file_is_read_with_javas_syntax() -> None:
    text = (
        "# comment\n! another\n\na=1\nb : 2\nc 3\n  d=one \\\n   two\npath=C:\\\\data\n"
        "key\\ with\\:marks=x\nu=\\u00e9\nempty\nlast=1\nlast=2 "
    )
    assert parse_properties(text) == {
        "a": "1",
        "b": "2",
        "c": "3",
        "d": "one two",
        "path": "C:\\data",
        "key with:marks": "x",
        "u": "\N{LATIN SMALL LETTER E WITH ACUTE}",
        "empty": "",
        "last": "2 ",
    }
    with pytest.raises(ConfigError, match="line 3"):
        parse_properties("a=1\n\nb=\\u12")


def test_every_default_passes_its_own_rule_and_survives_text() -> None:
    for table in (*TABLE.values(), BROKER_QUOTAS):
        for key in table.values():
            if key.required or (key.default is None and key.validator is None):
                continue
            assert parse_value(key, key.default_text) == key.default
            assert format_value(key.default) == key.default_text


def test_what_has_no_effect_is_named() -> None:
    ignored = ignored_properties(load(num_io_threads="9", num_partitions="3", log_cleaner_enable="true"))
    assert "num.io.threads" in ignored
    assert "num.partitions" not in ignored
    assert "log.cleaner.enable" not in ignored


def test_starting_does_not_load_what_only_errors_and_documentation_need() -> None:
    lazy = ["difflib", "ipaddress", "odradek.config.documentation", "dataclasses"]
    program = (
        "import sys; import odradek.config as c; c.BrokerConfig.load(c.single_node_defaults('h', 1, data_dir='d'));"
        f"print([m for m in {lazy} if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"
