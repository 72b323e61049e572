"""CPU time and memory of a process and its children, as Linux tells them in /proc."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

PROC = Path("/proc")


def parse_reaped_ticks(line: str) -> int:
    """Clock ticks of the children that have ended, by ``/proc/PID/stat``.

    The command's name may hold spaces and parentheses: fields count from the last one.
    """
    fields = line[line.rindex(")") + 1 :].split()
    return int(fields[13]) + int(fields[14])


def parse_status_bytes(status: str, key: str) -> int:
    """A size of ``/proc/PID/status`` such as VmRSS or VmHWM, in bytes; 0 where it is missing."""
    for line in status.splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0


def available() -> bool:
    return (PROC / "self" / "stat").exists()


def cpu_s(pid: int) -> float:
    """CPU seconds (user and system) that a process and all its descendants have used so far.

    Those that run are exact, threads that have ended included; of children that have ended, in clock ticks of 10 ms.
    """
    used_s = _used_s(pid)
    for member in _tree(pid)[1:]:
        # A child may end between being listed and being asked; its parent has its time then.
        with contextlib.suppress(OSError):
            used_s += _used_s(member)
    return used_s


def _used_s(pid: int) -> float:
    """Raises OSError for a process that is not there."""
    ticks = parse_reaped_ticks((PROC / str(pid) / "stat").read_text())
    return time.clock_gettime(_cpu_clock(pid)) + ticks / os.sysconf("SC_CLK_TCK")


def _cpu_clock(pid: int) -> int:
    """The clock of a process's scheduled time, as clock_getcpuclockid(3) makes it on Linux (CPUCLOCK_SCHED)."""
    return (~pid << 3) | 2


def resident_bytes(pid: int) -> int:
    """Resident set of a process and its descendants, in bytes."""
    return sum(_status_bytes(member, "VmRSS") for member in _tree(pid))


def peak_resident_bytes(pid: int) -> int:
    """The sum of the highest resident sets that a process and its descendants ever had, in bytes."""
    return sum(_status_bytes(member, "VmHWM") for member in _tree(pid))


def reset_peak(pid: int) -> None:
    """Let the highest resident sets begin anew from what is resident now, where this is allowed."""
    for member in _tree(pid):
        with contextlib.suppress(OSError):
            (PROC / str(member) / "clear_refs").write_text("5")


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
