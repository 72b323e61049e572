"""What faults there are: plain values, which can be written as JSON, and from which `engine` makes the real thing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from odradek.wire.schema import Message

ANY_API = "*"
"""As an API's name: all of them."""

JsonValue = str | int | float | bool | None | list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSpec:
    """A fault. Times are in milliseconds."""

    NAME: ClassVar[str] = ""
    """What it is called, in JSON and as a method of `Faults`."""

    def to_json(self) -> dict[str, JsonValue]:
        """As `fault_from_json` takes it, without a predicate, which cannot be written."""
        values: dict[str, JsonValue] = {"fault": self.NAME}
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if value != each.default and each.metadata.get("json", True):
                values[each.name] = value
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFault(FaultSpec):
    """A fault of requests, and of which: those that fit in everything that is given here.

    Of these, the first `after` are let through, then each is hit with `probability`, `times` at most (None: always).
    """

    api: str = ANY_API
    """Such as "Produce", or "*" for all."""
    topic: str | None = None
    partition: int | None = None
    group: str | None = None
    transactional_id: str | None = None
    client_id: str | None = None
    """May have wildcards: "orders-*"."""
    node: int | None = None
    """Who is asked; None: any node."""
    times: int | None = None
    after: int = 0
    probability: float = 1.0
    internal: bool = False
    """Whether it is for what nodes ask each other at the clients' listener, and not for clients."""
    where: Callable[[Message], bool] | None = field(default=None, metadata={"json": False})
    """Whether the request, as a typed message, is one of those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(RequestFault):
    """The request is answered with an error, and what fails is not done."""

    NAME: ClassVar[str] = "fail"
    error: str
    """Kafka's name of the code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay(RequestFault):
    """The request is handled, or with `applied` answered, so much later; what comes behind it waits its turn."""

    NAME: ClassVar[str] = "delay"
    ms: float
    applied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall(RequestFault):
    """The request is not handled, or with `applied` not answered, before the fault is lifted."""

    NAME: ClassVar[str] = "stall"
    applied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(RequestFault):
    """The connection is closed in place of an answer, and the request is not handled."""

    NAME: ClassVar[str] = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseResponse(RequestFault):
    """The request is handled, and then the connection is closed in place of the answer."""

    NAME: ClassVar[str] = "lose_response"


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfClose(RequestFault):
    """The node ends its side of the connection, goes on to read, and neither handles nor answers the request."""

    NAME: ClassVar[str] = "half_close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrupt(RequestFault):
    """The request is handled, and its answer is spoilt: with `cut` it ends early, else its body is random bytes."""

    NAME: ClassVar[str] = "corrupt"
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle(RequestFault):
    """The answer names this time, and nothing of the connection is handled before it is over (KIP-219)."""

    NAME: ClassVar[str] = "throttle"
    ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveLeader(FaultSpec):
    """The controller lets another replica lead that is in sync; the end of it moves the leader back."""

    NAME: ClassVar[str] = "move_leader"
    topic: str
    partition: int = 0
    to: int | None = None
    """A node; None: the first that can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithoutLeader(FaultSpec):
    """The controller lets nobody lead the partition until the end of it."""

    NAME: ClassVar[str] = "without_leader"
    topic: str
    partition: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveCoordinator(FaultSpec):
    """The same as `MoveLeader` for the partition of an internal topic that a group or a transactional id is on."""

    NAME: ClassVar[str] = "move_coordinator"
    group: str | None = None
    transactional_id: str | None = None
    to: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WithoutCoordinator(FaultSpec):
    """The same as `WithoutLeader` for the partition of an internal topic that a group or a transactional id is on."""

    NAME: ClassVar[str] = "without_coordinator"
    group: str | None = None
    transactional_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash(FaultSpec):
    """A node ends as if its process were killed; the end of it starts the node again."""

    NAME: ClassVar[str] = "crash"
    node: int = 1
    power_cut: bool = False
    """Whether only what was synced is there then; else all is that was written."""
    noticed: bool = True
    """Whether the others take it for dead at once, and not only when its session is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(FaultSpec):
    """A node does nothing, as a process that is stopped (SIGSTOP): its connections stay, and it answers nothing."""

    NAME: ClassVar[str] = "pause"
    node: int = 1
    noticed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnect(FaultSpec):
    """All connections of clients to a node end, whatever is under way; those of other nodes do, too."""

    NAME: ClassVar[str] = "disconnect"
    node: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolate(FaultSpec):
    """Nodes and all others do not reach each other; clients reach them all."""

    NAME: ClassVar[str] = "isolate"
    nodes: list[int]
    noticed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrinkIsr(FaultSpec):
    """A follower copies nothing, and is out of sync at once: of a topic's partitions, or of all."""

    NAME: ClassVar[str] = "shrink_isr"
    node: int
    topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFull(FaultSpec):
    """What takes space on a node's disk fails with ENOSPC, for files of a topic or all; as in Kafka, the node stops.

    The end of it starts the node again.
    """

    NAME: ClassVar[str] = "disk_full"
    node: int = 1
    topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskError(FaultSpec):
    """All that is done with a node's files, of a topic or all, fails with EIO; as in Kafka, the node stops.

    The end of it starts the node again.
    """

    NAME: ClassVar[str] = "disk_error"
    node: int = 1
    topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireSession(FaultSpec):
    """The session of a group's members is over now: of one, by its member id or instance id, or of all."""

    NAME: ClassVar[str] = "expire_session"
    group: str
    member: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebalance(FaultSpec):
    """A group rebalances without a reason; one of the consumer protocol goes on to its next epoch."""

    NAME: ClassVar[str] = "rebalance"
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceProducer(FaultSpec):
    """Another producer takes over a transactional id; what the one before has begun is aborted."""

    NAME: ClassVar[str] = "fence_producer"
    transactional_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HangTransaction(FaultSpec):
    """A transaction that nobody ends has written a record: what is behind it is not committed until the end of it."""

    NAME: ClassVar[str] = "hang_transaction"
    topic: str
    partition: int = 0


def _subclasses(of: type[FaultSpec]) -> Iterator[type[FaultSpec]]:
    for each in of.__subclasses__():
        yield each
        yield from _subclasses(each)


def fault_kinds() -> dict[str, type[FaultSpec]]:
    """All kinds of faults, by name."""
    return {each.NAME: each for each in _subclasses(FaultSpec) if each.NAME}


def fault_from_json(value: Mapping[str, object]) -> FaultSpec:
    """Read `{"fault": NAME, ...}`; raises ValueError with what is wrong with it."""
    values = dict(value)
    name = values.pop("fault", None)
    kind = fault_kinds().get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"there is no fault {name!r}; there are {', '.join(sorted(fault_kinds()))}")
    known = {each.name: each for each in dataclasses.fields(kind) if each.metadata.get("json", True)}
    for key, given in values.items():
        if key not in known:
            raise ValueError(f"{name} has no argument {key!r}; it has {', '.join(known)}")
        if not _fits(given, str(known[key].type)):
            raise ValueError(f"{name}: {key} is {known[key].type}, and not {given!r}")
    missing = [
        each.name
        for each in known.values()
        if each.default is dataclasses.MISSING
        and each.default_factory is dataclasses.MISSING
        and each.name not in values
    ]
    if missing:
        raise ValueError(f"{name} needs {', '.join(missing)}")
    return kind(**values)


_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "float": (int, float), "bool": (bool,), "None": (type(None),),
}  # fmt: skip


def _fits(value: object, annotation: str) -> bool:
    """Whether a value of JSON is of a type such as `int | None` or `list[int]`."""
    for name in annotation.split(" | "):
        if name == "list[int]":
            if isinstance(value, list) and all(isinstance(each, int) for each in value):
                return True
        elif isinstance(value, _TYPES[name]) and not (isinstance(value, bool) and name != "bool"):
            return True
    return False
