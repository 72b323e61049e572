"""Handlers that are made when they are asked for first."""

from __future__ import annotations

import pytest

from odradek.security.acl import Operation, ResourceType
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import AnyHandler, Handler
from odradek.wire.apis import ApiKey, request_class


def handler(key: ApiKey) -> AnyHandler:
    return Handler(request_class(key), lambda _context, _request: None, Operation.ANY, ResourceType.CLUSTER)


class Makers:
    def __init__(self) -> None:
        self.called: list[ApiKey] = []

    def of(self, *keys: ApiKey) -> list[AnyHandler]:
        self.called += keys
        return [handler(key) for key in keys]


def test_a_family_is_made_once_by_the_first_that_asks_for_one_of_it() -> None:
    makers = Makers()
    produce = handler(ApiKey.PRODUCE)
    table = HandlerTable([produce])
    table.add_later((ApiKey.JOIN_GROUP, ApiKey.HEARTBEAT), lambda: makers.of(ApiKey.HEARTBEAT, ApiKey.JOIN_GROUP))
    table.add_later((ApiKey.END_TXN,), lambda: makers.of(ApiKey.END_TXN))
    assert list(table.keys) == [ApiKey.PRODUCE, ApiKey.JOIN_GROUP, ApiKey.HEARTBEAT, ApiKey.END_TXN]
    assert table.get(ApiKey.PRODUCE) is produce
    assert table.get(ApiKey.METADATA) is None
    assert table.get(12345) is None
    assert table.made(ApiKey.HEARTBEAT) is None
    assert makers.called == []
    found = table.get(ApiKey.HEARTBEAT)
    assert found is not None
    assert found.api_key is ApiKey.HEARTBEAT
    assert table.get(ApiKey.HEARTBEAT) is table.made(ApiKey.HEARTBEAT) is found
    assert table.get(ApiKey.JOIN_GROUP) is not None
    assert makers.called == [ApiKey.HEARTBEAT, ApiKey.JOIN_GROUP]


def test_all_are_made_for_whoever_goes_through_them() -> None:
    makers = Makers()
    table = HandlerTable()
    table.add_later((ApiKey.END_TXN, ApiKey.METADATA), lambda: makers.of(ApiKey.METADATA, ApiKey.END_TXN))
    table.add([handler(ApiKey.FETCH)])
    assert [each.api_key for each in table] == [ApiKey.END_TXN, ApiKey.METADATA, ApiKey.FETCH]
    assert [each.api_key for each in table] == list(table.keys)
    assert makers.called == [ApiKey.METADATA, ApiKey.END_TXN]


def test_what_could_not_be_made_is_tried_again() -> None:
    makers = Makers()
    failures = [OSError("no descriptors left")]

    def make() -> list[AnyHandler]:
        if failures:
            raise failures.pop()
        return makers.of(ApiKey.END_TXN)

    table = HandlerTable()
    table.add_later((ApiKey.END_TXN,), make)
    with pytest.raises(OSError, match="no descriptors"):
        table.get(ApiKey.END_TXN)
    assert table.get(ApiKey.END_TXN) is not None
