"""Randomness."""

from __future__ import annotations

from typing import Protocol


class Random(Protocol):
    """The source of every id and every jitter, so that a seed can replay them."""

    def token(self, count: int) -> bytes:
        """`count` random bytes."""
        ...

    def below(self, bound: int) -> int:
        """A uniform integer in [0, bound)."""
        ...

    def uuid(self) -> bytes:
        """A random Kafka uuid: 16 bytes, version 4, never a reserved one, no leading '-' in base64."""
        ...
