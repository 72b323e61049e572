"""A mapping that is never changed in place, and of which a changed copy is cheap."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Final, TypeVar, cast, overload

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")


class _Removed:
    """Stands for a key that the base has and the map has not."""


_REMOVED: Final = _Removed()
MIN_CHANGES = 32
"""Up to so many changes are kept apart from the base, however small the base is."""


class PersistentMap(Mapping[K, V]):
    """A base that many versions share, and the few changes since.

    A change copies what was changed before, not the base; once that is more than about the square root of the base, a
    new base is made. So n single changes to a map of n entries cost n*sqrt(n) copied references, not n*n. The order is
    that of insertion, and so the same in every process.
    """

    __slots__ = ("_base", "_changes", "_size")

    def __init__(self, entries: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        self._base: dict[K, V] = dict(entries)
        self._changes: dict[K, V | _Removed] = {}
        self._size = len(self._base)

    def changed(self, put: Mapping[K, V], removed: Iterable[K] = ()) -> PersistentMap[K, V]:
        """A copy without the keys `removed`, and then with the entries of `put`."""
        changes = dict(self._changes)
        size = self._size
        for key in removed:
            before = changes.get(key, self._base.get(key, _REMOVED))
            size -= before is not _REMOVED
            if key in self._base:
                changes[key] = _REMOVED
            else:
                changes.pop(key, None)
        for key, value in put.items():
            before = changes.get(key, self._base.get(key, _REMOVED))
            size += before is _REMOVED
            changes[key] = value
        result: PersistentMap[K, V] = PersistentMap()
        result._base = self._base
        result._changes = changes
        result._size = size
        if len(changes) > MIN_CHANGES and len(changes) ** 2 > len(self._base):
            result._flat()
        return result

    def __getitem__(self, key: K) -> V:
        if self._changes:
            found = self._changes.get(key, self)
            if found is _REMOVED:
                raise KeyError(key)
            if found is not self:
                return cast("V", found)
        return self._base[key]

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | D) -> V | D: ...
    def get(self, key: K, /, default: V | D | None = None) -> V | D | None:
        """The value of `key`, or `default`."""
        if self._changes:
            found = self._changes.get(key, self)
            if found is _REMOVED:
                return default
            if found is not self:
                return cast("V", found)
        return self._base.get(key, default)

    def __contains__(self, key: object) -> bool:
        found = self._changes.get(cast("K", key), self)
        return cast("K", key) in self._base if found is self else found is not _REMOVED

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[K]:
        return iter(self._flat())

    def keys(self) -> KeysView[K]:
        """The keys, in order of insertion."""
        return self._flat().keys()

    def values(self) -> ValuesView[V]:
        """The values, in order of insertion."""
        return self._flat().values()

    def items(self) -> ItemsView[K, V]:
        """The entries, in order of insertion."""
        return self._flat().items()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PersistentMap):
            return self is other or (len(self) == len(other) and self._flat() == other._flat())
        return self._flat() == other

    def __hash__(self) -> int:
        raise TypeError("a map of unhashable values has no hash")

    def __repr__(self) -> str:
        return f"PersistentMap({self._flat()!r})"

    def _flat(self) -> dict[K, V]:
        """Everything in one dict, which becomes this version's own base: the content stays the same."""
        if self._changes:
            base = dict(self._base)
            for key, value in self._changes.items():
                if isinstance(value, _Removed):
                    base.pop(key, None)
                else:
                    base[key] = value
            self._base = base
            self._changes = {}
        return self._base
