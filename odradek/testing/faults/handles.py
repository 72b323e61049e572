"""Faults as tests make them: `with kafka.faults.fail("Produce", "NOT_LEADER_OR_FOLLOWER", times=1): ...`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypedDict, TypeVar, Unpack

from odradek.testing.faults.specs import (
    Corrupt,
    Crash,
    Delay,
    Disconnect,
    DiskError,
    DiskFull,
    Drop,
    ExpireSession,
    Fail,
    FaultSpec,
    FenceProducer,
    HalfClose,
    HangTransaction,
    Isolate,
    LoseResponse,
    MoveCoordinator,
    MoveLeader,
    Pause,
    Rebalance,
    ShrinkIsr,
    Stall,
    Throttle,
    WithoutCoordinator,
    WithoutLeader,
)
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.schema import Message

if TYPE_CHECKING:
    from odradek.testing.cluster import Cluster
    from odradek.testing.host import Host

P = ParamSpec("P")
T = TypeVar("T")

TIMEOUT_S = 10.0

Error = ErrorCode | KafkaError | int | str
"""One of Kafka's errors, by its name, number or otherwise."""


class Which(TypedDict, total=False):
    """Which requests a fault is for; see `RequestFault`."""

    topic: str
    partition: int
    group: str
    transactional_id: str
    client_id: str
    node: int
    times: int
    after: int
    probability: float
    internal: bool
    where: Callable[[Message], bool]


class Fault:
    """A fault that acts since it was made, until it is lifted: by `lift`, or at the end of its `with` block."""

    def __init__(self, fault_id: str, spec: FaultSpec, host: Host) -> None:
        self.id = fault_id
        self.spec = spec
        self._host = host

    @property
    def hits(self) -> int:
        """How often it has acted."""
        return _call(self._host, _hits, self.id).result()

    def wait(self, hits: int = 1, *, timeout_s: float = TIMEOUT_S) -> Self:
        """Wait until it has acted so often; raises TimeoutError."""
        _call(self._host, _wait, self.id, hits, timeout_s).result()
        return self

    def lift(self) -> None:
        """End it, and undo what can be undone; one that is lifted already is fine."""
        with contextlib.suppress(_GoneError):
            _call(self._host, _lift, self.id).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.lift()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(_GoneError):
            await asyncio.wrap_future(_call(self._host, _lift, self.id))

    def __repr__(self) -> str:
        return f"<Fault {self.id}: {self.spec}>"


class Faults:
    """What can be made to go wrong. Every method has it begin at once.

    The names of APIs are Kafka's, such as "Produce"; "*" is all of them. Which of their requests are hit is said by
    keywords: `topic`, `partition`, `group`, `transactional_id`, `client_id` (with wildcards), `node`, a predicate
    `where` on the typed request; the first `after` of those are let through, then `times` (all, if not given) are hit
    with `probability`. Requests of one node to another are hit only with `internal`.

    All of them raise ValueError for what makes no sense, and RuntimeError if no nodes run.
    """

    def __init__(self, running: Callable[[], Host]) -> None:
        self._running = running

    def fail(self, api: str, error: Error, **which: Unpack[Which]) -> Fault:
        """Answer with an error; what fails is not done.

        The error is in the place that the API has for it. Where only some of a request's topics or partitions are
        meant, the others go on.
        """
        return self.apply(Fail(api=api, error=_error_name(error), **which))

    def delay(self, api: str = "*", *, ms: float, applied: bool = False, **which: Unpack[Which]) -> Fault:
        """Handle requests later, or with `applied` handle them and answer later. Order stays, delays do not add up."""
        return self.apply(Delay(api=api, ms=ms, applied=applied, **which))

    def stall(self, api: str = "*", *, applied: bool = False, **which: Unpack[Which]) -> Fault:
        """Do not handle requests, or with `applied` do not answer them, until this is lifted."""
        return self.apply(Stall(api=api, applied=applied, **which))

    def drop(self, api: str = "*", **which: Unpack[Which]) -> Fault:
        """Close the connection in place of an answer; the request is not handled."""
        return self.apply(Drop(api=api, **which))

    def lose_response(self, api: str = "*", **which: Unpack[Which]) -> Fault:
        """Handle the request, and close the connection in place of the answer."""
        return self.apply(LoseResponse(api=api, **which))

    def half_close(self, api: str = "*", **which: Unpack[Which]) -> Fault:
        """End the node's side of the connection, go on to read, and neither handle nor answer the request."""
        return self.apply(HalfClose(api=api, **which))

    def corrupt(self, api: str = "*", *, cut: bool = False, **which: Unpack[Which]) -> Fault:
        """Handle the request, and answer random bytes; with `cut` the first half of the answer."""
        return self.apply(Corrupt(api=api, cut=cut, **which))

    def throttle(self, api: str = "*", *, ms: int, **which: Unpack[Which]) -> Fault:
        """Say in the answer that the client is throttled, and handle nothing of its connection for that time."""
        return self.apply(Throttle(api=api, ms=ms, **which))

    def move_leader(self, topic: str, partition: int = 0, *, to: int | None = None) -> Fault:
        """Have the controller let another replica lead that is in sync; afterwards the leader moves back."""
        return self.apply(MoveLeader(topic=topic, partition=partition, to=to))

    def without_leader(self, topic: str, partition: int = 0) -> Fault:
        """Have the controller let nobody lead the partition."""
        return self.apply(WithoutLeader(topic=topic, partition=partition))

    def move_coordinator(
        self, *, group: str | None = None, transactional_id: str | None = None, to: int | None = None
    ) -> Fault:
        """Have another node coordinate the group or the transactional id, and all that are on the same partition."""
        return self.apply(MoveCoordinator(group=group, transactional_id=transactional_id, to=to))

    def without_coordinator(self, *, group: str | None = None, transactional_id: str | None = None) -> Fault:
        """Have nobody coordinate the group or the transactional id, and all that are on the same partition."""
        return self.apply(WithoutCoordinator(group=group, transactional_id=transactional_id))

    def crash(self, node: int = 1, *, power_cut: bool = False, noticed: bool = True) -> Fault:
        """End a node as if its process were killed, and start it again afterwards.

        What it has written is there then, after a `power_cut` only what it has synced: as in Kafka, it leaves the
        records of topics to their replicas and syncs them late. With `noticed` the others take it for dead at once, and
        not only when `broker.session.timeout.ms` is over.
        """
        return self.apply(Crash(node=node, power_cut=power_cut, noticed=noticed))

    def pause(self, node: int = 1, *, noticed: bool = False) -> Fault:
        """Have a node do nothing: its connections stay, and it answers nothing. `noticed` is as for `crash`."""
        return self.apply(Pause(node=node, noticed=noticed))

    def disconnect(self, node: int = 1) -> Fault:
        """End all connections of clients to a node, whatever is under way; they may connect again at once."""
        return self.apply(Disconnect(node=node))

    def isolate(self, *nodes: int, noticed: bool = False) -> Fault:
        """Have these nodes and all others not reach each other; clients reach them all. `noticed` is as for `crash`."""
        return self.apply(Isolate(nodes=list(nodes), noticed=noticed))

    def shrink_isr(self, node: int, *, topic: str | None = None) -> Fault:
        """Have a follower copy nothing, and be out of sync at once; afterwards wait until it is in sync again."""
        return self.apply(ShrinkIsr(node=node, topic=topic))

    def disk_full(self, node: int = 1, *, topic: str | None = None) -> Fault:
        """Have a node's disk be full, for a topic or all, whereupon it stops; afterwards it is started again."""
        return self.apply(DiskFull(node=node, topic=topic))

    def disk_error(self, node: int = 1, *, topic: str | None = None) -> Fault:
        """Have a node's disk fail, for a topic or all, whereupon it stops; afterwards it is started again."""
        return self.apply(DiskError(node=node, topic=topic))

    def expire_session(self, group: str, member: str | None = None) -> Fault:
        """End the session of a member, by its member id or instance id, or of all members."""
        return self.apply(ExpireSession(group=group, member=member))

    def rebalance(self, group: str) -> Fault:
        """Have a group rebalance; one of the consumer protocol goes on to its next epoch."""
        return self.apply(Rebalance(group=group))

    def fence_producer(self, transactional_id: str) -> Fault:
        """Take over a transactional id, as another producer would; what was open is aborted."""
        return self.apply(FenceProducer(transactional_id=transactional_id))

    def hang_transaction(self, topic: str, partition: int = 0) -> Fault:
        """Write a record in a transaction that is left open; afterwards it is aborted."""
        return self.apply(HangTransaction(topic=topic, partition=partition))

    def apply(self, spec: FaultSpec) -> Fault:
        """Make the fault that a description is of, such as `fault_from_json` reads."""
        host = self._running()
        try:
            future = host.call(_apply, spec)
        except (AttributeError, TypeError) as error:
            if getattr(spec, "where", None) is None:
                raise
            raise ValueError("`where` is for nodes in this process, or has to be a function of a module") from error
        return Fault(future.result(), spec, host)

    def lift_all(self) -> None:
        """Lift all that there are."""
        _call(self._running(), _lift_all).result()

    @property
    def active(self) -> dict[str, FaultSpec]:
        """Those that are not lifted, by id, oldest first."""
        return _call(self._running(), _active).result()


class _GoneError(RuntimeError):
    """There are no nodes any more."""


def _call(
    host: Host, action: Callable[Concatenate[Cluster, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
) -> Future[T]:
    try:
        return host.call(action, *args, **kwargs)
    except RuntimeError as error:
        raise _GoneError(str(error)) from None


def _error_name(error: Error) -> str:
    if isinstance(error, KafkaError):
        return error.code.name
    if isinstance(error, int):
        try:
            return ErrorCode(error).name
        except ValueError:
            raise ValueError(f"{error} is none of Kafka's errors") from None
    return error


async def _apply(cluster: Cluster, spec: FaultSpec) -> str:
    return await cluster.faults.apply(spec)


async def _lift(cluster: Cluster, fault_id: str) -> None:
    await cluster.faults.lift(fault_id)


async def _lift_all(cluster: Cluster) -> None:
    await cluster.faults.lift_all()


async def _hits(cluster: Cluster, fault_id: str) -> int:
    return cluster.faults.hits(fault_id)


async def _wait(cluster: Cluster, fault_id: str, hits: int, timeout_s: float) -> None:
    await cluster.faults.wait(fault_id, hits, timeout_s)


async def _active(cluster: Cluster) -> dict[str, FaultSpec]:
    return cluster.faults.active
