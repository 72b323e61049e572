"""The small text files beside the logs, byte for byte as Apache Kafka 4.4.0 writes them.

All are parsed strictly: `CorruptFileError` says what is wrong, and the caller decides what a damaged file means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from odradek.ports import FileSystem
from odradek.storage.file_names import CLEAN_SHUTDOWN, META_PROPERTIES, PARTITION_METADATA
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.uuids import uuid_from_string, uuid_to_string

_VERSION = 0


class CorruptFileError(Exception):
    """A file does not have the content that its name promises."""


def read_offsets(fs: FileSystem, path: str) -> dict[TopicPartition, int]:
    """An offset checkpoint file: recovery points, log start offsets or high watermarks; empty if there is none."""
    offsets = {}
    for fields in _read_entries(fs, path, fields=3):
        topic, partition, offset = fields
        offsets[TopicPartition(topic, _integer(path, partition))] = _integer(path, offset)
    return offsets


def write_offsets(fs: FileSystem, path: str, offsets: Mapping[TopicPartition, int]) -> None:
    """Replace an offset checkpoint file."""
    lines = (f"{partition.topic} {partition.partition} {offset}" for partition, offset in offsets.items())
    _write_entries(fs, path, lines, len(offsets))


def read_leader_epochs(fs: FileSystem, path: str) -> list[tuple[int, int]]:
    """A leader epoch checkpoint file as (epoch, start offset); empty if there is none."""
    entries = _read_entries(fs, path, fields=2)
    return [(_integer(path, epoch), _integer(path, offset)) for epoch, offset in entries]


def write_leader_epochs(fs: FileSystem, path: str, entries: Sequence[tuple[int, int]]) -> None:
    """Replace a leader epoch checkpoint file."""
    _write_entries(fs, path, (f"{epoch} {offset}" for epoch, offset in entries), len(entries))


def read_topic_id(fs: FileSystem, directory: str) -> bytes | None:
    """The topic id in a log directory's `partition.metadata`; None if there is no such file."""
    path = f"{directory}/{PARTITION_METADATA}"
    text = _read_text(fs, path)
    if text is None:
        return None
    fields = dict(_pair(path, line, ":") for line in text.splitlines() if line)
    if fields.get("version") != str(_VERSION):
        raise CorruptFileError(f"{path}: version {fields.get('version')} is not known")
    try:
        return uuid_from_string(fields.get("topic_id", ""))
    except ValueError as error:
        raise CorruptFileError(f"{path}: {error}") from error


def write_topic_id(fs: FileSystem, directory: str, topic_id: bytes) -> None:
    """Write a log directory's `partition.metadata`."""
    fs.write_atomically(f"{directory}/{PARTITION_METADATA}", partition_metadata(topic_id))


def partition_metadata(topic_id: bytes) -> bytes:
    """What `partition.metadata` holds for a topic id."""
    return f"version: {_VERSION}\ntopic_id: {uuid_to_string(topic_id)}".encode()


def read_clean_shutdown(fs: FileSystem, log_dir: str) -> int | None:
    """The broker epoch of the clean stop before; -1 where the marker has none, None where there is no marker."""
    text = _read_text(fs, f"{log_dir}/{CLEAN_SHUTDOWN}")
    if text is None:
        return None
    try:
        content = json.loads(text)
    except ValueError:
        return -1
    epoch = content.get("brokerEpoch") if isinstance(content, dict) else None
    return epoch if isinstance(epoch, int) else -1


def write_clean_shutdown(fs: FileSystem, log_dir: str, broker_epoch: int) -> None:
    """Leave the marker that spares the next start a recovery."""
    text = json.dumps({"version": _VERSION, "brokerEpoch": broker_epoch}, separators=(",", ":"))
    fs.write_atomically(f"{log_dir}/{CLEAN_SHUTDOWN}", text.encode())


def read_meta_properties(fs: FileSystem, log_dir: str) -> dict[str, str] | None:
    """The properties that formatting left (`cluster.id`, `node.id`, `directory.id`); None if it is not formatted."""
    text = _read_text(fs, f"{log_dir}/{META_PROPERTIES}")
    if text is None:
        return None
    properties = {}
    for raw in text.splitlines():
        line = raw.strip()
        if line and line[0] not in "#!":
            name, value = _pair(META_PROPERTIES, line, "=")
            properties[name] = value.replace("\\", "")
    return properties


def write_meta_properties(fs: FileSystem, log_dir: str, properties: Mapping[str, str], date: str) -> None:
    """Write `meta.properties`; `date` goes into its comment, as Java's Properties puts it there."""
    lines = ["#", f"#{date}", *(f"{name}={value}" for name, value in properties.items()), ""]
    fs.write_atomically(f"{log_dir}/{META_PROPERTIES}", "\n".join(lines).encode())


def _read_entries(fs: FileSystem, path: str, fields: int) -> list[list[str]]:
    """The entries below a checkpoint's version and count. Apache Kafka creates its checkpoints empty."""
    text = _read_text(fs, path)
    if not text:
        return []
    lines = text.splitlines()
    version = _integer(path, lines[0])
    if version != _VERSION:
        raise CorruptFileError(f"{path}: version {version} is not known")
    count = _integer(path, lines[1]) if len(lines) > 1 else -1
    entries = [line.split() for line in lines[2:] if line]
    if len(entries) != count:
        raise CorruptFileError(f"{path}: {count} entries announced, {len(entries)} found")
    for entry in entries:
        if len(entry) != fields:
            raise CorruptFileError(f"{path}: an entry has {len(entry)} fields, not {fields}")
    return entries


def _write_entries(fs: FileSystem, path: str, lines: Iterable[str], count: int) -> None:
    text = "\n".join([str(_VERSION), str(count), *lines, ""])
    fs.write_atomically(path, text.encode())


def _read_text(fs: FileSystem, path: str) -> str | None:
    try:
        return fs.read(path).decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"{path}: {error}") from error


def _integer(path: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise CorruptFileError(f"{path}: {text!r} is not a number") from error


def _pair(path: str, line: str, separator: str) -> tuple[str, str]:
    name, found, value = line.partition(separator)
    if not found:
        raise CorruptFileError(f"{path}: {line!r} is no '{separator}' pair")
    return name.strip(), value.strip()
