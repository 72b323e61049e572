"""`odradek` on a slow disk: `python -m tests.cluster.slow_disk REPORT DELAY_S python -m odradek ...`.

Whatever of a `.log` file is not in the page cache is had DELAY_S later. At its end the process writes to REPORT, as
JSON, how often that was, how often the event loop's thread had to wait for it, and what was sent by sendfile.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import time
from pathlib import Path

from odradek.net.page_cache import is_cached

_pread = os.pread
_sendfile = os.sendfile
_report = {"cold_reads": 0, "loop_waited": 0, "sendfile_calls": 0, "sendfile_bytes": 0, "read_bytes": 0}


def _wait_for_disk(fd: int, size: int, offset: int, delay_s: float) -> None:
    size = min(size, os.fstat(fd).st_size - offset)
    if not is_cached(fd, size, offset):
        _report["cold_reads"] += 1
        _report["loop_waited"] += threading.current_thread() is threading.main_thread()
        time.sleep(delay_s)


def _is_log(fd: int) -> bool:
    return os.readlink(f"/proc/self/fd/{fd}").endswith(".log")


def slow_down(delay_s: float) -> None:
    """Replace the calls that read files."""

    def pread(fd: int, size: int, offset: int, /) -> bytes:
        if _is_log(fd):
            _wait_for_disk(fd, size, offset, delay_s)
        data = _pread(fd, size, offset)
        _report["read_bytes"] += len(data)
        return data

    def sendfile(out_fd: int, in_fd: int, offset: int, count: int) -> int:
        _wait_for_disk(in_fd, count, offset, delay_s)
        sent = _sendfile(out_fd, in_fd, offset, count)
        _report["sendfile_calls"] += 1
        _report["sendfile_bytes"] += sent
        return sent

    os.pread = pread
    os.sendfile = sendfile  # type: ignore[assignment] # on Linux, where the offset is an int


def main() -> None:
    """Run the arguments of the command that follows the two of this one."""
    report, delay_s = Path(sys.argv[1]), float(sys.argv[2])
    slow_down(delay_s)
    atexit.register(lambda: report.write_text(json.dumps(_report)))
    # After the calls were replaced: modules keep what they imported.
    from odradek.cli import main as odradek

    odradek(sys.argv[sys.argv.index("odradek") + 1 :])


if __name__ == "__main__":
    main()
