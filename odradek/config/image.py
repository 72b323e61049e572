"""What Apache Kafka's image is to those who run it: variables of the environment, defaults, and lines (KIP-975)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from odradek.config.defaults import SINGLE_NODE_TOPIC_DEFAULTS
from odradek.config.listeners import SecurityProtocol
from odradek.config.properties import parse_properties
from odradek.config.types import ConfigError
from odradek.config.unknown import is_known

CLUSTER_ID = "CLUSTER_ID"
DEFAULT_CLUSTER_ID = "5L6g3nShT-eMCtK--X86sw"
"""What all nodes belong to that are told of no other cluster."""
LOG_LEVEL = "KAFKA_LOG4J_ROOT_LOGLEVEL"
DATA_DIR = "/var/lib/kafka/data"

_PREFIX = "KAFKA_"
_NO_PROPERTIES = frozenset(
    {
        "KAFKA_VERSION",
        "KAFKA_HEAP_OPTS",
        "KAFKA_LOG4J_OPTS",
        "KAFKA_OPTS",
        "KAFKA_JMX_OPTS",
        "KAFKA_JVM_PERFORMANCE_OPTS",
        "KAFKA_GC_LOG_OPTS",
        LOG_LEVEL,
        "KAFKA_LOG4J_LOGGERS",
        "KAFKA_TOOLS_LOG4J_LOGLEVEL",
        "KAFKA_JMX_HOSTNAME",
    }
)
"""Variables that are for the JVM and its logs."""

_LOG_LEVELS: Mapping[str, str] = MappingProxyType(
    {"ALL": "debug", "TRACE": "debug", "DEBUG": "debug", "WARN": "warning", "ERROR": "error", "FATAL": "error"}
)
_CONTROLLER = "CONTROLLER"
_PROTOCOLS = ",".join(f"{protocol.name}:{protocol.name}" for protocol in SecurityProtocol)
"""What listeners speak where nothing else is said: what they are called."""
_CONTROLLER_ADDRESS = "127.0.0.1:0"
"""Where the controller of a node alone listens: never outside its container, on any free port."""


class ImageProperties(NamedTuple):
    """What a node in a container is told."""

    properties: dict[str, str]
    ignored: tuple[str, ...]
    """Properties that no broker has: Apache Kafka passes over them, too."""


def image_properties(environment: Mapping[str, str], mounted: str = "", *, data_dir: str = DATA_DIR) -> ImageProperties:
    """The properties of a node in a container, of its environment and of a server.properties that is `mounted`.

    The environment comes before the file. Where neither says what `process.roles` are, as programs that once ran
    ZooKeeper beside the node do not, the node is a cluster of its own; Apache's image then takes its default file if
    nothing else is set, and does not start otherwise. Without `log.dirs`, data is in `data_dir`.

    Raises ConfigError for what Apache's image refuses before a node reads it.
    """
    told = parse_properties(mounted + "\n" + "\n".join(_lines(environment)))
    if "advertised.listeners" in told:
        # testcontainers for .NET leaves a comma at the end, which Kafka took in other versions.
        told["advertised.listeners"] = told["advertised.listeners"].rstrip(" ,")
    if not told.get("listeners") and told.get("advertised.listeners"):
        told["listeners"] = re.sub("://[^:]*:", "://0.0.0.0:", told["advertised.listeners"])
    if _roles(told) == ["controller"]:
        if told.pop("advertised.listeners", None):
            raise ConfigError(
                "advertised.listeners", "KAFKA_ADVERTISED_LISTENERS is not for a node that is only a controller"
            )
    elif "process.roles" not in told:
        told = _alone(told)
    if "log.dirs" not in told and "log.dir" not in told:
        told["log.dirs"] = data_dir
    properties = {name: value for name, value in told.items() if is_known(name, told)}
    return ImageProperties(properties, tuple(name for name in told if name not in properties))


def log_level(environment: Mapping[str, str]) -> str:
    """What `KAFKA_LOG4J_ROOT_LOGLEVEL` is to `odradek serve --log-level`."""
    return _LOG_LEVELS.get(environment.get(LOG_LEVEL, "").upper(), "info")


def started_lines(node_id: int, roles: Sequence[str]) -> list[str]:
    """Lines in the log of a node that is ready, by which programs know that it is; the words are Apache Kafka's."""
    lines = [f"[KafkaRaftServer nodeId={node_id}] Kafka Server started"]
    if "broker" in roles:
        lines.append(f"[BrokerLifecycleManager id={node_id}] Transitioning from RECOVERY to RUNNING")
        # Programs that do not know of KRaft yet wait for this one.
        lines.append(f"[KafkaServer id={node_id}] started")
    return lines


def _lines(environment: Mapping[str, str]) -> list[str]:
    """The variables as lines of a file, in which Apache's image writes them as they are."""
    return [
        f"{_property_name(name)}={value}"
        for name, value in sorted(environment.items())
        if name.startswith(_PREFIX) and name not in _NO_PROPERTIES
    ]


def _property_name(variable: str) -> str:
    """`_` is a dot, `__` an underscore, `___` a dash."""
    dotted = variable.replace(_PREFIX, "").lower().replace("_", ".")
    return dotted.replace("...", "-").replace("..", "_")


def _roles(properties: Mapping[str, str]) -> list[str]:
    return [role.strip() for role in properties.get("process.roles", "").split(",")]


def _alone(told: Mapping[str, str]) -> dict[str, str]:
    """A node that is broker and controller of its own, under what it is told besides."""
    properties = dict(told)
    if "listeners" not in told:
        properties["listeners"] = "PLAINTEXT://:9092"
        properties["advertised.listeners"] = "PLAINTEXT://localhost:9092"
    if not any(_name(listener) == _CONTROLLER for listener in properties["listeners"].split(",")):
        properties["listeners"] += f",{_CONTROLLER}://{_CONTROLLER_ADDRESS}"
    protocols = told.get("listener.security.protocol.map") or _PROTOCOLS
    if not any(_name(entry) == _CONTROLLER for entry in protocols.split(",")):
        properties["listener.security.protocol.map"] = f"{protocols},{_CONTROLLER}:PLAINTEXT"
    if "broker.id" not in told:
        properties.setdefault("node.id", "1")
    properties["process.roles"] = "broker,controller"
    properties["controller.listener.names"] = _CONTROLLER
    properties.pop("controller.quorum.voters", None)
    properties["controller.quorum.bootstrap.servers"] = _CONTROLLER_ADDRESS
    for name, value in SINGLE_NODE_TOPIC_DEFAULTS.items():
        properties.setdefault(name, value)
    return properties


def _name(entry: str) -> str:
    return entry.partition(":")[0].strip().upper()
