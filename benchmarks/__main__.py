"""``python -m benchmarks``: measure Odradek beside Apache Kafka and the bare machine, and write down what came out."""

from __future__ import annotations

import datetime
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial, reduce
from pathlib import Path

import click

from benchmarks import brokers, figures, page, report
from benchmarks.figures import Figures, Taken, UnreadableFigures
from benchmarks.machine import machine, versions
from benchmarks.runner import Plan, Results, leave_on_sigterm, measure
from benchmarks.workloads.base import FULL, GROUPS, QUICK, Scale, Workload
from benchmarks.workloads.catalogue import NAMES, workloads
from tests.support.apache import Unavailable, tools_libs

QUICK_TIME_LIMIT_S = 155.0
FULL_TIME_LIMIT_S = 4200.0
ROUNDS = 3
INTERRUPTED = 130
"""What shells make of SIGINT."""
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), help="Rounds that count, after one that warms up.  [3]")
@click.option("--quick", is_flag=True, help="A selection, and less work per run; under 3 minutes in all.")
@click.option(
    "--only",
    type=click.Choice([*GROUPS, *NAMES]),
    multiple=True,
    metavar="NAME|GROUP",
    help="Measure only this; repeatable.",
)
@click.option(
    "--without",
    type=click.Choice([*GROUPS, *NAMES]),
    multiple=True,
    metavar="NAME|GROUP",
    help="Do not measure this; repeatable.",
)
@click.option("--minutes", type=click.FloatRange(0), help="Nothing begins that would end later.  [70; quick: 2.6]")
@click.option("--list", "lists", is_flag=True, help="List what there is to measure.")
@click.option("--json", "json_path", type=FILE, help="Write all figures and runs to this file, after each run.")
@click.option(
    "--merge",
    "merged_paths",
    type=FILE,
    multiple=True,
    help="Figures of an earlier run; what is measured now takes the place of what it has. May be the file of --json.",
)
@click.option(
    "--page", "page_directory", type=click.Path(path_type=Path, file_okay=False), help="Write page and plots there."
)
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the brokers keep their data."
)
@click.option("--noise-floor", is_flag=True, help="Apache Kafka against itself: how far from 1 ratios get by chance.")
def main(
    rounds: int | None,
    quick: bool,
    only: tuple[str, ...],
    without: tuple[str, ...],
    minutes: float | None,
    lists: bool,
    json_path: Path | None,
    merged_paths: tuple[Path, ...],
    page_directory: Path | None,
    directory: Path | None,
    noise_floor: bool,
) -> None:
    """Run the same clients against Odradek and Apache Kafka in turn, and compare."""
    lacking = brokers.without_proc()
    if lacking is not None:
        click.echo(f"skipped: {lacking}")
        return
    scale = QUICK if quick else FULL
    if lists:
        _list(scale)
        return
    earlier = _read(merged_paths)
    sides = _sides(noise_floor)
    leave_on_sigterm()
    # As installed, where a start does not compile what has been compiled before.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    plan = Plan(
        workloads=chosen(workloads(_tools(), scale), only, without, scale),
        rounds=rounds or ROUNDS,
        time_limit_s=(QUICK_TIME_LIMIT_S if quick else FULL_TIME_LIMIT_S) if minutes is None else minutes * 60,
    )
    taken = _circumstances(scale, rounds, only, without)
    titles = {side.key: side.title for side in sides}

    results = Results()

    def measured() -> Figures:
        return figures.of_results(results, plan.workloads, titles, taken)

    def keep() -> None:
        if json_path is not None:
            write(json_path, figures.to_json(figures.merged(earlier, measured(), NAMES)))

    begun_s = time.monotonic()
    code: int | str | None = None
    try:
        with tempfile.TemporaryDirectory(prefix="odradek-bench-", dir=directory) as parent:
            measure(plan, sides, Path(parent), partial(_say, begun_s), results, keep)
    except (KeyboardInterrupt, SystemExit) as ending:
        # What has been measured is as good as ever.
        code = ending.code if isinstance(ending, SystemExit) else INTERRUPTED
    report.print_report(report.console(), measured(), (sides[0].key, brokers.APACHE.key))
    if page_directory is not None:
        page.write(figures.merged(earlier, measured(), NAMES), page_directory)
    sys.exit(code if code is not None else 1 if results.failures else 0)


def write(path: Path, text: str) -> None:
    """In one step: who ends this process meanwhile finds what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    beside.replace(path)


def _say(begun_s: float, text: str) -> None:
    passed_s = int(time.monotonic() - begun_s)
    click.echo(f"{passed_s // 60:3}:{passed_s % 60:02} {text}", err=True)


def chosen(found: Sequence[Workload], only: Sequence[str], without: Sequence[str], scale: Scale) -> list[Workload]:
    """What is named, or whose group is, ``without`` what is named there; where ``only`` is empty all, of which a quick
    measurement has only the quick ones.
    """
    left = [workload for workload in found if workload.name not in without and workload.group not in without]
    if only:
        return [workload for workload in left if workload.name in only or workload.group in only]
    return [workload for workload in left if workload.quick or not scale.is_quick]


def command(rounds: int | None, scale: Scale, only: Sequence[str], without: Sequence[str] = ()) -> str:
    """What was called, without the names of files."""
    words = ["python -m benchmarks"]
    words += ["--quick"] if scale.is_quick else []
    words += [f"--rounds {rounds}"] if rounds is not None else []
    return " ".join([*words, *(f"--only {name}" for name in only), *(f"--without {name}" for name in without)])


def _circumstances(scale: Scale, rounds: int | None, only: Sequence[str], without: Sequence[str]) -> Taken:
    now = datetime.datetime.now(datetime.UTC)
    return Taken(
        at=f"{now:%Y-%m-%d %H:%M} UTC",
        command=command(rounds, scale, only, without),
        scale=scale.name,
        machine={key: value for key, value in machine().items() if key not in ("python", "commit")},
        versions=versions(),
    )


def _sides(noise_floor: bool) -> tuple[brokers.Side, ...]:
    """Apache Kafka is left out where it is missing; it is said so."""
    lacking = brokers.without_apache()
    if lacking is None:
        return (brokers.APACHE_AGAIN if noise_floor else brokers.ODRADEK, brokers.APACHE)
    if noise_floor:
        raise click.ClickException(lacking)
    click.echo(f"skipped: {lacking}; Odradek is measured beside the limit alone", err=True)
    return (brokers.ODRADEK,)


def _tools() -> Path | None:
    try:
        return tools_libs()
    except Unavailable as reason:
        click.echo(f"skipped: Kafka's tools: {reason}", err=True)
        return None


def _read(paths: Sequence[Path]) -> Figures:
    """A file that is to be written only later may be missing."""
    try:
        return reduce(
            lambda older, newer: figures.merged(older, newer, NAMES),
            [figures.read(path) for path in paths if path.exists()],
            Figures(),
        )
    except UnreadableFigures as error:
        raise click.ClickException(str(error)) from error


def _list(scale: Scale) -> None:
    for workload in workloads(Path(), scale):
        if workload.quick or not scale.is_quick:
            click.echo(f"{workload.group:15} {workload.name:30} {workload.title}")


if __name__ == "__main__":
    main()
