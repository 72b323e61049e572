"""`EmbeddedKafka.transaction`: a transactional id as its coordinator has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from odradek.testing.host import Host
from odradek.testing.inspection import find_transaction
from odradek.testing.states import TransactionInfo
from odradek.testing.waiting import TIMEOUT_S, Wait, block, give_way, now, until
from odradek.wire.errors import ErrorCode, KafkaError


class EmbeddedTransaction:
    """A transactional id of an `EmbeddedKafka`, which need not be known yet. Each use looks anew.

    RuntimeError while no nodes run, and but for `exists` and waiting KafkaError TRANSACTIONAL_ID_NOT_FOUND while no
    producer has begun with it.
    """

    def __init__(self, host: Callable[[], Host], transactional_id: str) -> None:
        self._host = host
        self.transactional_id = transactional_id

    @property
    def exists(self) -> bool:
        """Whether a producer has begun with it."""
        return now(self._look(block)) is not None

    @property
    def state(self) -> str:
        """Kafka's name of its state: Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort."""
        return self.describe().state

    @property
    def partitions(self) -> Mapping[str, tuple[int, ...]]:
        """What the transaction has written to, by topic; nothing once it is complete."""
        return self.describe().partitions

    def describe(self) -> TransactionInfo:
        """These, its producer and its times, as they were at one moment."""
        found = now(self._look(block))
        if found is None:
            raise KafkaError(
                ErrorCode.TRANSACTIONAL_ID_NOT_FOUND, f"there is no transactional id {self.transactional_id}"
            )
        return found

    def wait_for_state(self, state: str, *, timeout_s: float = TIMEOUT_S) -> TransactionInfo:
        """Wait until it is in a state, such as CompleteCommit; returns it. Raises WaitTimeoutError."""
        return now(self._until(block, state, timeout_s))

    async def wait_for_state_async(self, state: str, *, timeout_s: float = TIMEOUT_S) -> TransactionInfo:
        """As `wait_for_state`, while the caller's event loop goes on."""
        return await self._until(give_way, state, timeout_s)

    def __repr__(self) -> str:
        return f"<EmbeddedTransaction {self.transactional_id}>"

    async def _look(self, wait: Wait) -> TransactionInfo | None:
        return await wait(self._host().call(find_transaction, self.transactional_id))

    async def _until(self, wait: Wait, state: str, timeout_s: float) -> TransactionInfo:
        def is_there(found: TransactionInfo | None) -> bool:
            return found is not None and found.state == state

        def told(found: TransactionInfo | None) -> str:
            name = f"transactional id {self.transactional_id}"
            return f"there is no {name}" if found is None else f"{name} is {found.state}, and not {state}"

        found = await until(self._host(), wait, lambda: self._look(wait), is_there, timeout_s=timeout_s, told=told)
        assert found is not None
        return found
