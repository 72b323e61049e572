"""Work at a steady rate on one thread, which reads meanwhile what comes over many connections."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable

from benchmarks.load.channel import SILENCE_TIMEOUT_S, Channel
from benchmarks.load.fetch_wire import FetchFailed


class SteadyLoop:
    """Waits for channels, and for the time at which something is due."""

    def __init__(self) -> None:
        # Unlike poll and epoll, select waits for less than a millisecond where it is told so.
        self._selector = selectors.SelectSelector()

    def watch(self, channel: Channel, receive: Callable[[], None]) -> None:
        """Have `receive` called whenever there is something to read."""
        self._selector.register(channel.socket, selectors.EVENT_READ, receive)

    def serve(self, timeout_s: float) -> int:
        """Read what comes within the time; from how many connections."""
        ready = self._selector.select(timeout_s)
        for key, _ in ready:
            key.data()
        return len(ready)

    def serve_until(self, is_done: Callable[[], bool], what: str) -> None:
        """Read until it is done. Raises FetchFailed, which tells `what`, where nothing comes any more."""
        while not is_done():
            if not self.serve(SILENCE_TIMEOUT_S):
                raise FetchFailed(f"{what} after {SILENCE_TIMEOUT_S:g} s")

    def run(self, count: int, per_s: int, send: Callable[[float], None], is_done: Callable[[], bool]) -> float:
        """Call `send` as often and at that rate, then wait until it is done; the seconds that took.

        `send` is told when it was due (`time.perf_counter`): latencies that run from there, and not from when it was
        called, charge a stall for all that it holds up.
        Steady work is done soon after its last part: FetchFailed where the broker is so far behind that it is not.
        """
        sent = 0
        begun_s = time.perf_counter()
        while sent < count or not is_done():
            elapsed_s = time.perf_counter() - begun_s
            if elapsed_s > count / per_s + SILENCE_TIMEOUT_S:
                raise FetchFailed(f"not everything was read in {elapsed_s:.0f} s")
            due_in_s = sent / per_s - elapsed_s if sent < count else SILENCE_TIMEOUT_S
            if due_in_s <= 0:
                send(begun_s + sent / per_s)
                sent += 1
                due_in_s = 0.0
            self.serve(due_in_s)
        return time.perf_counter() - begun_s

    def close(self) -> None:
        self._selector.close()
