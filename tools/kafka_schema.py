"""Reads the message declarations that Apache Kafka's jars carry as JSON.

The JSON is used for its facts only: names, types, versions, defaults. Used by the importer of declarations and by the
test that compares them with the jars.
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

JARS = {
    "kafka-clients": "common/message/",
    "kafka-metadata": "common/metadata/",
    "kafka-group-coordinator": "common/message/",
    "kafka-transaction-coordinator": "common/message/",
    "kafka-share-coordinator": "common/message/",
    "kafka-raft": "common/message/",
    "kafka-storage": "message/",
}
"""The jars that declare messages, and the folder inside each."""

PRIMITIVES = frozenset(
    ("bool", "int8", "int16", "int32", "int64", "uint16", "uint32", "float64", "uuid", "string", "bytes", "records")
)


@dataclass(frozen=True)
class FieldSpec:
    """One field as Kafka declares it; `kind` is without the array brackets, `default` as text, "" if not given."""

    name: str
    kind: str
    is_array: bool
    versions: str
    nullable: str | None
    default: str
    tag: int | None
    tagged: str | None
    ignorable: bool
    map_key: bool
    flexible: str | None


@dataclass
class StructSpec:
    """A struct's fields, in order."""

    name: str
    fields: list[FieldSpec]


@dataclass
class MessageSpec:
    """One JSON file."""

    jar: str
    kind: str
    name: str
    api_key: int | None
    listeners: tuple[str, ...]
    valid: str
    flexible: str
    latest_unstable: bool
    body: StructSpec
    structs: list[StructSpec] = field(default_factory=list)
    """The nested structs, each after those that it refers to."""


def load_messages(libs: Path, version: str) -> list[MessageSpec]:
    """Every message with valid versions in the jars of Kafka `version` in `libs`, sorted by jar and name."""
    found: list[MessageSpec] = []
    for jar, folder in JARS.items():
        with zipfile.ZipFile(libs / f"{jar}-{version}.jar") as archive:
            entries = [name for name in archive.namelist() if name.startswith(folder) and name.endswith(".json")]
            found += [_message(jar, _parse(archive.read(entry).decode())) for entry in sorted(entries)]
    return [message for message in found if message.valid != "none"]


def _parse(text: str) -> dict[str, object]:
    """JSON with whole-line or trailing `//` comments."""
    text = re.sub(r"(?m)^\s*//.*$", "", text)
    try:
        return cast("dict[str, object]", json.loads(text))
    except json.JSONDecodeError:
        return cast("dict[str, object]", json.loads(re.sub(r"(?m)\s//.*$", "", text)))


def _message(jar: str, raw: dict[str, object]) -> MessageSpec:
    name = str(raw["name"])
    structs: list[StructSpec] = []
    common = {str(entry["name"]): entry for entry in _objects(raw.get("commonStructs"))}
    body = StructSpec(name, _fields(_objects(raw.get("fields")), structs, common))
    listeners = cast("list[str]", raw.get("listeners", []))
    return MessageSpec(
        jar=jar,
        kind=str(raw["type"]),
        name=name,
        api_key=cast("int | None", raw.get("apiKey")),
        listeners=tuple(listeners),
        valid=str(raw["validVersions"]),
        flexible=str(raw.get("flexibleVersions", "none")),
        latest_unstable=raw.get("latestVersionUnstable") is True,
        body=body,
        structs=structs,
    )


def _objects(raw: object) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", raw or [])


def _fields(
    raws: list[dict[str, object]], structs: list[StructSpec], common: dict[str, dict[str, object]]
) -> list[FieldSpec]:
    fields = []
    for raw in raws:
        kind = str(raw["type"]).removeprefix("[]")
        inner = raw.get("fields") or (common[kind]["fields"] if kind in common else None)
        if inner and all(known.name != kind for known in structs):
            nested = _fields(_objects(inner), structs, common)
            structs.append(StructSpec(kind, nested))
        fields.append(_field(raw, kind))
    return fields


def _field(raw: dict[str, object], kind: str) -> FieldSpec:
    name = str(raw["name"])
    tagged = cast("str | None", raw.get("taggedVersions"))
    versions = cast("str | None", raw.get("versions")) or str(tagged)
    default = raw.get("default")
    text = str(default).lower() if isinstance(default, bool) else str("" if default is None else default)
    return FieldSpec(
        name=name[0].upper() + name[1:],
        kind=kind,
        is_array=str(raw["type"]).startswith("[]"),
        versions=versions,
        nullable=cast("str | None", raw.get("nullableVersions")),
        default=text,
        tag=cast("int | None", raw.get("tag")),
        tagged=tagged,
        ignorable=str(raw.get("ignorable", False)).lower() == "true",
        map_key=str(raw.get("mapKey", False)).lower() == "true",
        flexible=cast("str | None", raw.get("flexibleVersions")),
    )


def snake_case(name: str) -> str:
    """Python's form of one of Kafka's names: `TopicId` is `topic_id`, `KRaftVersion` is `kraft_version`."""
    name = name.replace("KRaft", "Kraft")
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
