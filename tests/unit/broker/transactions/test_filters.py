"""Which transactional ids ListTransactions wants."""

from __future__ import annotations

import pytest

from odradek.broker.transactions.filters import TransactionFilter
from odradek.broker.transactions.metadata import TransactionMetadata
from odradek.broker.transactions.state import TransactionState
from odradek.wire.errors import ErrorCode, KafkaError

NOW_MS = 10_000
ONGOING = TransactionMetadata("orders-1", 7, 0, 60_000, TransactionState.ONGOING, start_ms=NOW_MS - 1_000)


def accepts(
    *, states: tuple[str, ...] = (), producer_ids: tuple[int, ...] = (), duration_ms: int = -1,
    pattern: str | None = None,
) -> bool:  # fmt: skip
    wanted = TransactionFilter(
        states=states, producer_ids=producer_ids, duration_ms=duration_ms, pattern=pattern, now_ms=NOW_MS
    )
    return wanted.accepts(ONGOING)


def test_all_conditions_have_to_hold() -> None:
    assert accepts()
    assert accepts(states=("Empty", "Ongoing"), producer_ids=(7, 8), duration_ms=0, pattern="orders-.*")
    assert not accepts(states=("Empty",))
    assert not accepts(states=("Nonsense",))
    assert not accepts(producer_ids=(8,))
    assert not accepts(states=("Ongoing",), producer_ids=(8,))


@pytest.mark.parametrize(("duration_ms", "is_listed"), [(-1, True), (0, True), (999, True), (1_000, False)])
def test_a_duration_is_exceeded(duration_ms: int, is_listed: bool) -> None:
    assert accepts(duration_ms=duration_ms) is is_listed


@pytest.mark.parametrize(
    ("pattern", "is_listed"),
    [(None, True), ("", True), ("orders", False), ("orders-[0-9]", True), (r"\w+-\d", True), ("ORDERS-1", False)],
)
def test_a_pattern_is_for_the_whole_id(pattern: str | None, is_listed: bool) -> None:
    assert accepts(pattern=pattern) is is_listed


@pytest.mark.parametrize("pattern", ["(", "a**", "(?=a)", r"\1"])
def test_what_is_no_pattern(pattern: str) -> None:
    """RE2 has no look-around and no references."""
    with pytest.raises(KafkaError) as refused:
        accepts(pattern=pattern)
    assert refused.value.code is ErrorCode.INVALID_REGULAR_EXPRESSION
