"""Which transactional ids ListTransactions wants (KIP-664, KIP-994, KIP-1152)."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.broker.regexes import InvalidRegexError, Matcher, compile_regex
from odradek.broker.transactions.metadata import TransactionMetadata
from odradek.broker.transactions.state import STATES_BY_LABEL
from odradek.wire.errors import ErrorCode, KafkaError


class TransactionFilter:
    """All conditions that are set have to hold; those that are empty, negative or None are not set."""

    def __init__(
        self, *, states: Sequence[str], producer_ids: Sequence[int], duration_ms: int, pattern: str | None, now_ms: int
    ) -> None:
        """`pattern` is in RE2 syntax, for the whole id; raises KafkaError INVALID_REGULAR_EXPRESSION."""
        self._states = None if not states else {STATES_BY_LABEL.get(label) for label in states}
        self._producer_ids = frozenset(producer_ids)
        self._started_before_ms = now_ms - duration_ms if duration_ms >= 0 else None
        self._pattern = _compiled(pattern) if pattern else None

    def accepts(self, metadata: TransactionMetadata) -> bool:
        """Whether the transactional id is listed."""
        return (
            (not self._producer_ids or metadata.producer_id in self._producer_ids)
            and (self._states is None or metadata.state in self._states)
            and (self._started_before_ms is None or metadata.start_ms < self._started_before_ms)
            and (self._pattern is None or self._pattern.fullmatch(metadata.transactional_id) is not None)
        )


def _compiled(pattern: str) -> Matcher:
    try:
        return compile_regex(pattern)
    except InvalidRegexError as error:
        raise KafkaError(
            ErrorCode.INVALID_REGULAR_EXPRESSION,
            f"Transaction ID pattern `{pattern}` is not a valid regular expression: {error}.",
        ) from error
