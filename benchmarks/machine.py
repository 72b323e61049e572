"""What figures depend on besides the workloads: the machine and the versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

import odradek
from tests.support.apache import ROOT, TOOLS_VERSION, VERSION

PROC = Path("/proc")


def machine() -> dict[str, object]:
    """The machine, the interpreter and the commit that is checked out."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_bytes": _memory_bytes(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _output(["git", "rev-parse", "--short", "HEAD"]),
    }


def versions() -> dict[str, str]:
    """Of both brokers, and of what runs them; what is not there is left out."""
    commit = _output(["git", "rev-parse", "--short", "HEAD"])
    changed = _output(["git", "status", "--porcelain", "--untracked-files=no"])
    found = {
        "Odradek": odradek.__version__ + (f" ({commit}{' with changes' if changed else ''})" if commit else ""),
        "Apache Kafka": VERSION,
        "Kafka's tools": TOOLS_VERSION,
        "Python": platform.python_version(),
    }
    java = java_version(_output(["java", "-version"]))
    return {**found, "Java": java} if java else found


def java_version(output: str | None) -> str | None:
    """The version that ``java -version`` prints between quotes."""
    match = re.search(r'version "([^"]+)"', output or "")
    return match[1] if match else None


def _cpu_model() -> str:
    for line in _lines(PROC / "cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_bytes() -> int:
    for line in _lines(PROC / "meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _output(command: list[str]) -> str | None:
    """What a program says, on whichever stream; None where it is missing or says nothing."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return (done.stdout or done.stderr).strip() or None
