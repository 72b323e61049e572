"""What measurements do to their process is undone where the process is that of the tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _garbage_is_collected_again() -> Iterator[None]:
    """Those that load a broker collect none; clients of later tests would stay, and connect again."""
    yield
    gc.unfreeze()
    gc.enable()
