"""What a process is like once it serves clients."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from odradek.cli.serve import ready
print(sys.getswitchinterval())
ready("localhost:9092")
print(sys.getswitchinterval())
"""


def test_threads_that_compute_give_way_to_the_loop_sooner_than_by_default() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    by_default_s, ready, serving_s = done.stdout.splitlines()
    assert ready == "odradek ready on localhost:9092"
    assert float(serving_s) <= float(by_default_s) / 10
