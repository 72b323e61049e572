"""`odradek produce`: lines of a file or of stdin as records."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import click

from odradek.cli.errors import EXIT_USAGE, fail
from odradek.cli.producer import Producer, ProducerOptions
from odradek.cli.session import bootstrap_option, note, run
from odradek.net.client import Client
from odradek.wire.records.compression import Codec

ACKS = {"0": 0, "1": 1, "all": -1}
PROGRESS_STEP_BYTES = 64 * 1024


@click.command()
@click.argument("topic")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--key-separator", "-K", metavar="TEXT", help="What stands between key and value in a line.")
@click.option("--header", "-H", "headers", metavar="KEY=VALUE", multiple=True, help="Put on each record; repeatable.")
@click.option("--codec", "-z", type=click.Choice([each.config_name for each in Codec]), default="none")
@click.option("--acks", type=click.Choice(list(ACKS)), default="all", show_default=True)
@click.option("--partition", "-p", type=click.IntRange(0), help="[default: by key, or in turn]")
@bootstrap_option
def produce(
    topic: str,
    file: str | None,
    key_separator: str | None,
    headers: Sequence[str],
    codec: str,
    acks: str,
    partition: int | None,
    bootstrap_server: str,
) -> None:
    """Send each line of FILE (default: stdin) as a record to TOPIC.

    With a key separator, a line without it has no key, and an empty value behind it is a tombstone.
    """
    if key_separator == "":
        fail("--key-separator must not be empty", EXIT_USAGE)
    separator = key_separator.encode() if key_separator is not None else None
    options = ProducerOptions(ACKS[acks], Codec[codec.upper()], [_header(text) for text in headers], partition)

    async def work(client: Client) -> int:
        producer = Producer(client, topic, options)
        with _lines(file) as lines:
            for line in lines:
                await producer.add(*split(line, separator))
                if file is None and sys.stdin.isatty():
                    await producer.flush()
            await producer.flush()
        return producer.sent

    if file is None and sys.stdin.isatty():
        note("One record a line; Ctrl-D ends.")
    sent = run(bootstrap_server, work)
    if sys.stderr.isatty() or file is not None:
        note(f"{sent} records sent to {topic}")


def split(line: bytes, separator: bytes | None) -> tuple[bytes | None, bytes | None]:
    """(key, value) of a line without its end."""
    if separator is None:
        return None, line
    key, found, value = line.partition(separator)
    if not found:
        return None, line
    return key, value or None


@contextlib.contextmanager
def _lines(path: str | None) -> Iterator[Iterator[bytes]]:
    """The lines of a file, with a progress bar on a terminal, or of stdin."""
    if path is None:
        yield (line.rstrip(b"\r\n") for line in sys.stdin.buffer)
        return
    with open(path, "rb") as stream, _progress(path) as advance:
        yield _watched(stream, advance)


def _watched(stream: BinaryIO, advance: Callable[[int], None]) -> Iterator[bytes]:
    passed = 0
    for line in stream:
        passed += len(line)
        if passed >= PROGRESS_STEP_BYTES:
            advance(passed)
            passed = 0
        yield line.rstrip(b"\r\n")
    advance(passed)


@contextlib.contextmanager
def _progress(path: str) -> Iterator[Callable[[int], None]]:
    """A function to call with the bytes that were read."""
    if not sys.stderr.isatty():
        yield lambda _size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(os.path.basename(path), total=os.path.getsize(path))
        yield lambda size: progress.advance(task, size)


def _header(text: str) -> tuple[str, bytes]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        fail(f"--header {text}: write KEY=VALUE", EXIT_USAGE)
    return key, value.encode()
