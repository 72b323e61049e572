"""The handlers of a listener by API, some of which are made when they are asked for first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from odradek.server.handlers import AnyHandler
from odradek.wire.apis import ApiKey

MakeHandlers = Callable[[], Iterable[AnyHandler]]


class HandlerTable:
    """Who answers which API. To go through it makes all handlers; to look at `keys` makes none.

    Most nodes are never asked for most APIs: what answers these is neither loaded nor made, so that a node is ready
    sooner and smaller.
    """

    def __init__(self, handlers: Iterable[AnyHandler] = ()) -> None:
        self._made: dict[int, AnyHandler] = {}
        self._makers: dict[int, MakeHandlers] = {}
        self._keys: dict[ApiKey, None] = {}
        self.add(handlers)

    def add(self, handlers: Iterable[AnyHandler]) -> None:
        """Have these answer their APIs."""
        for handler in handlers:
            self._keys[handler.api_key] = None
            self._made[handler.api_key] = handler

    def add_later(self, keys: Iterable[ApiKey], make: MakeHandlers) -> None:
        """Have the handlers that `make` returns, one for each of `keys`, answer these; it is called once, if ever."""
        for key in keys:
            self._keys[key] = None
            self._makers[key] = make

    @property
    def keys(self) -> Iterable[ApiKey]:
        """The APIs, in the order in which they were added."""
        return self._keys.keys()

    def get(self, key: int) -> AnyHandler | None:
        """Who answers an API; None if nobody does. Raises what makers raise, such as ImportError and OSError."""
        handler = self._made.get(key)
        if handler is None and key in self._makers:
            make = self._makers[key]
            self.add(make())
            self._makers = {other: its for other, its in self._makers.items() if its is not make}
            handler = self._made[key]
        return handler

    def made(self, key: int) -> AnyHandler | None:
        """Who answers an API, but for handlers that are not made yet."""
        return self._made.get(key)

    def __iter__(self) -> Iterator[AnyHandler]:
        """All handlers, in the order of `keys`."""
        for key in list(self._keys):
            handler = self.get(key)
            assert handler is not None, f"nothing was made for {key.name}"
            yield handler
