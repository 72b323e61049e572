"""Where `odradek group reset` goes: times, durations, and one scenario at a time."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from odradek.cli import main
from odradek.cli.group_reset import Scenario, parse_datetime_ms, parse_duration_ms

HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("text", "timestamp_ms"),
    [
        ("1970-01-01T00:00:00.000", 0),
        ("1970-01-01T00:00:01.234", 1234),
        ("1970-01-01T02:00:00.000+02:00", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("2026-09-21T13:33:20.000", 1_789_997_600_000),
    ],
)
def test_a_time_is_in_utc_unless_it_says_otherwise(text: str, timestamp_ms: int) -> None:
    assert parse_datetime_ms(text) == timestamp_ms


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("P1D", 24 * HOUR_MS),
        ("PT1H", HOUR_MS),
        ("PT2M", 120_000),
        ("PT1.5S", 1500),
        ("P1DT2H3M4S", 24 * HOUR_MS + 2 * HOUR_MS + 184_000),
        ("pt1s", 1000),
        ("PT0S", 0),
    ],
)
def test_a_duration(text: str, duration_ms: int) -> None:
    assert parse_duration_ms(text) == duration_ms
    assert Scenario(by_duration=text).timestamp_ms(10**12) == 10**12 - duration_ms


@pytest.mark.parametrize("text", ["", "P", "PT", "1D", "P1H", "PT1D", "P1DT", "P-1D", "PT1H2"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="P1DT2H30M5S"):
        parse_duration_ms(text)


@pytest.mark.parametrize("text", ["", "yesterday", "12:00", "2026-13-01T00:00:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 2026"):
        parse_datetime_ms(text)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--topic", "t"], "Say where to go, once"),
        (["--topic", "t", "--to-earliest", "--to-latest"], "Say where to go, once"),
        (["--topic", "t", "--to-offset", "0", "--shift-by", "0"], "Say where to go, once"),
        (["--to-earliest"], "either --topic or --all-topics"),
        (["--topic", "t", "--all-topics", "--to-earliest"], "either --topic or --all-topics"),
        (["--topic", "t:x", "--to-earliest"], "write TOPIC or TOPIC:0,1"),
        (["--topic", "t", "--by-duration", "1h"], "P1DT2H30M5S"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(main, ["group", "reset", "g", *arguments, "-b", "127.0.0.1:1"])
    assert result.exit_code == 2
    assert says in result.output
