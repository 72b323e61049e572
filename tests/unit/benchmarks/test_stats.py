from __future__ import annotations

import pytest

from benchmarks.stats import Spread, quantile, ratios, spread


def test_a_spread_is_the_median_with_both_ends() -> None:
    assert spread([5.0, 1.0, 3.0]) == Spread(3.0, 1.0, 5.0)


def test_an_even_number_of_rounds_has_the_mean_of_the_middle_two() -> None:
    assert spread([1.0, 2.0, 4.0, 9.0]) == Spread(3.0, 1.0, 9.0)


def test_rounds_without_a_value_do_not_count() -> None:
    assert spread([None, 2.0, None]) == Spread(2.0, 2.0, 2.0)
    assert spread([None]) is None


def test_ratios_pair_the_rounds() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_a_ratio_needs_both_values_and_a_reference_above_zero() -> None:
    assert ratios([None, 1.0, 1.0, 0.0], [1.0, None, 0.0, 2.0]) == [None, None, None, 0.0]


def test_rounds_that_do_not_pair_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0), (0.0, 1.0)])
def test_quantiles_are_values_that_occurred(share: float, expected: float) -> None:
    assert quantile([float(value) for value in range(1, 101)], share) == expected


def test_nothing_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)
