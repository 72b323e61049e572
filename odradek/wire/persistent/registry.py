"""From a record's type to its class, importing the class's module when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from odradek.wire.errors import ProtocolError
from odradek.wire.schema import Message


class Registry:
    """The record classes of one package, by the number that stands for them in the log."""

    __slots__ = ("_classes", "_entries", "_package")

    def __init__(self, package: str, entries: Mapping[int, tuple[str, str]]) -> None:
        self._package = package
        self._entries = entries
        self._classes: dict[int, type[Message]] = {}

    def __contains__(self, api_key: object) -> bool:
        return api_key in self._entries

    def types(self) -> list[int]:
        """The known types, in ascending order."""
        return sorted(self._entries)

    def record_class(self, api_key: int) -> type[Message]:
        """The class for `api_key`; `ProtocolError` if there is no such type."""
        found = self._classes.get(api_key)
        if found is None:
            entry = self._entries.get(api_key)
            if entry is None:
                raise ProtocolError(f"{self._package} has no record of type {api_key}")
            module, name = entry
            found = cast("type[Message]", getattr(import_module(f"{self._package}.{module}"), name))
            self._classes[api_key] = found
        return found
