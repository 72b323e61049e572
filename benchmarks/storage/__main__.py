"""`python -m benchmarks.storage`: MB/s of the storage engine, each beside the limit of the same machine."""

from __future__ import annotations

import gc
import json
import shutil
import tempfile
from pathlib import Path

import click

from benchmarks.stats import Spread, ratios, spread
from benchmarks.storage.figures import FIGURES, Figure


def measure(figure: Figure, rounds: int) -> tuple[Spread, Spread, Spread]:
    """MB/s of engine and limit, and their ratio. Who goes first alternates; a round before the first warms up."""
    engine: list[float] = []
    limit: list[float] = []
    for number in range(rounds + 1):
        halves = [(engine, figure.engine), (limit, figure.limit)]
        for rates, run in halves if number % 2 else reversed(halves):
            gc.collect()
            rates.append(run())
    found = spread(engine[1:]), spread(limit[1:]), spread(ratios(engine[1:], limit[1:]))
    assert all(found), "there was at least one round"
    return found  # type: ignore[return-value] # as asserted


@click.command()
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1), help="Pairs that count.")
@click.option("--mib", default=1024, show_default=True, type=click.IntRange(16), help="Bytes of each half.")
@click.option("--only", multiple=True, metavar="WORD", help="Only figures with this word in their name.")
@click.option("--directory", type=click.Path(exists=True, file_okay=False), help="Where to write; default: temporary.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a figure.")
def main(rounds: int, mib: int, only: tuple[str, ...], directory: str | None, as_json: bool) -> None:
    """Measure, and print medians with lowest and highest round. Exits with 1 if a ratio is below what is wanted."""
    if not as_json:
        click.echo(f"{'MB/s, median of rounds':<26}{'engine':>9}{'limit':>9}   ratio (low-high)   wanted  limit is")
    is_short = False
    for kind in FIGURES:
        if only and not any(word in kind.name for word in only):
            continue
        root = Path(tempfile.mkdtemp(prefix="odradek-storage-", dir=directory))
        try:
            figure = kind(root, mib << 20)
            engine, limit, ratio = measure(figure, rounds)
            figure.close()
        finally:
            shutil.rmtree(root)
        is_short |= kind.wanted is not None and ratio.median < kind.wanted
        if as_json:
            fields = {"name": kind.name, "engine": engine.median, "limit": limit.median, "ratio": ratio.median}
            click.echo(json.dumps({**fields, "low": ratio.low, "high": ratio.high, "wanted": kind.wanted}))
            continue
        wanted = "-" if kind.wanted is None else f"{kind.wanted:.2f}"
        click.echo(
            f"{kind.name:<26}{engine.median:9.0f}{limit.median:9.0f}"
            f"   {ratio.median:5.2f} ({ratio.low:.2f}-{ratio.high:.2f})   {wanted:>6}  {kind.limit_name}"
        )
    if is_short:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
