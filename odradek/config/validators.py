"""What a value must satisfy beyond its type, one class per kind of rule; messages and descriptions are Kafka's."""

from __future__ import annotations

from collections.abc import Callable

from odradek.config.types import ConfigError, ConfigValue, invalid_value


class Validator:
    """A rule: `check` raises ConfigError, `describe` is the short form that documentation shows."""

    __slots__ = ()

    def check(self, name: str, value: ConfigValue) -> None:
        """Raise ConfigError when the value of the key `name` breaks the rule."""
        raise NotImplementedError

    def describe(self) -> str:
        """The rule as ConfigDef prints it."""
        raise NotImplementedError


class Range(Validator):
    """A number with a smallest and perhaps a largest value, both included."""

    __slots__ = ("maximum", "minimum")

    def __init__(self, minimum: float, maximum: float | None = None) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def check(self, name: str, value: ConfigValue) -> None:
        if value is None:
            raise invalid_value(name, None, "Value must be non-null")
        if not isinstance(value, int | float):
            raise invalid_value(name, value, "Value must be a number")
        if value < self.minimum:
            raise invalid_value(name, value, f"Value must be at least {self.minimum}")
        if self.maximum is not None and value > self.maximum:
            raise invalid_value(name, value, f"Value must be no more than {self.maximum}")

    def describe(self) -> str:
        return f"[{self.minimum},...]" if self.maximum is None else f"[{self.minimum},...,{self.maximum}]"


class OneOf(Validator):
    """One of a list of words."""

    __slots__ = ("ignore_case", "words")

    def __init__(self, *words: str, ignore_case: bool = False) -> None:
        self.words = words
        self.ignore_case = ignore_case

    def check(self, name: str, value: ConfigValue) -> None:
        compared = value.upper() if self.ignore_case and isinstance(value, str) else value
        if compared in self.words:
            return
        any_case = "(case insensitive) " if self.ignore_case else ""
        raise invalid_value(
            name, value, f"String must be one of {any_case}: ".replace(" :", ":") + ", ".join(self.words)
        )

    def describe(self) -> str:
        return ("(case insensitive) " if self.ignore_case else "") + "[" + ", ".join(self.words) + "]"


class ListOf(Validator):
    """A list without duplicates, of the given words or, when there are none, of any."""

    __slots__ = ("allow_empty", "allow_null", "words")

    def __init__(self, *words: str, allow_empty: bool = False, allow_null: bool = False) -> None:
        self.words = words
        self.allow_empty = allow_empty
        self.allow_null = allow_null

    def check(self, name: str, value: ConfigValue) -> None:
        if value is None:
            if self.allow_null:
                return
            raise ConfigError(name, f"Configuration '{name}' values must not be null.")
        if not isinstance(value, tuple):
            raise invalid_value(name, value, "Value must be a list")
        if not value and not self.allow_empty:
            valid = "[" + ", ".join(self.words) + "]" if self.words else "any non-empty value"
            raise ConfigError(name, f"Configuration '{name}' must not be empty. Valid values include: {valid}")
        if len(set(value)) != len(value):
            raise ConfigError(name, f"Configuration '{name}' values must not be duplicated.")
        for item in value:
            if not item:
                raise ConfigError(name, f"Configuration '{name}' values must not be empty.")
            if self.words and item not in self.words:
                raise invalid_value(name, item, "String must be one of: " + ", ".join(self.words))

    def describe(self) -> str:
        return "[" + ", ".join(self.words) + "]" if self.words else ""


class Rule(Validator):
    """Any other rule: `problem` takes name and value and answers what is wrong, or None."""

    __slots__ = ("_description", "_problem")

    def __init__(self, description: str, problem: Callable[[str, ConfigValue], str | None]) -> None:
        self._description = description
        self._problem = problem

    def check(self, name: str, value: ConfigValue) -> None:
        problem = self._problem(name, value)
        if problem is not None:
            raise invalid_value(name, value, problem)

    def describe(self) -> str:
        return self._description


class Addresses(Validator):
    """A list of HOST:PORT or, with `voters`, of ID@HOST:PORT; empty is allowed."""

    __slots__ = ("voters",)

    def __init__(self, *, voters: bool = False) -> None:
        self.voters = voters

    def check(self, name: str, value: ConfigValue) -> None:
        if value is None:
            raise invalid_value(name, value, "entry must be non null")
        for entry in value if isinstance(value, tuple) else ():
            if self.voters:
                parse_voter(name, entry)
            elif split_host_port(entry) is None:
                raise ConfigError(
                    name,
                    f"Failed to parse host name from {entry} for the configuration {name}. "
                    'Each entry should be in the form "{host}:{port}"',
                )

    def describe(self) -> str:
        return "non-empty list"


def split_host_port(text: str) -> tuple[str, int] | None:
    """Split HOST:PORT, where an IPv6 host stands in brackets; None when it is not of that form."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and is_digits(port) and len(port) <= 5 and int(port) <= 65_535):
        return None
    return host.removeprefix("[").removesuffix("]"), int(port)


def parse_voter(name: str, text: str) -> tuple[int, str, int]:
    """Split ID@HOST:PORT of `controller.quorum.voters`; raises ConfigError."""
    node, at, address = text.partition("@")
    endpoint = split_host_port(address)
    if not (at and is_digits(node) and endpoint):
        raise ConfigError(
            name,
            f"Invalid configuration value for {name}. Each entry should be in the form `{{id}}@{{host}}:{{port}}`.",
        )
    host, port = endpoint
    if host == "0.0.0.0" and port == 0:
        raise ConfigError(name, f"Host string ({host}) is not routeable")
    return int(node), host, port


def at_least(minimum: float) -> Range:
    """A number that is not below `minimum`."""
    return Range(minimum)


def between(minimum: float, maximum: float) -> Range:
    """A number within [minimum, maximum]."""
    return Range(minimum, maximum)


def is_digits(text: str) -> bool:
    """Whether the text is one or more ASCII digits."""
    return text.isascii() and text.isdigit()


def _gzip_level(_: str, value: ConfigValue) -> str | None:
    if isinstance(value, int) and (value == -1 or 1 <= value <= 9):
        return None
    return "Value must be between 1 and 9 or equal to -1"


def _throttled_replicas(name: str, value: ConfigValue) -> str | None:
    if not isinstance(value, tuple) or value in ((), ("*",)):
        return None
    for item in value:
        partition, colon, broker = item.partition(":")
        if not (colon and is_digits(partition) and is_digits(broker)):
            return (
                f"{name} must be the literal '*' or a list of replicas in the following format: "
                "[partitionId]:[brokerId],[partitionId]:[brokerId],..."
            )
    return None


def _offset_reset(name: str, value: ConfigValue) -> str | None:
    if value in ("earliest", "latest"):
        return None
    if isinstance(value, str) and value.startswith("by_duration:"):
        from odradek.config.durations import parse_duration_ms

        duration_ms = parse_duration_ms(value.removeprefix("by_duration:"))
        if duration_ms is not None and duration_ms >= 0:
            return None
    return (
        f"Invalid value `{value}` for configuration {name}. The value must be either 'earliest', 'latest' or of the "
        "format 'by_duration:<PnDTnHnMn.nS>'."
    )


def _non_empty(_: str, value: ConfigValue) -> str | None:
    return "String must be non-empty" if value == "" else None


def _non_null(_: str, value: ConfigValue) -> str | None:
    return "entry must be non null" if value is None else None


GZIP_LEVEL = Rule("[1,...,9] or -1", _gzip_level)
THROTTLED_REPLICAS = Rule("[partitionId]:[brokerId],[partitionId]:[brokerId],...", _throttled_replicas)
OFFSET_RESET = Rule("[latest, earliest, by_duration:PnDTnHnMn.nS]", _offset_reset)
NON_EMPTY = Rule("non-empty string", _non_empty)
NON_NULL = Rule("non-null string", _non_null)
QUORUM_VOTERS = Addresses(voters=True)
BOOTSTRAP_SERVERS = Addresses()
