"""`odradek cluster rebalance`: plan reassignments, and run them a few at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from odradek.cli.errors import EXIT_FAILED
from odradek.cli.rebalance_plan import Change
from odradek.cli.rebalancing import Rebalancing, plan_for
from odradek.cli.session import bootstrap_option, note, print_table, run
from odradek.cli.throttling import Throttle
from odradek.net.client import Client

if TYPE_CHECKING:
    from rich.progress import Progress

DEFAULT_CONCURRENCY = 20


@click.command()
@bootstrap_option
@click.option("--dry-run", is_flag=True, help="Print what would change, and change nothing.")
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=DEFAULT_CONCURRENCY,
    show_default=True,
    help="How many partitions are copied at the same time.",
)
@click.option(
    "--throttle",
    metavar="BYTES",
    type=click.IntRange(1),
    help="How much a broker may send to copies, and write of them, per second.",
)
@click.option(
    "--drain",
    "drained",
    metavar="ID",
    type=click.IntRange(0),
    multiple=True,
    help="Move everything away from this broker, so that it can be taken out; repeatable.",
)
def rebalance(
    bootstrap_server: str, dry_run: bool, concurrency: int, throttle: int | None, drained: Sequence[int]
) -> None:
    """Spread replicas and leaders evenly over the brokers that are there, such as one that was added.

    As few replicas move as that takes; producers and consumers go on. Exits with 1 if something could not be changed.
    """

    async def work(client: Client) -> int:
        assignments, changes = await plan_for(client, drained)
        if dry_run:
            _print(changes)
        elif changes:
            with _progress() as progress:
                task = progress.add_task("", total=len(changes))
                moving = Rebalancing(client, concurrency, lambda count: progress.advance(task, count))
                limits = None if throttle is None else Throttle(client, changes, throttle)
                failures = await _run(moving, changes, limits)
            for failure in failures:
                note(failure)
            if failures:
                return EXIT_FAILED
        copies = sum(len(change.added) for change in changes)
        note(f"{len(changes)} of {len(assignments)} partitions change, with {copies} replicas that move.")
        return 0

    sys.exit(run(bootstrap_server, work))


async def _run(moving: Rebalancing, changes: Sequence[Change], throttle: Throttle | None) -> list[str]:
    if throttle is None:
        return await moving.run(changes)
    try:
        await throttle.set()
        return await moving.run(changes)
    finally:
        await throttle.remove()


def _print(changes: Sequence[Change]) -> None:
    rows = [
        (change.before.topic, change.before.partition, _shown(change.before.replicas), _shown(change.replicas))
        for change in changes
    ]
    if rows:
        print_table(("Topic", "Partition", "Replicas", "To be"), rows)


def _shown(replicas: Iterable[int]) -> str:
    return ",".join(map(str, replicas))


def _progress() -> Progress:
    """A bar on a terminal, and nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
