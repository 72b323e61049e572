"""The records of a coordinator of counters, which is neither that of groups nor that of transactions."""

from __future__ import annotations

from odradek.wire.persistent.registry import Registry
from odradek.wire.schema import INT64, STRING, Message, field

COUNTER = 0


class CounterKey(Message, kind="coordinator-key", api_key=COUNTER, versions="0", flexible="none"):
    name: str = field(STRING, "0")


class CounterValue(Message, kind="coordinator-value", api_key=COUNTER, versions="0", flexible="0+"):
    count: int = field(INT64, "0+")


_PACKAGE = "tests.unit.broker.coordinator"
KEYS = Registry(_PACKAGE, {COUNTER: ("counter_records", "CounterKey")})
VALUES = Registry(_PACKAGE, {COUNTER: ("counter_records", "CounterValue")})
