"""Which property names a broker takes: those of the table, listener overrides, and prefixes that belong to plug-ins.

Apache Kafka only warns about a name it does not know. Here it is an error, since such a name is nearly always a
typing mistake; what Kafka hands on to plug-ins by prefix stays allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from odradek.config.own import OWN
from odradek.config.table import BROKER, BROKER_QUOTAS, GROUP, TOPIC, TOPIC_SYNONYMS, listener_base_name
from odradek.config.types import ConfigError

# Read by Kafka's StandardAuthorizer, which takes them from the broker's properties without a ConfigDef.
AUTHORIZER_KEYS = ("super.users", "allow.everyone.if.no.acl.found")
# Handed on as they are: configuration providers, tools that share the file, quota and authorizer plug-ins.
_PASSED_ON = (
    "config.providers.",
    "confluent.",
    "client.quota.callback.",
    "authorizer.",
    "kafka.metrics.",
    "kafka.csv.",
)
# A prefix that any name may follow once one of these keys names a plug-in.
_PLUGIN_PREFIXES = (
    ("ssl.", ("ssl.engine.factory.class", "security.providers")),
    (
        "sasl.",
        (
            "sasl.client.callback.handler.class",
            "sasl.login.callback.handler.class",
            "sasl.login.class",
            "sasl.server.callback.handler.class",
        ),
    ),
    ("metrics.", ("metric.reporters",)),
    ("metric.", ("metric.reporters",)),
)
_TIERED_PREFIX_KEYS = ("remote.log.storage.manager.impl.prefix", "remote.log.metadata.manager.impl.prefix")
# Keys of Kafka 3 that version 4 no longer has.
_REMOVED = (
    "broker.id.generation.enable",
    "control.plane.listener.name",
    "controlled.shutdown.max.retries",
    "controlled.shutdown.retry.backoff.ms",
    "group.coordinator.new.enable",
    "inter.broker.protocol.version",
    "leader.imbalance.per.broker.percentage",
    "log.message.downconversion.enable",
    "log.message.format.version",
    "log.message.timestamp.difference.max.ms",
    "offsets.commit.required.acks",
    "password.encoder.cipher.algorithm",
    "password.encoder.iterations",
    "password.encoder.key.length",
    "password.encoder.keyfactory.algorithm",
    "password.encoder.old.secret",
    "password.encoder.secret",
    "reserved.broker.max.id",
)
_MAX_NAME_SHOWN = 200


def is_known(name: str, properties: Mapping[str, str]) -> bool:
    """Whether a broker accepts the property `name` among the others of `properties`."""
    if name in BROKER or name in OWN or name in AUTHORIZER_KEYS or name.startswith(_PASSED_ON):
        return True
    base = listener_base_name(name)
    if base is not None:
        # NAME.KEY or NAME.MECHANISM.KEY: some end of it must be a key.
        parts = base.split(".")
        return any(is_known(".".join(parts[start:]), properties) for start in range(min(2, len(parts))))
    if any(name.startswith(_prefix(key, properties)) for key in _TIERED_PREFIX_KEYS):
        return True
    return any(name.startswith(prefix) and any(map(properties.get, keys)) for prefix, keys in _PLUGIN_PREFIXES)


def _prefix(key: str, properties: Mapping[str, str]) -> str:
    return properties.get(key) or str(BROKER[key].default)


def unknown_property(name: str) -> ConfigError:
    """The error for a name that is not known, with what was probably meant."""
    shown = name if len(name) <= _MAX_NAME_SHOWN else name[:_MAX_NAME_SHOWN] + "..."
    return ConfigError(name, f"unknown property '{shown}'{_hint(name)}")


def _hint(name: str) -> str:
    if name.startswith("zookeeper.") or name in _REMOVED:
        return ": Kafka 4 no longer has it, remove the line"
    if name in BROKER_QUOTAS:
        return ": it can only be set at run time, for example with kafka-configs --entity-type brokers"
    if name in TOPIC_SYNONYMS:
        return f": it is a topic's property; its default for all topics is '{TOPIC_SYNONYMS[name][0][0]}'"
    if name in TOPIC:
        return ": it is a topic's property and can only be set on a topic"
    if name in GROUP:
        return ": it is a group's property and can only be set on a group"
    base = listener_base_name(name)
    suggestion = closest(base or name, [*BROKER, *OWN])
    if suggestion and base:
        suggestion = name.removesuffix(base) + suggestion
    return f"; did you mean '{suggestion}'?" if suggestion else "; docs/configuration.md lists all properties"


def closest(name: str, names: Collection[str]) -> str | None:
    """The most similar of `names`, if any is similar enough to be worth mentioning."""
    from difflib import get_close_matches

    if len(name) > _MAX_NAME_SHOWN:
        return None
    matches = get_close_matches(name, sorted(names), n=1, cutoff=0.75)
    return matches[0] if matches else None
