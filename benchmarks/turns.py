"""The broker on a loop that tells which of its callbacks take long: `python -m benchmarks.turns serve ...`.

Each line on stderr that begins with SLOW is a callback of more than `ODRADEK_SLOW_MS` milliseconds of CPU time of
the loop's thread, with where it was half-way, as a thread that looks now and then has seen it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import traceback
from types import FrameType

import odradek.net.loop
from odradek.cli import main

SLOW_MS = float(os.environ.get("ODRADEK_SLOW_MS", "2"))
LOOK_EVERY_S = 0.002
DEPTH = 12


class Watch:
    """What the loop is at."""

    def __init__(self) -> None:
        self.number = 0
        self.begun_s = 0.0
        self.seen: tuple[int, str] = (0, "")
        self.main = threading.main_thread().ident or 0

    def look(self) -> None:
        """Note what the loop's thread does when it has been at one thing for long."""
        while True:
            time.sleep(LOOK_EVERY_S)
            number, begun_s = self.number, self.begun_s
            if begun_s and time.perf_counter() - begun_s > SLOW_MS / 2000 and self.seen[0] != number:
                frame: FrameType | None = sys._current_frames().get(self.main)
                if frame is not None:
                    stack = traceback.extract_stack(frame)[-DEPTH:]
                    places = [f"{each.name}:{each.lineno}@{os.path.basename(each.filename)}" for each in stack]
                    self.seen = (number, " < ".join(reversed(places)))


def install() -> None:
    """Time every callback of loops that are made from now on."""
    watch = Watch()
    plain_run = asyncio.events.Handle._run

    def timed_run(handle: asyncio.Handle) -> None:
        watch.number += 1
        watch.begun_s = begun_s = time.perf_counter()
        cpu_s = time.thread_time()
        plain_run(handle)
        watch.begun_s = 0.0
        took_ms = (time.thread_time() - cpu_s) * 1000
        if took_ms >= SLOW_MS:
            seen = watch.seen[1] if watch.seen[0] == watch.number else repr(handle)
            wall_ms = (time.perf_counter() - begun_s) * 1000
            sys.stderr.write(f"SLOW {took_ms:.1f} ms ({wall_ms:.1f} ms by the clock) {seen}\n")

    asyncio.events.Handle._run = timed_run  # type: ignore[assignment, method-assign] # uvloop's cannot be patched
    odradek.net.loop.new_event_loop = asyncio.SelectorEventLoop
    threading.Thread(target=watch.look, daemon=True).start()


if __name__ == "__main__":
    install()
    main(prog_name="odradek")
