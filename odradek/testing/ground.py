"""What an embedded node stands on, so that it can be stopped, killed, cut off, and have its disk fail."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from odradek.node.ports import Ports
from odradek.node.running import Frames
from odradek.ports import Executor, Promise, Recurring, Scheduler, TimerHandle
from odradek.ports.jobs import JobProcess
from odradek.ports.network import ConnectionInfo, Reply
from odradek.server.peers import Peers
from odradek.testing.disk import Disk
from odradek.testing.links import Links
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.schema import Message

T = TypeVar("T")
Resp = TypeVar("Resp", bound=Message)


class _State(Enum):
    RUNNING = "running"
    PAUSED = "paused"
    DEAD = "dead"


class Gate:
    """Lets run what a node does, or keeps it until it may go on. Belongs to the loop's thread."""

    def __init__(self) -> None:
        self._state = _State.RUNNING
        self._kept: deque[Callable[[], None]] = deque()

    @property
    def is_open(self) -> bool:
        """Whether the node runs."""
        return self._state is _State.RUNNING

    def run(self, action: Callable[[], None]) -> None:
        """Run it now, or behind what came before once the node goes on; never if the node is dead."""
        if self._state is _State.RUNNING:
            action()
        elif self._state is _State.PAUSED:
            self._kept.append(action)

    def pause(self) -> None:
        """Keep everything from now on."""
        if self._state is _State.RUNNING:
            self._state = _State.PAUSED

    def resume(self) -> None:
        """Run what was kept, and go on."""
        if self._state is not _State.PAUSED:
            return
        while self._kept and self._state is _State.PAUSED:
            kept, self._kept = self._kept, deque()
            self._state = _State.RUNNING
            for number, action in enumerate(kept):
                if self._state is not _State.RUNNING:
                    self._kept.extend(list(kept)[number:])
                    return
                action()
        self._state = _State.RUNNING

    def kill(self) -> None:
        """Run nothing any more."""
        self._state = _State.DEAD
        self._kept.clear()


class Ground:
    """One start of a node: its ports and handlers, behind a gate."""

    def __init__(self, node_id: int, links: Links, disk: Disk) -> None:
        self.gate = Gate()
        self._node_id = node_id
        self._links = links
        self._disk = disk
        self._schedulers: list[_Scheduler] = []
        self._peers: list[_Peers] = []
        self._jobs: list[JobProcess] = []

    def ports(self, ports: Ports) -> Ports:
        """What the node is given in place of these."""
        new_peers, new_job_process = ports.new_peers, ports.new_job_process
        between = ports.between_nodes
        return ports._replace(
            scheduler=self._scheduler(ports.scheduler),
            between_nodes=None if between is None else between._replace(scheduler=self._scheduler(between.scheduler)),
            executor=_Executor(ports.executor, self.gate),
            files=self._disk.files(ports.files),
            new_peers=None if new_peers is None else self._with_links(new_peers),
            new_job_process=None if new_job_process is None else self._kept_track_of(new_job_process),
        )

    def frames(self, frames: Frames) -> Frames:
        """What a listener is given in place of these handlers."""
        gate, (handler, run_handler) = self.gate, frames

        def handle(connection: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
            if gate.is_open:
                return handler(connection, frame)
            later: Promise[Reply] = Promise()

            def answer() -> None:
                reply = handler(connection, frame)
                if isinstance(reply, Promise):
                    later.follow(reply)
                else:
                    later.resolve(reply)

            gate.run(answer)
            return later

        return handle, None if run_handler is None else run_handler.only_while(lambda: gate.is_open)

    def kill(self) -> None:
        """End everything that the node does, in the middle of it."""
        self.gate.kill()
        for scheduler in self._schedulers:
            scheduler.cancel_all()
        for peers in self._peers:
            peers.close()
        for jobs in self._jobs:
            jobs.close()
        self._disk.close_files()

    def cut(self) -> None:
        """The links have changed: what is under way over those that are cut is lost."""
        for peers in self._peers:
            peers.lose_cut()

    def _scheduler(self, scheduler: Scheduler) -> Scheduler:
        gated = _Scheduler(scheduler, self.gate)
        self._schedulers.append(gated)
        return gated

    def _with_links(self, new_peers: Callable[[str, str], Peers]) -> Callable[[str, str], Peers]:
        def new(listener: str, purpose: str) -> Peers:
            peers = _Peers(
                new_peers(listener, purpose), self.gate, lambda port: self._links.is_cut(self._node_id, port, purpose)
            )
            self._peers.append(peers)
            return peers

        return new

    def _kept_track_of(self, new_job_process: Callable[[], JobProcess]) -> Callable[[], JobProcess]:
        def new() -> JobProcess:
            jobs = new_job_process()
            self._jobs.append(jobs)
            return jobs

        return new


class _Timer:
    __slots__ = ("_action", "_timers", "handle")

    handle: TimerHandle

    def __init__(self, action: Callable[[], None], timers: dict[_Timer, None]) -> None:
        self._action: Callable[[], None] | None = action
        self._timers = timers
        timers[self] = None

    def run(self) -> None:
        action, self._action = self._action, None
        self._timers.pop(self, None)
        if action is not None:
            action()

    def cancel(self) -> None:
        """Also one that is kept by the gate."""
        self._action = None
        self._timers.pop(self, None)
        self.handle.cancel()


class _Scheduler:
    def __init__(self, inner: Scheduler, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate
        self._timers: dict[_Timer, None] = {}

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._inner.call_soon(lambda: self._gate.run(callback))

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> TimerHandle:
        timer = _Timer(callback, self._timers)

        def due() -> None:
            self._gate.run(timer.run)

        timer.handle = self._inner.call_later(delay_ms, Recurring(due) if isinstance(callback, Recurring) else due)
        return timer

    def cancel_all(self) -> None:
        for timer in list(self._timers):
            timer.cancel()


class _Executor:
    def __init__(self, inner: Executor, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate

    def submit(self, work: Callable[[], T]) -> Promise[T]:
        promise: Promise[T] = Promise()
        self._inner.submit(work).on_done(lambda done: self._gate.run(lambda: promise.follow(done)))
        return promise


class _Peers:
    def __init__(self, inner: Peers, gate: Gate, is_cut: Callable[[int], bool]) -> None:
        self._inner = inner
        self._gate = gate
        self._is_cut = is_cut
        self._waiting: dict[Callable[[], None], int] = {}
        """What fails requests without an answer, with the ports that those were sent to."""

    def send(self, host: str, port: int, request: Message, response: type[Resp], *, timeout_ms: float) -> Promise[Resp]:
        if self._is_cut(port):
            return Promise.failed(_no_route(host, port))
        promise: Promise[Resp] = Promise()

        def lose() -> None:
            promise.reject(_no_route(host, port))

        def answered(answer: Promise[Resp]) -> None:
            self._waiting.pop(lose, None)
            self._gate.run(lambda: promise.follow(answer))

        self._waiting[lose] = port
        self._inner.send(host, port, request, response, timeout_ms=timeout_ms).on_done(answered)
        return promise

    def close(self) -> None:
        self._inner.close()

    def lose_cut(self) -> None:
        for lose, port in list(self._waiting.items()):
            if self._is_cut(port):
                del self._waiting[lose]
                self._gate.run(lose)


def _no_route(host: str, port: int) -> KafkaError:
    return KafkaError(ErrorCode.NETWORK_EXCEPTION, f"{host}:{port} is cut off")
