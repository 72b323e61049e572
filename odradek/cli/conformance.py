"""`odradek conformance`: run the conformance suite, which is in the sources and not in the package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

import odradek
from odradek.cli.errors import EXIT_USAGE, fail

_SUITE = Path("tests", "conformance", "__main__.py")


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--target", "targets", multiple=True, metavar="odradek|apache|HOST:PORT", help="The broker; repeatable.")
@click.option("--newest", is_flag=True, help="Only the newest clients, not those of two years back.")
@click.option("--write", is_flag=True, help="Write docs/conformance.md and what it is made of.")
@click.option(
    "--suite", type=click.Path(path_type=Path), help="A checkout of Odradek's sources, if it is not this one."
)
@click.argument("cases", nargs=-1)
def conformance(targets: Sequence[str], newest: bool, write: bool, suite: Path | None, cases: Sequence[str]) -> None:
    """Run tests/compat, or some CASES of it, with several versions of the clients, and show what came of it.

    Exits with 0 if all cases passed, 1 if some failed, 2 if there is nothing to run.
    """
    root = _root(suite)
    command = [sys.executable, "-m", "tests.conformance"]
    command += [option for target in targets for option in ("--target", target)]
    command += ["--newest"] * newest + ["--write"] * write + list(cases)
    sys.exit(subprocess.run(command, cwd=root, check=False).returncode)


def _root(suite: Path | None) -> Path:
    """The directory with the sources: the one that is named, this one, or the one that this package is in."""
    places = [suite] if suite is not None else [Path.cwd(), Path(odradek.__file__).parents[1]]
    found = [place for place in places if (place / _SUITE).exists()]
    if not found:
        looked_in = ", ".join(str(place) for place in places)
        fail(
            "the conformance suite comes with Odradek's sources, not with the package: clone them and run "
            f"`make conformance` there, or name them with --suite DIRECTORY (looked in {looked_in})",
            EXIT_USAGE,
        )
    return found[0]
