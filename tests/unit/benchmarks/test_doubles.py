"""The table of Kafka's stand-ins."""

from __future__ import annotations

from benchmarks.doubles.__main__ import table

RUN = {"ready_s": 0.2, "again_s": 0.01, "first_s": 0.02, "memory_bytes": 20 << 20, "tests_s": 2.0}


def test_the_table_has_medians_with_their_spread_and_ratios_within_a_round() -> None:
    slower = {**RUN, "ready_s": 4.0, "memory_bytes": 400 << 20}
    lines = table(
        {
            "odradek": [RUN, RUN, {**RUN, "ready_s": 0.3}],
            "apache": [{**slower, "tests_s": each} for each in (4.0, 6.0, 8.0)],
        }
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert rows[0][1:] == [
        "ready, ms",
        "ready again, ms",
        "memory, MiB",
        "first test, ms",
        "100 tests, s",
        "100 tests, ratio",
    ]
    assert rows[2][1:] == ["200 (200 to 300)", "10", "20", "20", "2", "1"]
    assert rows[3][1:] == ["4000", "10", "400", "20", "6 (4 to 8)", "3 (2 to 4)"]
    assert lines[-1].startswith("Medians of 3 rounds")


def test_what_was_not_measured_has_no_ratio() -> None:
    (row,) = [line for line in table({"apache": [RUN]}) if "Apache" in line]
    assert row.endswith("| 2 |  |")
