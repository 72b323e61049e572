"""Time that can be moved: what embedded nodes have in place of the system's clocks. For the thread of their loop."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable
from typing import TypeVar

from odradek.config import BrokerConfig
from odradek.node.ports import Ports
from odradek.ports import Executor, Promise, Recurring, Timing
from odradek.ports.jobs import JobProcess
from odradek.server.peers import Peers
from odradek.wire.schema import Message

T = TypeVar("T")
R = TypeVar("R", bound=Message)

QUIET_TURNS = 6
"""How many turns of the loop without any work show that nothing is on its way: a request to another node of the process
and its answer take two each."""
SETTLE_S = 30.0
"""Of real time: how long what became due may take."""
RECURRENCES = 256
"""How often, in one advance, what looks for due things again and again looks at most."""
CLUSTER_MARGIN_MS = 10_000.0
"""How long nodes take, beyond all time-outs, until what these have brought about is over."""
_MIN_CANCELLED = 100


class MovedTimer:
    """A call that has been scheduled on a `TimeLine`."""

    __slots__ = ("_line", "callback")

    def __init__(self, line: TimeLine, callback: Callable[[], None]) -> None:
        self._line = line
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Drop the call if it has not run yet."""
        if self.callback is not None:
            self.callback = None
            self._line.cancelled()


class TimeLine:
    """Implements Clock and Scheduler. Runs as real time does, with an offset, or is held at one moment."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wall: TimeLine | None = None) -> None:
        """`wall` has the wall clock, which is one for all; None: this one has it."""
        self.activity = 0
        """Grows with each callback that has run."""
        self.stretch_ms = 0.0
        """The least pause before what is `Recurring` runs again."""
        self._loop = loop
        self._wall = wall
        self._offset_ms = self._wall_offset_ms = 0.0
        self._held: tuple[float, float] | None = None
        """Both clocks while time is held."""
        self._timers: list[tuple[float, int, MovedTimer]] = []
        self._order = itertools.count()
        self._cancelled = 0
        self._wake_up: asyncio.TimerHandle | None = None
        self._wakes_at_ms = math.inf

    # Clock

    def now_ms(self) -> int:
        """Wall clock, milliseconds since the Unix epoch."""
        if self._wall is not None:
            return self._wall.now_ms()
        return int(self._held[1] if self._held is not None else _real_wall_ms() + self._wall_offset_ms)

    def monotonic_ms(self) -> float:
        """Milliseconds that never run backwards."""
        held = self._held
        return held[0] if held is not None else time.monotonic_ns() / 1_000_000 + self._offset_ms

    # Scheduler

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run `callback` in the loop's next turn."""
        self._loop.call_soon(self._run, callback)

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> MovedTimer:
        """Run `callback` once, `delay_ms` milliseconds of this time from now."""
        if self.stretch_ms > delay_ms and isinstance(callback, Recurring):
            delay_ms = self.stretch_ms
        timer = MovedTimer(self, callback)
        due_ms = self.monotonic_ms() + max(0.0, delay_ms)
        heapq.heappush(self._timers, (due_ms, next(self._order), timer))
        if due_ms < self._wakes_at_ms:
            self._arm()
        return timer

    # Moving

    @property
    def is_held(self) -> bool:
        """Whether time stands still."""
        return self._held is not None

    def hold(self) -> None:
        """Let time stand still; nothing becomes due meanwhile but by `move_to`."""
        if self._held is None:
            self._held = self.monotonic_ms(), _real_wall_ms() + self._wall_offset_ms
            self._arm()

    def release(self) -> None:
        """Let time run on from where it was held."""
        if self._held is not None:
            monotonic_ms, wall_ms = self._held
            self._held = None
            self._offset_ms = monotonic_ms - time.monotonic_ns() / 1_000_000
            self._wall_offset_ms = wall_ms - _real_wall_ms()
            self._arm()

    def move_to(self, moment_ms: float) -> None:
        """Hold time at a later moment of the monotonic clock; the wall clock moves by as much."""
        assert self._held is not None
        monotonic_ms, wall_ms = self._held
        if moment_ms > monotonic_ms:
            self._held = moment_ms, wall_ms + moment_ms - monotonic_ms

    def next_due_ms(self) -> float:
        """When the next timer is due; infinity if there is none."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
            self._cancelled -= 1
        return self._timers[0][0] if self._timers else math.inf

    def run_next(self) -> None:
        """Run the timer that is due first."""
        self._fire(heapq.heappop(self._timers)[2])

    def recurring(self) -> list[MovedTimer]:
        """The timers that look for what is due, the first first."""
        return [timer for _due_ms, _order, timer in sorted(self._timers) if isinstance(timer.callback, Recurring)]

    def run_early(self, timer: MovedTimer) -> None:
        """Run a timer that is not due, unless it was cancelled meanwhile."""
        if timer.callback is not None:
            self._cancelled += 1  # its entry stays
            self._fire(timer)

    def cancelled(self) -> None:
        """For timers: one was cancelled, whose entry stays until it is due, or until there are many of them."""
        self._cancelled += 1
        if self._cancelled > max(_MIN_CANCELLED, len(self._timers) // 2):
            self._timers = [entry for entry in self._timers if entry[2].callback is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def close(self) -> None:
        """Run nothing any more."""
        self._disarm()
        self._timers.clear()
        self._cancelled = 0

    def _arm(self) -> None:
        """Have the loop wake this line when the next timer is due."""
        self._disarm()
        due_ms = self.next_due_ms()
        if due_ms <= (math.inf if self._held is None else self._held[0]) and due_ms < math.inf:
            self._wakes_at_ms = due_ms
            # Not before it is due: the loop's own time is in whole milliseconds.
            self._wake_up = self._loop.call_later(math.ceil(max(0.0, due_ms - self.monotonic_ms())) / 1000, self._woken)

    def _disarm(self) -> None:
        self._wakes_at_ms = math.inf
        if self._wake_up is not None:
            self._wake_up.cancel()
            self._wake_up = None

    def _woken(self) -> None:
        self._wake_up = None
        now_ms = self.monotonic_ms()
        while self.next_due_ms() <= now_ms:
            self.run_next()
        self._arm()

    def _fire(self, timer: MovedTimer) -> None:
        callback, timer.callback = timer.callback, None
        if callback is not None:
            self._run(callback)

    def _run(self, callback: Callable[[], None]) -> None:
        self.activity += 1
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - handed to the loop, as for its own timers
            self._loop.call_exception_handler({"message": "a timer of a node has failed", "exception": error})


class VirtualTime:
    """The time of all nodes of one `Cluster`.

    There are two lines of it. `clients` is what clients and their data notice: sessions, transactions, retention. On
    `cluster` the nodes notice each other. An advance goes through both together, timer by timer, until all that can
    time out between nodes has done so: their heartbeats, votes and fetches take place in it. What is left of it then
    passes on the line of the clients only, for between nodes nothing would change any more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.clients = TimeLine(loop)
        self.cluster = TimeLine(loop, self.clients)
        self.cluster_ms = CLUSTER_MARGIN_MS
        """How much of an advance the nodes notice."""
        self._is_frozen = False
        self._moving = asyncio.Lock()
        self._outstanding = 0
        """What other threads and processes work at."""
        self._activity = 0
        self._idle: asyncio.Future[None] | None = None

    def know(self, config: BrokerConfig) -> None:
        """Let a node with this configuration take part."""
        session_ms, lag_ms = config.int_("broker.session.timeout.ms"), config.int_("replica.lag.time.max.ms")
        # Replicas that lag are looked for twice in that time.
        self.cluster_ms = max(self.cluster_ms, session_ms + 1.5 * lag_ms + CLUSTER_MARGIN_MS)

    def ports(self, ports: Ports) -> Ports:
        """What a node is given in place of its ports."""
        new_job_process, new_peers = ports.new_job_process, ports.new_peers
        return ports._replace(
            clock=self.clients,
            scheduler=self.clients,
            executor=_WatchedExecutor(self, ports.executor),
            new_job_process=None if new_job_process is None else lambda: _WatchedJobs(self, new_job_process()),
            new_peers=None if new_peers is None else lambda *names: _WatchedPeers(self, new_peers(*names)),
            between_nodes=Timing(self.cluster, self.cluster),
        )

    @property
    def is_frozen(self) -> bool:
        """Whether the clients' time passes by `advance` only."""
        return self._is_frozen

    def freeze(self) -> None:
        """Let the clients' time stand still, but for `advance`."""
        self._is_frozen = True
        self.clients.hold()

    def resume(self) -> None:
        """Let time run on."""
        self._is_frozen = False
        if not self._moving.locked():
            self.clients.release()

    async def advance(self, milliseconds: float) -> None:
        """Let so much time pass; returns when all that became due has been done, and what followed from it.

        Real time that goes by meanwhile does not count. Raises TimeoutError if that does not come to an end within
        `SETTLE_S` seconds of real time.
        """
        async with self._moving:
            self.clients.hold()
            self.cluster.hold()
            self.clients.stretch_ms = milliseconds / RECURRENCES
            try:
                await self._settle()
                await self._move(milliseconds)
                self.clients.stretch_ms = 0.0
                await self._look_around()
            finally:
                self.clients.stretch_ms = 0.0
                self.cluster.release()
                if not self._is_frozen:
                    self.clients.release()

    def close(self) -> None:
        """The nodes are gone: nothing runs any more."""
        self.clients.close()
        self.cluster.close()

    async def _move(self, milliseconds: float) -> None:
        lines = [
            (self.cluster, self.cluster.monotonic_ms(), min(milliseconds, self.cluster_ms)),
            (self.clients, self.clients.monotonic_ms(), milliseconds),
        ]
        while True:
            due = [
                (line.next_due_ms() - begun_ms, line)
                for line, begun_ms, limit_ms in lines
                if _is_due(line, begun_ms, limit_ms)
            ]
            if not due:
                break
            elapsed_ms, first = min(due, key=lambda each: each[0])
            for line, begun_ms, limit_ms in lines:
                line.move_to(begun_ms + min(elapsed_ms, limit_ms))
            first.run_next()
            await self._settle()
        for line, begun_ms, limit_ms in lines:
            line.move_to(begun_ms + limit_ms)

    async def _look_around(self) -> None:
        """Whatever looks for due things from time to time looks now, so that nobody has to wait for its next time."""
        for timer in self.clients.recurring():
            self.clients.run_early(timer)
            await self._settle()

    async def _settle(self) -> None:
        """Return once nothing is under way any more."""
        until_s = time.monotonic() + SETTLE_S
        quiet = 0
        while quiet < QUIET_TURNS:
            before = self._activity + self.clients.activity + self.cluster.activity
            if self._outstanding:
                self._idle = self._loop.create_future()
                await asyncio.wait_for(self._idle, max(0.0, until_s - time.monotonic()))
            else:
                await asyncio.sleep(0)
            is_quiet = before == self._activity + self.clients.activity + self.cluster.activity
            quiet = quiet + 1 if is_quiet else 0
            if time.monotonic() > until_s:
                raise TimeoutError(f"what became due has not come to an end within {SETTLE_S:.0f} s")

    # For those who watch

    def worked(self) -> None:
        """Something has gone to another node, or come from there."""
        self._activity += 1

    def outstanding(self, promise: Promise[T]) -> Promise[T]:
        """Another thread or process works for this promise."""
        self._outstanding += 1
        promise.on_done(self._done)
        return promise

    def _done(self, _promise: Promise[T]) -> None:
        self._outstanding -= 1
        self._activity += 1
        idle, self._idle = self._idle, None
        if idle is not None and not idle.done():
            idle.set_result(None)


class _WatchedExecutor:
    def __init__(self, time: VirtualTime, executor: Executor) -> None:
        self._time = time
        self._executor = executor

    def submit(self, work: Callable[[], T]) -> Promise[T]:
        return self._time.outstanding(self._executor.submit(work))


class _WatchedJobs:
    def __init__(self, time: VirtualTime, process: JobProcess) -> None:
        self._time = time
        self._process = process
        self.cancel = process.cancel
        self.close = process.close

    def run(self, job: str, request: str, bytes_per_second: float, on_message: Callable[[str], None]) -> Promise[str]:
        return self._time.outstanding(self._process.run(job, request, bytes_per_second, on_message))


class _WatchedPeers:
    def __init__(self, time: VirtualTime, peers: Peers) -> None:
        self._time = time
        self._peers = peers
        self.close = peers.close

    def send(self, host: str, port: int, request: Message, response: type[R], *, timeout_ms: float) -> Promise[R]:
        self._time.worked()
        answer = self._peers.send(host, port, request, response, timeout_ms=timeout_ms)
        answer.on_done(lambda _answer: self._time.worked())
        return answer


def _is_due(line: TimeLine, begun_ms: float, limit_ms: float) -> bool:
    return line.next_due_ms() <= begun_ms + limit_ms


def _real_wall_ms() -> float:
    return time.time_ns() / 1_000_000
