"""What a configuration key is: type, default, importance, scope, and how text becomes a value and a value text.

Parsing, formatting and the wording of a refusal follow Apache Kafka 4.4.0's `ConfigDef`, since clients read them in
AlterConfigs and DescribeConfigs. Nothing here imports dataclasses or re: every start of the broker pays for it.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from odradek.config.validators import Validator

ConfigValue = bool | int | float | str | tuple[str, ...] | None

# String.trim() removes everything up to U+0020, not only white space.
_JAVA_TRIM = "".join(map(chr, range(33)))


class ConfigType(IntEnum):
    """The types of ConfigDef, with the codes of DescribeConfigs responses (KIP-569)."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class Importance(Enum):
    """How much a key matters to someone who sets up a broker."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Scope(Enum):
    """Where a broker key may change while the broker runs (KIP-226)."""

    READ_ONLY = "read-only"
    PER_BROKER = "per-broker"
    CLUSTER_WIDE = "cluster-wide"


class ConfigSource(IntEnum):
    """Where a value comes from, with the codes of DescribeConfigs responses."""

    UNKNOWN = 0
    TOPIC_CONFIG = 1
    DYNAMIC_BROKER_CONFIG = 2
    DYNAMIC_DEFAULT_BROKER_CONFIG = 3
    STATIC_BROKER_CONFIG = 4
    DEFAULT_CONFIG = 5
    DYNAMIC_BROKER_LOGGER_CONFIG = 6
    CLIENT_METRICS_CONFIG = 7
    GROUP_CONFIG = 8


class ResourceType(IntEnum):
    """The kinds of resource that have configuration, with their codes on the wire."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class ConfigError(Exception):
    """A property that cannot be accepted: `name` says which one, `message` is one line for the user.

    `requirement` marks a rule whose text Kafka sends to clients with "requirement failed: " in front.
    """

    def __init__(self, name: str, message: str, *, requirement: bool = False) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.requirement = requirement

    @property
    def client_message(self) -> str:
        """The text that Kafka puts into a response."""
        return f"requirement failed: {self.message}" if self.requirement else self.message


class ConfigKey(NamedTuple):
    """One property. `default` is already parsed; a `required` one has none."""

    name: str
    type: ConfigType
    default: ConfigValue
    importance: Importance
    validator: Validator | None = None
    scope: Scope = Scope.READ_ONLY
    required: bool = False
    internal: bool = False

    @property
    def sensitive(self) -> bool:
        """Whether the value must never be shown: DescribeConfigs answers null."""
        return self.type is ConfigType.PASSWORD

    @property
    def default_text(self) -> str | None:
        """The default as DescribeConfigs shows it."""
        return format_value(self.default)


def invalid_value(name: str, value: ConfigValue, reason: str | None = None) -> ConfigError:
    """The refusal of a value in Kafka's words, which clients see in AlterConfigs and CreateTopics."""
    shown = "[" + ", ".join(value) + "]" if isinstance(value, tuple) else format_value(value) or "null"
    if value == "":
        shown = ""
    return ConfigError(name, f"Invalid value {shown} for configuration {name}" + (f": {reason}" if reason else ""))


def parse_value(key: ConfigKey, text: str | None) -> ConfigValue:
    """Turn a property's text into its value and check it; raises ConfigError with one line that names the key."""
    value = None if text is None else _parse(key, text)
    if isinstance(value, tuple):
        # Kafka drops repeated items before it looks at them (KIP-1161).
        value = tuple(dict.fromkeys(value))
    if key.validator is not None:
        key.validator.check(key.name, value)
    return value


def _parse(key: ConfigKey, text: str) -> ConfigValue:
    trimmed = text.strip(_JAVA_TRIM)
    kind = key.type
    if kind in _INTEGER_LIMITS:
        return _parse_integer(key, trimmed)
    if kind is ConfigType.BOOLEAN:
        if trimmed.lower() not in ("true", "false"):
            raise invalid_value(key.name, trimmed, "Expected value to be either true or false")
        return trimmed.lower() == "true"
    if kind is ConfigType.LIST:
        return tuple(item.strip() for item in trimmed.split(",")) if trimmed else ()
    if kind is ConfigType.DOUBLE:
        return _parse_double(key, trimmed)
    return trimmed


_INTEGER_LIMITS = {ConfigType.SHORT: 2**15, ConfigType.INT: 2**31, ConfigType.LONG: 2**63}


def _parse_integer(key: ConfigKey, text: str) -> int:
    limit = _INTEGER_LIMITS[key.type]
    digits = text[1:] if text[:1] in ("+", "-") else text
    # 20 characters hold any 64-bit number; leading zeros beyond that are refused rather than converted.
    if digits.isascii() and digits.isdigit() and len(digits) <= 64:
        value = int(text)
        if -limit <= value < limit:
            return value
    raise invalid_value(key.name, text, f"Not a number of type {key.type.name}")


def _parse_double(key: ConfigKey, text: str) -> float:
    number = text[:-1] if text[-1:] in ("d", "D", "f", "F") else text
    if number.isascii() and "_" not in number and "n" not in number.lower():
        try:
            return float(number)
        except ValueError:
            pass
    if number.lstrip("+-") in ("NaN", "Infinity"):
        return float(number)
    raise invalid_value(key.name, text, "Not a number of type DOUBLE")


def format_value(value: ConfigValue) -> str | None:
    """A value as text, as `ConfigDef.convertToString` writes it; null stays null."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float):
        return format_double(value)
    return str(value)


def format_double(value: float) -> str:
    """A float64 as Java's Double.toString writes it: plain between 1e-3 and 1e7, else one digit, a point and E."""
    if value != value or value in (float("inf"), float("-inf")):
        return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    digits, _, _ = f"{abs(value)!r}".partition("e")
    significant = digits.replace(".", "").strip("0") or "0"
    exponent = int(f"{value:.17e}".partition("e")[2])
    sign = "-" if value < 0 else ""
    return f"{sign}{significant[0]}.{significant[1:] or '0'}E{exponent}"
