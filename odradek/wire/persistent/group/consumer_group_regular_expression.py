"""ConsumerGroupRegularExpression (type 16) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT64, STRING, Message, array, field


class ConsumerGroupRegularExpressionKey(Message, kind="coordinator-key", api_key=16, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")
    regular_expression: str = field(STRING, "0")


class ConsumerGroupRegularExpressionValue(Message, kind="coordinator-value", api_key=16, versions="0", flexible="0+"):
    topics: list[str] = field(array(STRING), "0+")
    version: int = field(INT64, "0+")
    timestamp: int = field(INT64, "0+")
