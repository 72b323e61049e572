"""`python -m benchmarks.doubles`: Odradek and other stand-ins for Kafka, in turn, and a table of what came out."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import click

from benchmarks import procfs
from benchmarks.doubles.kinds import KINDS, missing, version_of
from benchmarks.stats import Spread, ratios, spread
from tests.support.apache import ROOT

RUN_TIMEOUT_S = 300
REFERENCE = "odradek"
MIB = 1 << 20
Runs = dict[str, list[dict[str, float]]]
FIGURES = {
    "ready_s": ("ready, ms", 1000.0),
    "again_s": ("ready again, ms", 1000.0),
    "memory_bytes": ("memory, MiB", 1 / MIB),
    "first_s": ("first test, ms", 1000.0),
    "tests_s": ("100 tests, s", 1.0),
}
"""Of each run: its heading, and what its unit is multiplied by."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--only", type=click.Choice(list(KINDS)), multiple=True, help="Measure only this; repeatable.")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write all runs to this file."
)
@click.option(
    "--table", "table_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the table here, too."
)
def main(rounds: int, only: tuple[str, ...], json_path: Path | None, table_path: Path | None) -> None:
    """Each double in a process of its own, one at a time; a round has all of them, and the order turns."""
    if not procfs.available():
        click.echo("skipped: memory is read from Linux's /proc, which is not here")
        return
    lacking = {key: missing(key) for key in KINDS if not only or key in only}
    runs = _measure([key for key, reason in lacking.items() if reason is None], rounds)
    text = "\n".join(table(runs))
    click.echo(text)
    for key, reason in lacking.items():
        if reason is not None:
            click.echo(f"skipped: {KINDS[key][0]}: {reason}")
    if table_path is not None:
        table_path.write_text(text + "\n")
    if json_path is not None:
        json_path.write_text(
            json.dumps({"versions": {key: version_of(key) for key in runs}, "runs": runs}, indent=2) + "\n"
        )


def _measure(keys: list[str], rounds: int) -> Runs:
    runs: Runs = {key: [] for key in keys}
    for number in range(rounds):
        turn = number % len(keys)
        for key in keys[turn:] + keys[:turn]:
            click.echo(f"round {number + 1} of {rounds}: {KINDS[key][0]}", err=True)
            runs[key].append(_run(key))
    return runs


def _run(key: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.doubles.case", key]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise click.ClickException(f"{KINDS[key][0]}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(runs: Runs) -> list[str]:
    """Medians with lowest and highest, and the ratio to the embedded Odradek, taken round by round."""
    count = len(next(iter(runs.values())))
    lines = [
        "| | " + " | ".join(heading for heading, _ in FIGURES.values()) + " | 100 tests, ratio |",
        "|---|" + "---|" * (len(FIGURES) + 1),
    ]
    for key, found in runs.items():
        cells = [f"{KINDS[key][0]} ({version_of(key)})" if key != "apache" else KINDS[key][0]]
        cells += [_cell(spread(run[figure] * unit for run in found)) for figure, (_, unit) in FIGURES.items()]
        references = runs.get(REFERENCE, [])
        cells.append(_cell(spread(_ratios(found, references))) if references else "")
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", f"Medians of {count} rounds, with the lowest and highest; {_machine()}."]


def _ratios(found: list[dict[str, float]], references: list[dict[str, float]]) -> list[float | None]:
    return ratios([run["tests_s"] for run in found], [run["tests_s"] for run in references])


def _cell(found: Spread | None) -> str:
    if found is None:
        return ""
    low, median, high = (_number(value) for value in (found.low, found.median, found.high))
    return median if low == high else f"{median} ({low} to {high})"


def _number(value: float) -> str:
    """Two digits, or all before the point."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _machine() -> str:
    return f"{os.cpu_count()} processors, Linux, CPython {platform.python_version()}"


if __name__ == "__main__":
    main()
