"""Who a client is."""

from __future__ import annotations

from typing import NamedTuple


class Principal(NamedTuple):
    """An authenticated identity, written `kind:name` as in Kafka's ACLs."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


ANONYMOUS = Principal("User", "ANONYMOUS")
"""Whoever connects to a listener that authenticates nobody."""
