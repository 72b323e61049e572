"""Options that every test suite accepts."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.support.clients import CLIENTS, PROTOCOL

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("odradek", deadline=None)
settings.load_profile("odradek")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--target",
        default="odradek",
        metavar="odradek|apache|HOST:PORT",
        help="the broker that tests/compat talks to: this project's (default), Apache Kafka, or a running one",
    )
    parser.addoption(
        "--client",
        action="append",
        default=[],
        choices=(*CLIENTS, "tools", PROTOCOL),
        help="only the cases of tests/compat that are about this client; repeatable",
    )
