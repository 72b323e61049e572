"""Options that every test suite accepts."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--target",
        default="odradek",
        metavar="odradek|apache|HOST:PORT",
        help="the broker that tests/compat talks to: this project's (default), Apache Kafka, or a running one",
    )
