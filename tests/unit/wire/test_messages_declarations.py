"""The declarations say what the JSON in Kafka's jars says."""

from __future__ import annotations

from pathlib import Path

import pytest
from java_oracle import KAFKA_VERSION, libs_folder
from kafka_schema import FieldSpec, MessageSpec, StructSpec, load_messages
from wire_values import message_classes

from odradek.wire.schema import KAFKA_DEFAULT, Field, FieldType, Message, Struct, version_range

FAMILY_OF_JAR = {
    "kafka-clients": "odradek.wire.messages",
    "kafka-metadata": "odradek.wire.persistent.metadata",
    "kafka-group-coordinator": "odradek.wire.persistent.group",
    "kafka-transaction-coordinator": "odradek.wire.persistent.transaction",
    "kafka-share-coordinator": "odradek.wire.persistent.share",
    "kafka-raft": "odradek.wire.persistent.raft",
    "kafka-storage": "odradek.wire.persistent.storage",
}


@pytest.fixture(scope="module")
def libs() -> Path:
    folder = libs_folder()
    if folder is None:
        pytest.skip(f"no jars of Apache Kafka {KAFKA_VERSION} (set ODRADEK_KAFKA_LIBS to their folder)")
    return folder


def declared_kind(kind: FieldType[object]) -> tuple[str, bool, type[Struct] | None]:
    """Kafka's name of a primitive type, "" for structs; whether an array; the struct."""
    inner = kind.element or kind
    return ("" if inner.struct else inner.kind), kind.element is not None, inner.struct


def declared_default(declared: Field) -> str:
    """The default as Kafka's JSON would say it; "" for the type's own."""
    default = declared.default
    if default is None:
        return "null"
    if default is KAFKA_DEFAULT or default == declared.type.zero:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def kafka_default(spec: FieldSpec) -> str:
    if spec.default == "null":
        return "null"
    if spec.kind == "records" and spec.nullable is not None:
        return "null"
    if spec.kind == "bool":
        return "" if spec.default in ("", "false") else spec.default
    if spec.kind == "string" or spec.default == "":
        return spec.default
    number = int(spec.default, 0)
    return str(number) if number else ""


def field_differences(
    where: str, spec: FieldSpec, declared: Field, version: int, structs: list[StructSpec]
) -> list[str]:
    kind, is_array, struct_class = declared_kind(declared.type)
    ours = {
        "name": declared.kafka_name,
        "array": is_array,
        "versions": declared.versions,
        "nullable": declared.nullable,
        "default": declared_default(declared),
        "tag": declared.tag,
        "tagged": version_range(declared.tagged or declared.versions, version) if declared.tag is not None else None,
        "ignorable": declared.ignorable,
        "map_key": declared.map_key,
        "flexible": declared.flexible,
        "kind": kind,
    }
    nested = next((struct for struct in structs if struct.name == spec.kind), None)
    theirs = {
        "name": spec.name,
        "array": spec.is_array,
        "versions": spec.versions,
        "nullable": spec.nullable,
        "default": kafka_default(spec),
        "tag": spec.tag,
        "tagged": version_range(spec.tagged, version) if spec.tag is not None else None,
        "ignorable": spec.ignorable,
        "map_key": spec.map_key,
        "flexible": spec.flexible,
        "kind": "" if nested else spec.kind,
    }
    found = [
        f"{where}.{spec.name}: {key} is {ours[key]!r}, Kafka's {theirs[key]!r}"
        for key in ours
        if ours[key] != theirs[key]
    ]
    if nested is not None and struct_class is not None:
        if not struct_class.__name__.endswith(nested.name):
            found.append(f"{where}.{spec.name} is a {struct_class.__name__}, Kafka's a {nested.name}")
        found += struct_differences(f"{where}.{spec.name}", nested, struct_class, version, structs)
    return found


def struct_differences(
    where: str, spec: StructSpec, cls: type[Struct], version: int, structs: list[StructSpec]
) -> list[str]:
    if len(spec.fields) != len(cls.FIELDS):
        return [f"{where} has {len(cls.FIELDS)} fields, Kafka's {len(spec.fields)}"]
    found = []
    for theirs, ours in zip(spec.fields, cls.FIELDS, strict=True):
        found += field_differences(where, theirs, ours, version, structs)
    return found


def message_differences(spec: MessageSpec, cls: type[Message]) -> list[str]:
    first, _, last = spec.valid.partition("-")
    highest = int(last or first)
    ours = (cls.API_KEY, cls.KIND, cls.MIN_VERSION, cls.MAX_VERSION, cls.FLEXIBLE, cls.LISTENERS, cls.LATEST_UNSTABLE)
    theirs = (
        spec.api_key,
        spec.kind,
        int(first),
        highest,
        version_range(spec.flexible, highest),
        spec.listeners,
        spec.latest_unstable,
    )
    found = [] if ours == theirs else [f"{spec.name}: {ours}, Kafka's {theirs}"]
    return found + struct_differences(spec.name, spec.body, cls, highest, spec.structs)


def test_every_declaration_equals_the_jars_json(libs: Path) -> None:
    classes = message_classes()
    found = []
    seen = set()
    for spec in load_messages(libs, KAFKA_VERSION):
        family = FAMILY_OF_JAR[spec.jar]
        cls = next((c for c in classes if spec.name == c.NAME and c.__module__.startswith(family + ".")), None)
        if cls is None:
            found.append(f"{spec.name} of {spec.jar} is not declared")
        else:
            seen.add(cls)
            found += message_differences(spec, cls)
    found += [f"Kafka has no {cls.__module__}.{cls.NAME}" for cls in classes if cls not in seen]
    assert found == []
