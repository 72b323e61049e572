"""What `odradek serve` loads before it is ready: each module costs every start of every user's tests."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import odradek.__main__
from odradek.cli import serve

def ready(address):
    print(*sorted(sys.modules))
    sys.stdout.flush()
    import os
    os._exit(0)

serve.ready = ready
odradek.__main__.main()
"""
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def loaded() -> frozenset[str]:
    """The names of all modules that are loaded when clients may come."""
    arguments = ["serve", "--in-memory", "--listen", "127.0.0.1:0", "--log-level", "error"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    )
    return frozenset(done.stdout.split())


def test_a_start_loads_no_library_that_it_does_not_need(loaded: frozenset[str]) -> None:
    unwanted = {"rich", "structlog", "ctypes", "shutil", "tempfile", "pickle", "encodings.idna", "re2", "cramjam"}
    assert not unwanted & loaded


@pytest.mark.parametrize(
    "prefix",
    [
        "odradek.broker.groups",
        "odradek.broker.coordinator.runtime",
        "odradek.broker.transactions.service",
        "odradek.controller.api.users",
        "odradek.security.scram",
        "odradek.broker.api.security",
        "odradek.broker.api.log_dirs",
        "odradek.wire.messages.join_group",
        "odradek.wire.messages.delete_acls",
        "odradek.wire.messages.describe_configs",
    ],
)
def test_what_answers_other_requests_is_loaded_with_the_first_of_these(loaded: frozenset[str], prefix: str) -> None:
    assert [name for name in loaded if name == prefix or name.startswith(f"{prefix}.")] == []
    assert "odradek.broker.api.metadata" in loaded
