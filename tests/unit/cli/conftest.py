"""What commands do to their process is undone where the process is that of the tests."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _garbage_is_collected_again() -> Iterator[None]:
    """A broker that starts collects none; clients of later tests would stay, and connect again. Its threads also take
    turns faster."""
    thresholds = gc.get_threshold()
    interval = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)
    gc.enable()
