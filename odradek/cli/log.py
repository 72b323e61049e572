"""`odradek log`: look into log directories, as Apache Kafka's dump tool does, for people without Java."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

import click

from odradek.cli.errors import EXIT_FAILED, EXIT_USAGE, fail
from odradek.cli.log_tables import print_rows
from odradek.cli.session import note, quiet_end
from odradek.net.files import OsFileSystem
from odradek.ports import FileSystem
from odradek.storage.inspect.decoders import DECODERS, Decoder
from odradek.storage.inspect.directories import (
    KnownFile,
    is_partition,
    known_file,
    known_files,
    partition_directories,
)
from odradek.storage.inspect.overview import partition_rows
from odradek.storage.inspect.rows import Row, read_rows
from odradek.storage.inspect.verify import Finding, Verified, verify_data_dir, verify_partition


@click.group()
def log() -> None:
    """Look into log directories: Odradek's and Apache Kafka's, of stopped and of running nodes. Nothing is written."""


@log.command("dump")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--records", "-r", "with_records", is_flag=True, help="Show the records in the batches, too.")
@click.option("--recursive", "-R", is_flag=True, help="Of a data directory: all partitions, not only an overview.")
@click.option(
    "--decode",
    metavar="TOPIC",
    type=click.Choice(sorted(DECODERS)),
    help="Decode records as those of this internal topic. Default: the topic that the directory is named after.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: file, kind of entry, its fields.")
def dump(paths: Sequence[str], with_records: bool, recursive: bool, decode: str | None, as_json: bool) -> None:
    """Print what is in files, in partitions' directories, or in data directories.

    Where the output is no terminal, one line an entry with tabs in between, or JSON. Exits with 1 if a file is damaged.
    """
    fs = OsFileSystem()
    reader = _Reader(fs, with_records, None if decode is None else DECODERS[decode])
    print_all = _print_json if as_json else _print_tables
    with quiet_end():
        for path in paths:
            for name, rows in reader.sections(path.rstrip("/"), recursive):
                print_all(name, rows)
    if reader.is_damaged:
        sys.exit(EXIT_FAILED)


@log.command("verify")
@click.argument("paths", metavar="DIR...", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option("--records", "-r", "with_records", is_flag=True, help="Open the batches and check their records, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a finding.")
def verify(paths: Sequence[str], with_records: bool, as_json: bool) -> None:
    """Check partitions' directories, or data directories: checksums, offsets, and what indexes say of batches.

    Prints a line for each finding, and exits with 1 if there is one.
    """
    fs = OsFileSystem()
    verified = Verified()
    found = 0
    with quiet_end():
        for path in paths:
            for finding in _verify(fs, path.rstrip("/"), verified, with_records):
                found += 1
                text = json.dumps(finding._asdict()) if as_json else f"{finding.path}: {finding.text}"
                click.echo(text)
    note(f"{verified.files} files, {verified.batches} batches, {verified.bytes} bytes: {found or 'no'} findings")
    if found:
        sys.exit(EXIT_FAILED)


def _verify(fs: FileSystem, path: str, verified: Verified, records: bool) -> Iterator[Finding]:
    try:
        check = verify_partition if is_partition(fs, path) else verify_data_dir
        yield from check(fs, path, verified, records=records)
    except OSError as error:
        fail(f"{path}: {error}")


class _Reader:
    """What was asked for, section by section: a title, and the rows below it."""

    def __init__(self, fs: FileSystem, records: bool, decoder: Decoder | None) -> None:
        self.is_damaged = False
        self._fs = fs
        self._records = records
        self._decoder = decoder

    def sections(self, path: str, recursive: bool) -> Iterator[tuple[str, Iterable[Row]]]:
        """Those of a file or directory."""
        if not os.path.isdir(path):
            file = known_file(path)
            if file is None:
                fail(f"{path}: nothing of a log directory has this name", EXIT_USAGE)
            yield path, self._rows(file)
            return
        for file in known_files(self._fs, path):
            yield file.path, self._rows(file)
        if not is_partition(self._fs, path):
            yield path, partition_rows(self._fs, path)
            for directory in partition_directories(self._fs, path) if recursive else ():
                yield from self.sections(directory, recursive)

    def _rows(self, file: KnownFile) -> Iterator[Row]:
        try:
            for row in read_rows(self._fs, file, records=self._records, decoder=self._decoder):
                self.is_damaged = self.is_damaged or row.kind == "damage" or row.fields.get("isValid") is False
                yield row
        except FileNotFoundError:
            note(f"{file.path}: gone while it was read")
        except OSError as error:
            fail(f"{file.path}: {error}")


def _print_tables(name: str, rows: Iterable[Row]) -> None:
    note(name)
    print_rows(rows)


def _print_json(name: str, rows: Iterable[Row]) -> None:
    for row in rows:
        sys.stdout.write(json.dumps({"file": name, "kind": row.kind, **row.fields}, ensure_ascii=False) + "\n")
