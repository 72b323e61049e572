"""The figures of the Kafka for tests: what counts as met, and what a start and a stop leave."""

from __future__ import annotations

import pytest

from benchmarks import procfs
from benchmarks.testing.__main__ import Figure, line
from benchmarks.testing.embedded import left_by, resets, starts
from odradek.testing import EmbeddedKafka


def test_a_figure_is_met_up_to_what_is_wanted() -> None:
    assert Figure("f", [1, 2, 9], "ms", 2).is_met
    assert not Figure("f", [1, 3, 9], "ms", 2).is_met
    assert Figure("f", [1000], "ms").is_met
    assert not Figure("f", [1], "", 0).is_met


def test_a_line_says_what_was_missed() -> None:
    text = line(Figure("f", [1, 3, 9], "ms", 2, [4000, 6000]))
    assert text.split() == ["f,", "ms", "3.0", "(1.0", "to", "9.0)", "2", "5000", "<-", "missed"]


@pytest.mark.skipif(not procfs.available(), reason="memory is read from Linux's /proc")
def test_starts_and_stops_in_a_row_leave_no_thread_and_no_descriptor() -> None:
    left = left_by(10, 3)
    assert (left.threads, left.descriptors) == (0, 0)


def test_every_round_is_a_value_but_the_first() -> None:
    times = starts(EmbeddedKafka, 2)
    assert (len(times.ready), len(times.closed)) == (2, 2)
    found = resets(EmbeddedKafka, 2)
    assert len(found) == 2
    assert min(*found, *times.ready) > 0
