"""`python -m benchmarks.cluster`: three nodes of Odradek beside three of Apache Kafka."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import click

from benchmarks import brokers
from benchmarks.cluster import tables
from benchmarks.cluster.measuring import NAMES, Plan, measure
from benchmarks.cluster.nodes import KINDS
from benchmarks.report import console
from benchmarks.runner import leave_on_sigterm


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), help="Rounds that count, after one that warms up.  [5; quick: 2]")
@click.option("--failover-rounds", type=click.IntRange(1), help="Kills of each sort, on each side.  [5; quick: 1]")
@click.option("--quick", is_flag=True, help="Less work per run; under 5 minutes in all.")
@click.option("--only", type=click.Choice(NAMES), multiple=True, help="Measure only this; repeatable.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all figures and runs to this file.",
)
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the nodes keep their data.")
def main(
    rounds: int | None,
    failover_rounds: int | None,
    quick: bool,
    only: tuple[str, ...],
    json_path: Path | None,
    directory: Path | None,
) -> None:
    """Run the same clients against both clusters in turn, kill the same nodes of both, and compare."""
    lacking = brokers.missing()
    if lacking is not None:
        click.echo(f"skipped: {lacking}")
        return
    leave_on_sigterm()
    # As installed, where a start does not compile what has been compiled before.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    plan = Plan(
        names=only or NAMES,
        rounds=rounds or (2 if quick else 5),
        failover_rounds=failover_rounds or (1 if quick else 5),
        records=500_000 if quick else 2_000_000,
        idle_s=5.0 if quick else 10.0,
    )
    with tempfile.TemporaryDirectory(prefix="odradek-bench-", dir=directory) as parent:
        results = measure(plan, KINDS, Path(parent), lambda text: click.echo(text, err=True))
    tables.print_report(console(), plan, results, KINDS)
    if json_path is not None:
        json_path.write_text(json.dumps(tables.as_json(plan, results, KINDS), indent=2) + "\n")
    sys.exit(1 if results.failures else 0)


if __name__ == "__main__":
    main()
