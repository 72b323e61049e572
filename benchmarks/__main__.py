"""``python -m benchmarks``: measure Odradek beside Apache Kafka and write down what came out."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import click

from benchmarks import brokers, report
from benchmarks.runner import Plan, leave_on_sigterm, measure
from benchmarks.workloads.base import FULL, QUICK
from benchmarks.workloads.catalogue import NAMES, workloads
from tests.support.apache import Unavailable, tools_libs

STARTUP = "startup"
QUICK_TIME_LIMIT_S = 165.0
FULL_TIME_LIMIT_S = 1800.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), help="Rounds that count, after one that warms up.  [5; quick: 3]")
@click.option("--quick", is_flag=True, help="Less work per run; under 3 minutes in all.")
@click.option("--only", type=click.Choice([STARTUP, *NAMES]), multiple=True, help="Measure only this; repeatable.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all figures and runs to this file.",
)
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the brokers keep their data."
)
@click.option("--noise-floor", is_flag=True, help="Apache Kafka against itself: how far from 1 ratios get by chance.")
def main(
    rounds: int | None,
    quick: bool,
    only: tuple[str, ...],
    json_path: Path | None,
    directory: Path | None,
    noise_floor: bool,
) -> None:
    """Run the same clients against Odradek and Apache Kafka in turn, and compare."""
    lacking = brokers.missing()
    if lacking is not None:
        click.echo(f"skipped: {lacking}")
        return
    leave_on_sigterm()
    scale = QUICK if quick else FULL
    try:
        found = workloads(tools_libs(), scale)
    except Unavailable as reason:
        click.echo(f"without Kafka's tools: {reason}", err=True)
        found = workloads(None, scale)
    plan = Plan(
        workloads=[workload for workload in found if not only or workload.name in only],
        scale=scale,
        rounds=rounds or (3 if quick else 5),
        time_limit_s=QUICK_TIME_LIMIT_S if quick else FULL_TIME_LIMIT_S,
        measures_starts=not only or STARTUP in only,
    )
    sides = (brokers.APACHE_AGAIN if noise_floor else brokers.ODRADEK, brokers.APACHE)
    with tempfile.TemporaryDirectory(prefix="odradek-bench-", dir=directory) as parent:
        results = measure(plan, sides, Path(parent), lambda text: click.echo(text, err=True), lambda _: None)
    report.print_report(report.console(), plan, results, sides)
    if json_path is not None:
        json_path.write_text(json.dumps(report.as_json(plan, results, sides), indent=2) + "\n")
    sys.exit(1 if results.failures else 0)


if __name__ == "__main__":
    main()
