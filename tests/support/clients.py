"""Which client library a case is about: the table of docs/conformance.md has a row for each."""

from __future__ import annotations

import pytest

PROTOCOL = "protocol"
"""Raw requests, without any library."""
CLIENTS = ("librdkafka", "kafka-python", "aiokafka", "java", "sarama")
_NAMES = {**{name: name for name in CLIENTS}, "confluent": "librdkafka"}


def client_of(item: pytest.Item) -> str:
    """The library that a case is parametrized or marked with (`@pytest.mark.client("java")`)."""
    marker = item.get_closest_marker("client")
    if marker is not None:
        return str(marker.args[0])
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    found = [_NAMES[value] for value in parameters.values() if isinstance(value, str) and value in _NAMES]
    return found[0] if found else PROTOCOL
