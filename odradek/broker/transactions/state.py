"""The states of a transaction, by the numbers that `__transaction_state` has for them (KIP-98)."""

from __future__ import annotations

from enum import IntEnum


class TransactionState(IntEnum):
    """Where a transactional id is in its life; `label` is the name that clients see."""

    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    """Decided, with markers still to be written."""
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    """Expired; Kafka never writes it."""
    PREPARE_EPOCH_FENCE = 7
    """Kafka has it in memory only, as a step on the way to PREPARE_ABORT."""

    @property
    def label(self) -> str:
        """The name in Kafka's admin APIs."""
        return "".join(part.capitalize() for part in self.name.split("_"))


PREPARED = (TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT)
AT_REST = (TransactionState.EMPTY, TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT)
"""No transaction is under way: a new one may begin, and the transactional id may expire."""

STATES_BY_LABEL = {state.label: state for state in TransactionState}
WRITTEN = (TransactionState.ONGOING, *PREPARED, *AT_REST)
"""What a record may say."""
