"""`odradek consume`: records as lines."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click

from odradek.cli.errors import EXIT_USAGE, fail
from odradek.cli.fetching import Consumed, Fetcher
from odradek.cli.membership import Membership
from odradek.cli.session import bootstrap_option, run
from odradek.net.client import Client

COMMIT_INTERVAL_MS = 5_000
FIELDS = ("topic", "partition", "offset", "timestamp", "key", "value", "headers")
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\0": "\0"}

Formatter = Callable[[str, Consumed], bytes]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to print and when to stop. `idle_timeout_ms`: without a record for so long; None: never."""

    topic: str
    from_beginning: bool
    partitions: tuple[int, ...]
    offset: int | None
    max_messages: int | None
    idle_timeout_ms: float | None
    formatter: Formatter


@click.command()
@click.argument("topic")
@click.option("--group", "-g", "group_id", help="Read as a member of this group, from where it left off.")
@click.option("--from-beginning", is_flag=True, help="Where nothing is committed, begin at the first record.")
@click.option("--partition", "-p", "partitions", type=click.IntRange(0), multiple=True, help="[default: all]")
@click.option("--offset", "-o", type=click.IntRange(0), help="Begin at this offset.")
@click.option("--max-messages", "-n", type=click.IntRange(1), help="Stop after so many records.")
@click.option("--timeout-ms", type=click.IntRange(1), help="Stop when no record came for so long.")
@click.option(
    "--format",
    "-f",
    "template",
    default="{value}\\n",
    show_default=True,
    help="'json', or text with " + ", ".join(f"{{{name}}}" for name in FIELDS) + ", \\n, \\t, \\0.",
)
@bootstrap_option
def consume(
    topic: str,
    group_id: str | None,
    from_beginning: bool,
    partitions: Sequence[int],
    offset: int | None,
    max_messages: int | None,
    timeout_ms: int | None,
    template: str,
    bootstrap_server: str,
) -> None:
    """Print the records of TOPIC, committed ones only, until Ctrl-C."""
    if group_id is not None and (partitions or offset is not None):
        fail("--group goes without --partition and --offset: the group decides who reads what", EXIT_USAGE)
    if offset is not None and from_beginning:
        fail("--offset and --from-beginning exclude each other", EXIT_USAGE)
    wanted = Wanted(topic, from_beginning, tuple(partitions), offset, max_messages, timeout_ms, formatter_of(template))

    async def work(client: Client) -> None:
        if group_id is None:
            await _consume_alone(client, wanted)
        else:
            await _consume_in_group(client, wanted, group_id)

    run(bootstrap_server, work)


class _Printer:
    """Writes records, and knows when it is enough."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._left = wanted.max_messages
        self._last_record_at = asyncio.get_running_loop().time()

    @property
    def done(self) -> bool:
        """Whether enough records were printed, or none came for too long."""
        if self._left == 0:
            return True
        idle_ms = (asyncio.get_running_loop().time() - self._last_record_at) * 1000
        return self._wanted.idle_timeout_ms is not None and idle_ms >= self._wanted.idle_timeout_ms

    def print(self, records: Sequence[Consumed]) -> dict[int, int]:
        """Print as many as are still wanted; returns the next offset of each partition that was printed from."""
        records = records if self._left is None else records[: self._left]
        for consumed in records:
            sys.stdout.buffer.write(self._wanted.formatter(self._wanted.topic, consumed))
        sys.stdout.buffer.flush()
        if records:
            self._last_record_at = asyncio.get_running_loop().time()
        if self._left is not None:
            self._left -= len(records)
        return {consumed.partition: consumed.record.offset + 1 for consumed in records}


async def _consume_alone(client: Client, wanted: Wanted) -> None:
    fetcher = Fetcher(client, wanted.topic, from_beginning=wanted.from_beginning)
    topic = await fetcher.locate()
    numbers = wanted.partitions or [each.partition_index for each in topic.partitions]
    await fetcher.assign(numbers, {} if wanted.offset is None else dict.fromkeys(numbers, wanted.offset))
    printer = _Printer(wanted)
    while not printer.done:
        printer.print(await fetcher.fetch())


async def _consume_in_group(client: Client, wanted: Wanted, group_id: str) -> None:
    fetcher = Fetcher(client, wanted.topic, from_beginning=wanted.from_beginning)
    await fetcher.locate()
    membership = Membership(client, group_id, wanted.topic)
    loop = asyncio.get_running_loop()
    uncommitted: dict[int, int] = {}
    try:
        await membership.join()
        await fetcher.assign(membership.partitions, await membership.committed())
        printer = _Printer(wanted)
        committed_at = loop.time()
        while not printer.done:
            if not await membership.keep_alive():
                await membership.commit(uncommitted)
                uncommitted = {}
                await membership.join()
                await fetcher.assign(membership.partitions, await membership.committed())
            uncommitted |= printer.print(await fetcher.fetch())
            if loop.time() - committed_at >= COMMIT_INTERVAL_MS / 1000:
                await membership.commit(uncommitted)
                uncommitted, committed_at = {}, loop.time()
    finally:
        await membership.commit(uncommitted)
        await membership.leave()


def formatter_of(template: str) -> Formatter:
    """What turns a record into the bytes to print."""
    if template == "json":
        return _as_json
    text = template
    for escape, character in _ESCAPES.items():
        text = text.replace(escape, character)
    pieces = _pieces(text)

    def as_text(topic: str, consumed: Consumed) -> bytes:
        return b"".join(
            piece if isinstance(piece, bytes) else _field(FIELDS[piece], topic, consumed) for piece in pieces
        )

    return as_text


def _pieces(text: str) -> list[bytes | int]:
    """Literal bytes, and indexes of `FIELDS`."""
    pieces: list[bytes | int] = []
    rest = text
    while rest:
        places = [(rest.find(f"{{{name}}}"), index) for index, name in enumerate(FIELDS) if f"{{{name}}}" in rest]
        if not places:
            break
        at, index = min(places)
        pieces += [rest[:at].encode(), index]
        rest = rest[at + len(FIELDS[index]) + 2 :]
    pieces.append(rest.encode())
    return pieces


def _field(name: str, topic: str, consumed: Consumed) -> bytes:
    record = consumed.record
    if name == "key":
        return record.key or b""
    if name == "value":
        return record.value or b""
    if name == "headers":
        return b",".join(key.encode() + b"=" + (value or b"") for key, value in record.headers)
    numbers = {"partition": consumed.partition, "offset": record.offset, "timestamp": record.timestamp_ms}
    return topic.encode() if name == "topic" else str(numbers[name]).encode()


def _as_json(topic: str, consumed: Consumed) -> bytes:
    record = consumed.record
    fields = {
        "topic": topic,
        "partition": consumed.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "key": _text(record.key),
        "value": _text(record.value),
        "headers": [[key, _text(value)] for key, value in record.headers],
    }
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def _text(data: bytes | None) -> str | None:
    """Bytes as text; those that are not UTF-8 appear as U+FFFD."""
    return None if data is None else data.decode("utf-8", "replace")
