"""CPU time and memory of a process and its children, as Linux tells them in /proc."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Cpu:
    """Clock ticks of a process: its own, and those of children that have ended."""

    own_ticks: int
    reaped_ticks: int


def parse_stat(line: str) -> Cpu:
    """``/proc/PID/stat``. The command's name may hold spaces and parentheses: fields count from the last one."""
    fields = line[line.rindex(")") + 1 :].split()
    user, system, reaped_user, reaped_system = (int(field) for field in fields[11:15])
    return Cpu(user + system, reaped_user + reaped_system)


def parse_status_bytes(status: str, key: str) -> int:
    """A size of ``/proc/PID/status`` such as VmRSS or VmHWM, in bytes; 0 where it is missing."""
    for line in status.splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0


def available() -> bool:
    return (PROC / "self" / "stat").exists()


def cpu_s(pid: int) -> float:
    """CPU seconds (user and system) that a process and all its descendants have used so far."""
    ticks = 0
    for member in _tree(pid):
        used = parse_stat((PROC / str(member) / "stat").read_text())
        ticks += used.own_ticks + used.reaped_ticks
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Resident set of a process and its descendants, in bytes."""
    return sum(_status_bytes(member, "VmRSS") for member in _tree(pid))


def peak_resident_bytes(pid: int) -> int:
    """The sum of the highest resident sets that a process and its descendants ever had, in bytes."""
    return sum(_status_bytes(member, "VmHWM") for member in _tree(pid))


def proportional_bytes(pid: int) -> int:
    """The same with what is shared between processes divided among them (PSS); 0 where it may not be read."""
    sizes = []
    for member in _tree(pid):
        try:
            sizes.append(parse_status_bytes((PROC / str(member) / "smaps_rollup").read_text(), "Pss"))
        except OSError:
            return 0
    return sum(sizes)


def _status_bytes(pid: int, key: str) -> int:
    return parse_status_bytes((PROC / str(pid) / "status").read_text(), key)


def _tree(pid: int) -> list[int]:
    members = [pid]
    for member in members:
        for task in sorted((PROC / str(member) / "task").iterdir()):
            # A thread may end between being listed and being asked; its children have been handed on.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                members += [int(child) for child in (task / "children").read_text().split()]
    return members
