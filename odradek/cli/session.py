"""What the commands share that talk to a broker: the connection option, errors, and tables."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import click

from odradek.cli.errors import EXIT_INTERRUPTED, EXIT_USAGE, fail
from odradek.net.client import Client, ClientError, ConnectionOptions
from odradek.net.loop import new_event_loop
from odradek.wire import ErrorCode, KafkaError

DEFAULT_BOOTSTRAP_SERVER = "localhost:9092"
CLIENT_ID = "odradek-cli"

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


def bootstrap_option(function: F) -> F:
    """Adds `--bootstrap-server`, passed as `bootstrap_server`."""
    return click.option(
        "--bootstrap-server",
        "-b",
        metavar="HOST:PORT[,...]",
        default=DEFAULT_BOOTSTRAP_SERVER,
        show_default=True,
        help="Brokers to ask first.",
    )(function)


def run(bootstrap_server: str, work: Callable[[Client], Coroutine[object, object, T]]) -> T:
    """Run `work` with a connected client; what goes wrong ends the command with one line."""

    async def whole() -> T:
        async with Client(bootstrap_server.split(","), ConnectionOptions(client_id=CLIENT_ID)) as client:
            return await work(client)

    with quiet_end():
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                return runner.run(whole())
        except ValueError as error:
            fail(str(error), EXIT_USAGE)
        except ClientError as error:
            fail(str(error))
        except KafkaError as error:
            fail(explain(error.code, error.message))


@contextmanager
def quiet_end() -> Iterator[None]:
    """End the command without a traceback where it is interrupted, or nobody reads its output any more."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Python's own flush at exit must not complain, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_INTERRUPTED)


def explain(code: int, message: str | None = None) -> str:
    """An error of the broker in words, with Kafka's name of it."""
    error = ErrorCode(code)
    return f"{message or error.message} ({error.name})"


def check(code: int, message: str | None = None) -> None:
    """Raise KafkaError unless `code` is NONE."""
    if code:
        raise KafkaError(ErrorCode(code), message)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """A table on a terminal; elsewhere one line a row, tab-separated, without the head."""
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(map(str, row)) + "\n")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)


def note(text: str) -> None:
    """A line for the user, on stderr: stdout is for what was asked for."""
    sys.stderr.write(f"{text}\n")
