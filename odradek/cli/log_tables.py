"""Rows of log directories as tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TypeAlias

from odradek.cli.session import print_table
from odradek.storage.inspect.rows import Fields, Row
from odradek.wire.json_form import Json

ROWS_PER_TABLE = 1000
"""So many are held at a time; a long file is several tables."""
SHOWN_CHARACTERS = 200
"""Longer keys and values are cut."""

Column: TypeAlias = tuple[str, Callable[[Fields], object]]


def print_rows(rows: Iterable[Row]) -> None:
    """Print rows as they come: a table for each kind on a terminal, else a line a row that begins with its kind."""
    if not sys.stdout.isatty():
        for kind, fields in rows:
            cells = [str(show(fields)) for _title, show in _columns(kind, fields)]
            sys.stdout.write("\t".join([kind, *cells]) + "\n")
        return
    rows = iter(rows)
    while chunk := list(islice(rows, ROWS_PER_TABLE)):
        for kind in dict.fromkeys(row.kind for row in chunk):
            found = [row.fields for row in chunk if row.kind == kind]
            columns = _columns(kind, found[0])
            cells_of = [[show(fields) for _title, show in columns] for fields in found]
            print_table([title for title, _show in columns], cells_of)


def time_text(timestamp: Json) -> str:
    """Milliseconds since the epoch as UTC time; "-" for none."""
    if not isinstance(timestamp, int) or timestamp < 0:
        return "-"
    try:
        at = datetime.fromtimestamp(timestamp // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(timestamp)
    return f"{at:%Y-%m-%d %H:%M:%S}.{timestamp % 1000:03d}"


def content_text(fields: Fields, name: str) -> str:
    """A key or value in one line that a terminal takes without harm: JSON, text or base64."""
    encoded = fields.get(f"{name}Base64")
    if encoded is not None:
        return _cut(f"base64:{encoded}")
    value = fields.get(name)
    if value is None:
        return "-"
    if isinstance(value, str):
        return _cut("".join(char if char.isprintable() else repr(char)[1:-1] for char in value))
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def _field(name: str) -> Callable[[Fields], object]:
    return lambda fields: _or_dash(fields.get(name))


def _or_dash(value: Json) -> object:
    return "-" if value is None else value


def _offsets(fields: Fields) -> str:
    return f"{fields['baseOffset']}..{fields['lastOffset']}"


def _producer(fields: Fields) -> str:
    """Id, epoch and first sequence."""
    if fields["producerId"] == -1:
        return "-"
    return f"{fields['producerId']}:{fields['producerEpoch']}:{fields['baseSequence']}"


def _batch_notes(fields: Fields) -> str:
    def notes() -> Iterator[str]:
        if fields["isTransactional"]:
            yield "transactional"
        if fields["isControl"]:
            yield "control"
        if fields["timestampType"] != "CreateTime":
            yield "append time"
        if fields["deleteHorizonMs"] is not None:
            yield f"delete horizon {time_text(fields['deleteHorizonMs'])}"

    return ", ".join(notes()) or "-"


def _headers(fields: Fields) -> str:
    headers = fields["headers"]
    if not isinstance(headers, list) or not headers:
        return "-"
    return " ".join(
        f"{_cut(str(header['key']))}={content_text(header, 'value')}" for header in headers if isinstance(header, dict)
    )


def _value(fields: Fields) -> str:
    problem = fields.get("problem")
    return content_text(fields, "value") + (f" ({problem})" if problem else "")


_COLUMNS: dict[str, tuple[Column, ...]] = {
    "batch": (
        ("Offsets", _offsets),
        ("Records", _field("count")),
        ("Position", _field("position")),
        ("Bytes", _field("size")),
        ("Epoch", _field("partitionLeaderEpoch")),
        ("Codec", _field("compressCodec")),
        ("Producer:epoch:seq", _producer),
        ("Latest (UTC)", lambda fields: time_text(fields["maxTimestamp"])),
        ("Is", _batch_notes),
        ("CRC", lambda fields: "ok" if fields["isValid"] else "WRONG"),
    ),
    "record": (
        ("Offset", _field("offset")),
        ("Time (UTC)", lambda fields: time_text(fields["timestamp"])),
        ("Key", lambda fields: content_text(fields, "key")),
        ("Value", _value),
        ("Headers", _headers),
    ),
}


def _columns(kind: str, fields: Fields) -> Sequence[Column]:
    """Those of the kind, or a column a field, headed by its name in words."""
    return _COLUMNS.get(kind) or [
        (_words(name), _time_or(name) if name.lower().endswith("timestamp") else _field(name)) for name in fields
    ]


def _time_or(name: str) -> Callable[[Fields], object]:
    return lambda fields: f"{fields[name]} ({time_text(fields[name])})"


def _words(name: str) -> str:
    words = "".join(f" {char.lower()}" if char.isupper() else char for char in name)
    return words[0].upper() + words[1:]
