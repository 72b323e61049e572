"""What an operation of a coordinator's state machine decides."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from odradek.ports import Promise
from odradek.storage.producers import Verification
from odradek.wire.errors import KafkaError
from odradek.wire.schema import Message

R = TypeVar("R")


class CoordinatorRecord(NamedTuple):
    """A change to the state: `value` None is a tombstone, `value_version` the version that the value is written in."""

    key: Message
    value: Message | None
    value_version: int = 0


class CoordinatorResult(NamedTuple, Generic[R]):
    """Records to append, and the response that leaves once they are committed.

    An atomic result is one batch; one that is not may be split over several. `replay` says whether the records are
    to be replayed: they are not where the operation has changed the state already, as classic groups do, whose
    membership is more than what is written down. `on_committed(None)` is called when the records are committed,
    ahead of the response, and `on_committed(error)` if they could not be.
    """

    records: Sequence[CoordinatorRecord]
    response: R
    replay: bool = True
    atomic: bool = True
    on_committed: Callable[[KafkaError | None], None] | None = None


S = TypeVar("S")
Operation = Callable[[S], "CoordinatorResult[R] | Coroutine[Promise[object], None, CoordinatorResult[R]]"]
"""What a request asks of a shard's state machine. Where that takes long it is an `async def` function, which gives way
to everything but the shard's other operations."""


class Producer(NamedTuple):
    """The transactional producer in whose name records are written."""

    producer_id: int
    producer_epoch: int
    verification: Verification | None = None
    """What the transaction coordinator was asked about, if the log had not heard of the transaction."""


NO_PRODUCER_ID = -1


class StateMachine(Protocol):
    """One shard of a coordinator: all its state is what was replayed, and what follows from it."""

    def replay(self, offset: int, producer_id: int, record: CoordinatorRecord) -> None:
        """Apply a record of the log; `producer_id` is -1 outside a transaction."""
        ...

    def replay_end_of_transaction(self, producer_id: int, *, committed: bool) -> None:
        """Apply a transaction marker."""
        ...

    def on_loaded(self) -> None:
        """The whole log has been replayed: start timers."""
        ...

    def on_unloaded(self) -> None:
        """The shard is given up: fail what is parked in it with NOT_COORDINATOR."""
        ...
