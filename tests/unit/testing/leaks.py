"""What a program has open and running."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DESCRIPTORS = Path("/proc/self/fd")
SETTLE_S = 5.0


def descriptors() -> dict[str, str]:
    """What each open descriptor leads to; nothing where the system does not tell."""
    found = {}
    if DESCRIPTORS.exists():
        for name in os.listdir(DESCRIPTORS):
            try:
                found[name] = os.readlink(DESCRIPTORS / name)
            except OSError:
                continue  # that of the listing itself
    return found


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fails if there are threads or descriptors afterwards that there were not before.

    Clients that are closed in the block may end their threads a little later.
    """
    threads, files = set(threading.enumerate()), descriptors()
    yield
    until_s = time.monotonic() + SETTLE_S
    while True:
        left = [thread for thread in threading.enumerate() if thread not in threads]
        opened = {name: at for name, at in descriptors().items() if files.get(name) != at}
        if not left and not opened:
            return
        assert time.monotonic() < until_s, f"left: {left}, {opened}"
        time.sleep(0.01)
