"""Typed access to configuration values, shared by brokers, topics and groups."""

from __future__ import annotations

from odradek.config.types import ConfigValue


class TypedValues:
    """Getters by type over `value(name)`; a getter of the wrong type is a programming error: TypeError."""

    __slots__ = ()

    def value(self, name: str) -> ConfigValue:
        """The value in force of a key of the table; KeyError for another name."""
        raise NotImplementedError

    def int_(self, name: str) -> int:
        """An INT, SHORT or LONG that is set or has a default."""
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} holds no integer: {value!r}")
        return value

    def optional_int(self, name: str) -> int | None:
        """An INT, SHORT or LONG, or None where it is not set."""
        return None if self.value(name) is None else self.int_(name)

    def bool_(self, name: str) -> bool:
        """A BOOLEAN."""
        value = self.value(name)
        if not isinstance(value, bool):
            raise TypeError(f"{name} holds no boolean: {value!r}")
        return value

    def double(self, name: str) -> float:
        """A DOUBLE."""
        value = self.value(name)
        if not isinstance(value, float):
            raise TypeError(f"{name} holds no float: {value!r}")
        return value

    def string(self, name: str) -> str:
        """A STRING, CLASS or PASSWORD that is set or has a default."""
        value = self.value(name)
        if not isinstance(value, str):
            raise TypeError(f"{name} holds no string: {value!r}")
        return value

    def optional_string(self, name: str) -> str | None:
        """A STRING, CLASS or PASSWORD, or None where it is not set."""
        return None if self.value(name) is None else self.string(name)

    def list_(self, name: str) -> tuple[str, ...]:
        """A LIST; empty where it is not set."""
        value = self.value(name)
        if value is None:
            return ()
        if not isinstance(value, tuple):
            raise TypeError(f"{name} holds no list: {value!r}")
        return value
