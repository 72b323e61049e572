"""`odradek check`: look for anomalies in recorded histories."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

import click

from odradek.checker.anomalies import Anomaly, check_history
from odradek.checker.dependencies import Dependency
from odradek.checker.history import HistoryError, read_history
from odradek.cli.errors import EXIT_FAILED, EXIT_USAGE, fail
from odradek.cli.session import note, print_table

SHOWN_PER_KIND = 5


@click.command()
@click.argument("history", type=click.File("r", encoding="utf-8"))
@click.option(
    "--dependency",
    "-d",
    "dependencies",
    type=click.Choice([kind.value for kind in Dependency]),
    multiple=True,
    default=[Dependency.READ.value],
    show_default=True,
    help="What cycles are made of; repeatable. Kafka itself only rules out those of wr: polls of what the other sent.",
)
@click.option("--all", "show_all", is_flag=True, help=f"List every anomaly, not only {SHOWN_PER_KIND} of a kind.")
def check(history: TextIO, dependencies: Sequence[str], show_all: bool) -> None:
    """Check a HISTORY of sends, polls and transactions (JSON lines; - is standard input) for what Kafka rules out.

    Lost writes, duplicates, aborted and precommitted reads, inconsistent offsets, skipped and non-monotonic polls and
    sends, cycles. Exits with 0 if there is nothing, 1 if there is something, 2 if it is no history.
    """
    try:
        found = read_history(history)
        anomalies = check_history(found, [Dependency(kind) for kind in dependencies])
    except (HistoryError, UnicodeDecodeError) as error:
        fail(f"{history.name}: {error}", EXIT_USAGE)
    if not anomalies:
        note(f"{len(found.operations)} operations, and no anomaly." + _undrained(found.is_drained))
        return
    print_table(("Anomaly", "Partition", "Lines", "What"), [_row(anomaly) for anomaly in _shown(anomalies, show_all)])
    counts = Counter(anomaly.name for anomaly in anomalies)
    note(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    sys.exit(EXIT_FAILED)


def _undrained(is_drained: bool) -> str:
    return "" if is_drained else ' Without a "drained" event, records that nobody has read yet are not counted as lost.'


def _shown(anomalies: list[Anomaly], show_all: bool) -> list[Anomaly]:
    counts: Counter[str] = Counter()
    shown = []
    for anomaly in anomalies:
        counts[anomaly.name] += 1
        if show_all or counts[anomaly.name] <= SHOWN_PER_KIND:
            shown.append(anomaly)
    return shown


def _row(anomaly: Anomaly) -> tuple[str, str, str, str]:
    return anomaly.name, anomaly.partition or "-", ", ".join(map(str, anomaly.lines)), anomaly.text
