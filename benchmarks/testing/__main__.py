"""`python -m benchmarks.testing`: what the Kafka for tests costs those who test, beside a native Apache Kafka."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks.brokers import missing
from benchmarks.testing.embedded import left_by, resets, starts
from benchmarks.testing.processes import Begun, apache_from_start, odradek_from_start, pytest_run
from odradek.testing import EmbeddedKafka

LEFT_BYTES = 4 * 1024 * 1024
"""How much larger a process may be after 100 starts and stops; allocators keep some."""
WARM_UP = 30
"""Starts and stops before those that are looked at."""


class Figure(NamedTuple):
    """One line of the table."""

    name: str
    values: Sequence[float]
    unit: str
    wanted: float | None = None
    """The median is to be at most this."""
    apache: Sequence[float] = ()
    """What comes nearest to it with Apache Kafka."""

    @property
    def median(self) -> float:
        """Of the values."""
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool:
        """Whether it is as it is wanted."""
        return self.wanted is None or self.median <= self.wanted


@click.command()
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(1), help="Of each short figure.")
@click.option("--processes", default=5, show_default=True, type=click.IntRange(1), help="Of each figure of a process.")
@click.option("--cycles", default=100, show_default=True, type=click.IntRange(1), help="Starts and stops in a row.")
@click.option("--apache/--no-apache", default=True, help="Whether Apache Kafka is started, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a figure.")
def main(rounds: int, processes: int, cycles: int, apache: bool, as_json: bool) -> None:
    """Measure, and print medians with lowest and highest value. Exits with 1 if a figure is not as wanted."""
    why_not = missing() if apache else "it was not asked for"
    if not as_json:
        if why_not is not None:
            click.echo(f"without Apache Kafka: {why_not}")
        click.echo(f"{'':<58}{'median':>9} {'(low to high)':<20} {'wanted':>8} {'Apache Kafka':>14}")
    is_met = True
    with tempfile.TemporaryDirectory(prefix="odradek-testing-") as directory:
        for figure in _figures(Path(directory), rounds, processes, cycles, with_apache=why_not is None):
            is_met &= figure.is_met
            click.echo(json.dumps({**figure._asdict(), "median": figure.median}) if as_json else line(figure))
    if not is_met:
        raise SystemExit(1)


def _figures(directory: Path, rounds: int, processes: int, cycles: int, *, with_apache: bool) -> Iterator[Figure]:
    """Apache Kafka is asked first, for a start of it is what the others are beside."""
    theirs = [apache_from_start(directory / f"apache-{number}") for number in range(processes if with_apache else 0)]
    ready = _ms([each.ready for each in theirs])
    yield from _embedded(rounds, ready)
    left = left_by(cycles, WARM_UP)
    name = f"more after {cycles} starts and stops: "
    yield Figure(name + "threads", [left.threads], "", 0)
    yield Figure(name + "descriptors", [left.descriptors], "", 0)
    yield Figure(name + "resident memory", [left.resident_bytes / 1024], "KiB", LEFT_BYTES / 1024)
    added = []
    for number in range(processes):
        place = directory / f"tests-{number}"
        place.mkdir()
        with_fixture = pytest_run(place, 100, fixture=True)
        added.append((with_fixture - pytest_run(place, 100, fixture=False)) * 1000)
    yield Figure("100 tests with kafka_broker take longer by", added, "ms", 5000, [100 * each for each in ready])
    ours = [odradek_from_start(directory / f"odradek-{number}") for number in range(processes)]
    yield from _first(ours, theirs)


def _embedded(rounds: int, apache_ready: Sequence[float]) -> Iterator[Figure]:
    for title, nodes, process, limits in (
        ("one node", 1, False, (100, 50)),
        ("three nodes", 3, False, (None, None)),
        ("one node in a process", 1, True, (None, None)),
    ):

        def new(nodes: int = nodes, process: bool = process) -> EmbeddedKafka:
            return EmbeddedKafka(nodes, topics=["t"], process=process)

        times = starts(new, rounds)
        apache = apache_ready if nodes == 1 else ()
        yield Figure(f"{title}: ready", _ms(times.ready), "ms", limits[0], apache)
        yield Figure(f"{title}: closed", _ms(times.closed), "ms", limits[1])
        wanted = 10 if nodes == 1 else None
        yield Figure(f"{title}: reset()", _ms(resets(new, rounds)), "ms", wanted, apache)


def _first(ours: Sequence[Begun], theirs: Sequence[Begun]) -> Iterator[Figure]:
    yield Figure(
        "odradek serve: ready", _ms([each.ready for each in ours]), "ms", 400, _ms([each.ready for each in theirs])
    )
    yield Figure(
        "odradek serve: first record consumed",
        _ms([each.first_record for each in ours]),
        "ms",
        700,
        _ms([each.first_record for each in theirs]),
    )


def _ms(values_s: Sequence[float]) -> list[float]:
    return [value * 1000 for value in values_s]


def line(figure: Figure) -> str:
    """One line of the table."""
    spread = f"({min(figure.values):.1f} to {max(figure.values):.1f})" if len(figure.values) > 1 else ""
    wanted = "" if figure.wanted is None else f"{figure.wanted:.0f}"
    apache = f"{statistics.median(figure.apache):.0f}" if figure.apache else ""
    name = f"{figure.name}, {figure.unit}" if figure.unit else figure.name
    missed = "" if figure.is_met else "  <- missed"
    return f"{name:<58}{figure.median:9.1f} {spread:<20} {wanted:>8} {apache:>14}{missed}"


if __name__ == "__main__":
    main()
