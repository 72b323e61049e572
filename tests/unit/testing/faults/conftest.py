"""One node for all tests of a module, without faults at the begin of each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from odradek.testing import EmbeddedKafka


@pytest.fixture(scope="module")
def _kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(topics={"a": 2, "b": 1}) as kafka:
        yield kafka


@pytest.fixture
def kafka(_kafka: EmbeddedKafka) -> EmbeddedKafka:
    _kafka.reset()
    return _kafka
