"""``python -m benchmarks.groups``: one group coordinator under load, Odradek's beside Apache Kafka's."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
from rich.table import Table

from benchmarks import brokers, procfs
from benchmarks.brokers import running
from benchmarks.figures import Comparison, compare
from benchmarks.group_load import PROTOCOLS, SCENARIOS, GroupResult, Scenario, arguments
from benchmarks.machine import machine
from benchmarks.report import cells, console
from benchmarks.runner import in_turn, leave_on_sigterm
from benchmarks.workloads.base import ClientFailed, client
from tests.support.process import BrokerFailed, BrokerProcess

CLIENT_TIMEOUT_S = 300.0
SIDES = (brokers.ODRADEK, brokers.APACHE)
FIGURES = {
    "steady_p50_ms": "heartbeat p50, ms",
    "steady_p99_ms": "heartbeat p99, ms",
    "busy_p99_ms": "heartbeat p99 during rebalances, ms",
    "formed_s": "all groups formed, s",
    "rebalance_p50_s": "a rebalance, median, s",
    "rebalance_p99_s": "a rebalance, p99, s",
    "answered_p50_s": "its part after the last JoinGroup, median, s",
    "restart_s": "all rebalances, s",
    "broker_cpu_s": "broker CPU of the run, s",
}


@dataclass(frozen=True)
class Load:
    """One load: a scenario with one of the two protocols."""

    scenario: Scenario
    protocol: str

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.scenario.title}, {self.protocol} protocol"


Figures = dict[str, float | None]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Rounds after one that warms up.")
@click.option("--only", type=click.Choice(list(SCENARIOS)), multiple=True, help="Only this scenario; repeatable.")
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), multiple=True, help="Only this protocol; repeatable.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all figures and runs to this file.",
)
def main(rounds: int, only: tuple[str, ...], protocol: tuple[str, ...], json_path: Path | None) -> None:
    """Run the same members against Odradek and Apache Kafka in turn, and compare."""
    lacking = brokers.missing()
    if lacking is not None:
        click.echo(f"skipped: {lacking}")
        return
    leave_on_sigterm()
    loads = [Load(SCENARIOS[name], kind) for name in only or SCENARIOS for kind in protocol or PROTOCOLS]
    runs: dict[Load, dict[str, list[Figures]]] = {load: {side.key: [] for side in SIDES} for load in loads}
    failure: Exception | None = None
    try:
        with tempfile.TemporaryDirectory(prefix="odradek-bench-") as parent, ExitStack() as stack:
            started = {side.key: stack.enter_context(running(side, Path(parent) / side.key)) for side in SIDES}
            for number in range(rounds + 1):
                for load in loads:
                    click.echo(f"{f'round {number} of {rounds}' if number else 'warm-up'}: {load.title}", err=True)
                    for side in in_turn(SIDES, number):
                        figures = measure(load, started[side.key])
                        if number:
                            runs[load][side.key].append(figures)
    except (BrokerFailed, ClientFailed, OSError) as reason:
        failure = reason
    for load, measured in runs.items():
        # A run without its counterpart compares with nothing.
        whole = min(len(found) for found in measured.values())
        if whole:
            paired = {key: found[:whole] for key, found in measured.items()}
            console().print(table(load, comparisons(paired), whole))
    if json_path is not None:
        content = {"machine": machine(), "runs": {load.title: found for load, found in runs.items()}}
        json_path.write_text(json.dumps(content, indent=2) + "\n")
    if failure is not None:
        raise click.ClickException(f"ended early: {failure}") from failure


def measure(load: Load, broker: BrokerProcess) -> Figures:
    """One run. Raises ClientFailed."""
    before_s = procfs.cpu_s(broker.pid)
    output = client(arguments(load.scenario.name, load.protocol, broker.host, broker.port), CLIENT_TIMEOUT_S)
    result = GroupResult(**json.loads(output))
    return {**dataclasses.asdict(result), "broker_cpu_s": procfs.cpu_s(broker.pid) - before_s}


def comparisons(runs: Mapping[str, list[Figures]]) -> dict[str, Comparison]:
    """Every figure of one load, by its name."""
    subject, reference = (runs[side.key] for side in SIDES)
    return {name: compare([run[name] for run in subject], [run[name] for run in reference]) for name in FIGURES}


def table(load: Load, figures: Mapping[str, Comparison], rounds: int) -> Table:
    """The figures that there are, for people."""
    drawn = Table(title=f"{load.title}; rounds: {rounds}; medians, ratios (lowest-highest)")
    drawn.add_column("figure")
    for heading in (*(side.key for side in SIDES), "ratio"):
        drawn.add_column(heading, justify="right")
    for name, title in FIGURES.items():
        if figures[name].subject is not None:
            drawn.add_row(title, *cells(figures[name], ".3f"))
    return drawn


if __name__ == "__main__":
    main()
