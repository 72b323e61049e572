"""Kafka's own classes and ours turn the same values into the same bytes, in both directions."""

from __future__ import annotations

import pytest
from golden import compare, make_cases
from java_oracle import why_not

SEED = 2025
"""Other values than those of the golden corpus."""


def test_bytes_and_values_are_those_of_kafkas_classes() -> None:
    missing = why_not()
    if missing is not None:
        pytest.skip(missing)
    differences, _ = compare(make_cases(SEED, values_per_version=4))
    assert differences == []
