"""Which identifier of one broker stands for which of the other: ids are compared up to a one-to-one renaming."""

from __future__ import annotations

from collections.abc import Hashable


class Ids:
    """Pairs of identifiers, by kind ("uuid", "producer", ...), learned from answers to the same request.

    ``prefix`` is what all names begin with that are chosen, and the same for both.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self._theirs: dict[tuple[str, Hashable], Hashable] = {}
        self._ours: dict[tuple[str, Hashable], Hashable] = {}

    def agree(self, kind: str, ours: Hashable, theirs: Hashable, none: Hashable) -> bool:
        """Whether two ids may be the same thing; a pair not seen before is from now on. ``none`` only equals itself."""
        if none in (ours, theirs):
            return ours == theirs
        known, reverse = self._theirs.get((kind, ours)), self._ours.get((kind, theirs))
        if known is None and reverse is None:
            self._theirs[kind, ours] = theirs
            self._ours[kind, theirs] = ours
            return True
        return known == theirs and reverse == ours

    def theirs(self, kind: str, ours: Hashable) -> Hashable:
        """What Kafka calls this; what it was never told by another name stays."""
        return self._theirs.get((kind, ours), ours)

    def ours(self, kind: str, theirs: Hashable) -> Hashable:
        """The way back."""
        return self._ours.get((kind, theirs), theirs)
