"""The faults of requests that are active, and the interceptors by which they act."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from odradek.ports import Promise
from odradek.ports.network import ConnectionInfo, FrameHandler, Outcome, Reply
from odradek.testing.faults.exchange import Exchange, NodeView
from odradek.testing.faults.lines import FOREVER, Lines
from odradek.testing.faults.matching import Matcher
from odradek.testing.faults.refusal import refused
from odradek.testing.faults.replies import after, changed, dropped, header_size, taken
from odradek.testing.faults.specs import (
    Corrupt,
    Delay,
    Drop,
    Fail,
    HalfClose,
    LoseResponse,
    RequestFault,
    Stall,
    Throttle,
)
from odradek.testing.interception import Interceptor, request_head
from odradek.wire.errors import ErrorCode
from odradek.wire.schema import Message

_THROTTLE_TIME = "throttle_time_ms"


class ActiveRequestFault:
    """One that acts, and what it holds back."""

    def __init__(self, fault_id: str, spec: RequestFault, random: Random, on_hit: Callable[[], None]) -> None:
        """`on_hit` is called whenever it acts. Raises ValueError for a description that makes no sense."""
        self.id = fault_id
        self.spec = spec
        self.matcher = Matcher(spec, random)
        self.random = random
        self.on_hit = on_hit
        self.late: dict[Promise[Reply], Callable[[], None]] = {}
        """Answers that wait, and what lets them go."""

    @property
    def holds_ms(self) -> float:
        """How long a request waits before it is handled."""
        spec = self.spec
        if isinstance(spec, Delay) and not spec.applied:
            return spec.ms
        return FOREVER if isinstance(spec, Stall) and not spec.applied else 0.0


class RequestFaults:
    """Those of all nodes on one loop. What several faults hit is held up by all of them, and answered by the last."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._active: dict[str, ActiveRequestFault] = {}
        self._lines: dict[int, Lines] = {}

    @property
    def is_idle(self) -> bool:
        """Whether there are none."""
        return not self._active

    def add(self, fault: ActiveRequestFault) -> None:
        """Let it act from now on."""
        self._active[fault.id] = fault

    def lift(self, fault_id: str) -> None:
        """Let it act no more, and let go what it holds."""
        fault = self._active.pop(fault_id, None)
        if fault is None:
            return
        for lines in list(self._lines.values()):
            lines.release(fault_id)
        for let_go in list(fault.late.values()):
            let_go()

    def cut_off(self) -> None:
        """Let nothing act any more; the connections of what is held up end."""
        for lines in self._lines.values():
            lines.cut_off()
        for fault_id in list(self._active):
            self.lift(fault_id)

    def interceptor(self, node: NodeView) -> Interceptor:
        """What requests to a node have to pass."""
        lines = self._lines[node.node_id] = Lines(self._loop)

        def intercept(connection: ConnectionInfo, frame: memoryview, forward: FrameHandler) -> Reply | Promise[Reply]:
            head = request_head(frame)
            if head is None:
                return forward(connection, frame)
            exchange = Exchange(node, connection, head, frame, forward)
            hits = self._hits(exchange)
            if not hits and not lines.is_held(connection.id):
                return exchange.answer()
            holds_ms = {fault.id: fault.holds_ms for fault in hits if fault.holds_ms}

            def answer() -> Reply | Promise[Reply]:
                return self._answered(exchange, hits, lines)

            if not holds_ms and not lines.is_held(connection.id):
                return answer()
            return lines.put(connection.id, answer, holds_ms)

        return intercept

    def _hits(self, exchange: Exchange) -> list[ActiveRequestFault]:
        hits = []
        for fault in list(self._active.values()):
            matcher = fault.matcher
            if not matcher.may_be(exchange.node.node_id, exchange.head):
                continue
            if matcher.needs_request or isinstance(fault.spec, Fail):
                request = exchange.request
                if request is None or not matcher.fits(request, exchange.places):
                    continue
            if matcher.takes():
                hits.append(fault)
                fault.on_hit()
        return hits

    def _answered(self, exchange: Exchange, hits: list[ActiveRequestFault], lines: Lines) -> Reply | Promise[Reply]:
        if not hits:
            return exchange.answer()
        *others, fault = hits
        spec = fault.spec
        if isinstance(spec, Fail):
            return refused(exchange, ErrorCode[spec.error], fault.matcher.is_meant)
        if isinstance(spec, Drop):
            return Outcome.CLOSE
        if isinstance(spec, HalfClose):
            exchange.node.half_close(exchange.connection)
            return Promise()
        end_pause = lines.pause(exchange.connection.id, fault.id) if isinstance(spec, Throttle) else None
        reply = self._answered(exchange, others, lines)
        if isinstance(spec, LoseResponse):
            return after(reply, dropped)
        if isinstance(spec, Corrupt):
            return after(reply, lambda settled: _spoilt(exchange, settled, fault.random, cut=spec.cut))
        if isinstance(spec, Throttle) and end_pause is not None:
            return after(reply, lambda settled: _throttled(exchange, settled, spec.ms, end_pause))
        if isinstance(spec, Delay | Stall) and spec.applied:
            return self._late(fault, reply, spec.ms if isinstance(spec, Delay) else FOREVER)
        return reply

    def _late(self, fault: ActiveRequestFault, reply: Reply | Promise[Reply], delay_ms: float) -> Promise[Reply]:
        """The reply so much later, or once the fault is lifted."""
        late: Promise[Reply] = Promise()
        source = reply if isinstance(reply, Promise) else Promise.of(reply)
        timer = None if delay_ms == FOREVER else self._loop.call_later(delay_ms / 1000, lambda: let_go())

        def let_go() -> None:
            fault.late.pop(late, None)
            if timer is not None:
                timer.cancel()
            late.follow(source)

        fault.late[late] = let_go
        return late


def _spoilt(exchange: Exchange, reply: Reply, random: Random, *, cut: bool) -> Reply:
    if isinstance(reply, Outcome):
        return reply
    data = taken(reply)
    begin = header_size(exchange.head)
    if cut:
        return [data[: begin + (len(data) - begin) // 2]]
    return [data[:begin] + random.randbytes(len(data) - begin)]


def _throttled(exchange: Exchange, reply: Reply, throttle_ms: int, end_pause: Callable[[float], None]) -> Reply:
    end_pause(throttle_ms)

    def name_it(response: Message) -> None:
        if hasattr(response, _THROTTLE_TIME):
            setattr(response, _THROTTLE_TIME, throttle_ms)

    return changed(exchange.head, reply, name_it)
