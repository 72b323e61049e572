"""What a steady producer notices of heavy work that the broker does beside it: `python -m benchmarks.stalls`.

For each kind of work a producer sends 2,000 requests a second, alone and then beside the work, which others ask for all
the while, at a lower priority, so that what is measured is the broker and not who gets a processor. TLS is not
measured: there is none yet. Some kinds are among the common figures (`python -m benchmarks --only stalls`).
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.brokers import APACHE, ODRADEK, ODRADEK_SETTINGS, running, topic
from benchmarks.stall_works import SETTINGS, Work, works
from tests.support.odradek import Odradek
from tests.support.process import BrokerProcess
from tests.support.requests import connect, create_topic, metadata

PER_S = 2000.0
NICENESS = 10
STEADY_TOPIC = "stalls-steady"
DONE_WITHIN_S = 120.0

Latencies = dict[str, float]


class WorkFailed(Exception):
    """The work ended with an error, or not in time."""


def steady(broker: BrokerProcess, seconds: float, until: Callable[[], bool] | None = None) -> Latencies:
    """What the steady producer measured, over `seconds` or until `until` holds, if that is later."""
    command = [
        sys.executable, "-m", "benchmarks.steady", broker.host, str(broker.port), STEADY_TOPIC,
        "--per-s", str(PER_S), "--seconds", str(seconds if until is None else 600), "--stop-with-stdin",
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        if until is not None:
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s or not until():
                time.sleep(0.05)
            process.stdin.close()
        assert process.stdout is not None
        out = process.stdout.read()
    if process.returncode:
        raise WorkFailed("the steady producer failed")
    return dict(json.loads(out)["answered"])


def with_steady_topic(broker: BrokerProcess, warming_s: float) -> None:
    """Have the producer's topic, and a broker that has been at work for a while."""
    with connect(broker) as connection:
        if metadata(connection, STEADY_TOPIC).error_code == 0:
            return
        create_topic(connection, STEADY_TOPIC)
    steady(broker, warming_s)


def keep_working(work: Work, broker: BrokerProcess, name: str, until_s: float) -> None:
    """In a process of its own: one step after another."""
    os.nice(NICENESS)
    work.step(broker, name)
    while not work.once and time.monotonic() < until_s:
        work.step(broker, name)


def beside(work: Work, broker: BrokerProcess, name: str, seconds: float) -> Latencies:
    """What the producer measured while work was done on a topic that is prepared. Raises WorkFailed."""
    process = multiprocessing.get_context("fork").Process(
        target=keep_working, args=(work, broker, name, time.monotonic() + seconds)
    )
    process.start()
    deadline_s = time.monotonic() + DONE_WITHIN_S
    try:
        busy = steady(broker, seconds, lambda: not process.is_alive() or time.monotonic() > deadline_s)
    finally:
        process.kill()
        process.join()
    if process.exitcode:
        raise WorkFailed(f"{work.title} failed")
    return busy


class TurnsOdradek(Odradek):
    """Tells in its log which callbacks take long."""

    program = ("benchmarks.turns",)


@click.command()
@click.option("--only", default="", help="Kinds of work whose names or titles have this in them.")
@click.option("--seconds", default=4.0, help="How long each measurement takes at least.")
@click.option("--apache", is_flag=True, help="Measure Apache Kafka instead.")
@click.option(
    "--turns", is_flag=True, help="Have the broker tell which of its callbacks take long; the figures suffer."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Where to write the figures, too.")
def main(only: str, seconds: float, apache: bool, turns: bool, json_path: Path | None) -> None:
    """Measure what heavy work does to a steady producer."""
    root = Path(tempfile.mkdtemp(prefix="stalls-"))
    rows: list[dict[str, object]] = []
    click.echo(
        f"{'work':52} {'quiet p50':>9} {'p99':>7} {'max':>7}   {'beside p50':>10} {'p99':>8} {'max':>8}  {'ratio':>6}"
    )
    try:
        if turns:
            (root / "broker").mkdir()
            broker: BrokerProcess = TurnsOdradek(root / "broker", {**ODRADEK_SETTINGS, **SETTINGS})
            broker.start()
            context: contextlib.AbstractContextManager[BrokerProcess] = contextlib.nullcontext(broker)
        else:
            context = running(APACHE if apache else ODRADEK, root / "broker", SETTINGS)
        with context as broker:
            with_steady_topic(broker, 5.0 if apache else 1.0)
            chosen = [work for work in works() if only in work.name or only in work.title]
            rows += [_measured(work, broker, seconds, turns=turns) for work in chosen]
            if turns:
                broker.close()
    except WorkFailed as error:
        raise click.ClickException(str(error)) from error
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if json_path is not None:
        json_path.write_text(json.dumps(rows, indent=1))


def _measured(work: Work, broker: BrokerProcess, seconds: float, *, turns: bool) -> dict[str, object]:
    """Print a line, and the slowest callbacks."""
    seen = len(broker.log_path.read_bytes())
    with topic(broker, f"stalls-on-{work.name}") as name:
        work.prepare(broker, name)
        time.sleep(1.0)
        quiet = steady(broker, seconds)
        busy = beside(work, broker, name, seconds)
    ratio = busy["p99_ms"] / quiet["p99_ms"]
    click.echo(
        f"{work.title:52} {quiet['p50_ms']:9.2f} {quiet['p99_ms']:7.2f} {quiet['max_ms']:7.2f}   "
        f"{busy['p50_ms']:10.2f} {busy['p99_ms']:8.2f} {busy['max_ms']:8.2f}  {ratio:6.1f}"
    )
    if turns:
        lines = broker.log_path.read_bytes()[seen:].decode().splitlines()
        slow = sorted((line for line in lines if line.startswith("SLOW")), key=lambda line: -float(line.split()[1]))
        click.echo("\n".join(f"    {line[:600]}" for line in slow[:6]))
    return {"work": work.title, "quiet": quiet, "beside": busy, "p99_ratio": ratio}


if __name__ == "__main__":
    main()
