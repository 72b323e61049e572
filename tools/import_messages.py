"""Writes the declarations of Kafka's messages from the jars' JSON: `python tools/import_messages.py LIBS [VERSION]`.

LIBS is a folder with the jars of Apache Kafka VERSION (default 4.4.0). Everything under `odradek/wire/messages` and
`odradek/wire/persistent` that declares messages is rewritten, and `odradek/wire/api_table.py`, so that a new Kafka
release is one command and a diff.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

from kafka_schema import PRIMITIVES, FieldSpec, MessageSpec, StructSpec, load_messages, snake_case

DEFAULT_VERSION = "4.4.0"
WIRE = Path(__file__).resolve().parent.parent / "odradek" / "wire"
FAMILIES = {
    "kafka-metadata": "metadata",
    "kafka-group-coordinator": "group",
    "kafka-transaction-coordinator": "transaction",
    "kafka-share-coordinator": "share",
    "kafka-raft": "raft",
    "kafka-storage": "storage",
}
TOPICS = {
    "kafka-group-coordinator": "__consumer_offsets",
    "kafka-transaction-coordinator": "__transaction_state",
    "kafka-share-coordinator": "__share_group_state",
}
PYTHON_TYPES = {
    "bool": "bool",
    "string": "str",
    "bytes": "bytes",
    "records": "Records",
    "uuid": "Uuid",
    "float64": "float",
}
"""The others are `int`."""


def main() -> int:
    parser = argparse.ArgumentParser(description="write the message declarations from Kafka's jars")
    parser.add_argument("libs", type=Path, help="folder with Kafka's jars")
    parser.add_argument("version", nargs="?", default=DEFAULT_VERSION, help="Kafka's version")
    arguments = parser.parse_args()
    messages = load_messages(arguments.libs, arguments.version)
    written = write_modules(messages)
    written += write_registries(messages)
    written.append(write_api_table(messages, arguments.version))
    for command in (["check", "--fix", "--quiet", "--select", "I,F401"], ["format", "--quiet"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, *map(str, written)], check=True)
    sys.stdout.write(f"{len(messages)} messages in {len(written)} files\n")
    return 0


def module_of(message: MessageSpec) -> tuple[str, str]:
    """The package under `odradek.wire` and the module that declare `message`."""
    if message.jar != "kafka-clients":
        stem = message.name
        for ending in ("Key", "Value", "Data"):
            stem = stem.removesuffix(ending)
        return f"persistent.{FAMILIES[message.jar]}", snake_case(stem)
    if message.kind in ("request", "response"):
        return "messages", snake_case(message.name.removesuffix("Request").removesuffix("Response"))
    if message.kind == "header":
        return "messages", "headers"
    if message.name.startswith("ConsumerProtocol"):
        return "messages", "consumer_protocol"
    return "messages", snake_case(message.name)


def write_modules(messages: list[MessageSpec]) -> list[Path]:
    modules: dict[tuple[str, str], list[MessageSpec]] = defaultdict(list)
    for message in messages:
        modules[module_of(message)].append(message)
    written = []
    for (package, module), members in modules.items():
        path = WIRE.joinpath(*package.split("."), f"{module}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(module_text(members))
        written.append(path)
    return written


def module_text(messages: list[MessageSpec]) -> str:
    """The source of the module that declares `messages` (a request and its response, a key and its value)."""
    counts = Counter(struct.name for message in messages for struct in message.structs)
    counts.update(message.name for message in messages)
    body = []
    used: set[str] = set()
    for message in messages:
        names = {s.name: message.name + s.name if counts[s.name] > 1 else s.name for s in message.structs}
        for struct in message.structs:
            body.append(f"class {names[struct.name]}(Struct):\n{fields_text(struct, names, used)}")
            used.add("Struct")
        head = f"class {message.name}(Message, {header_text(message)}):\n"
        body.append(head + fields_text(message.body, names, used))
    imports = ", ".join(sorted({"Message", *used} - {"Uuid"}))
    lines = [f'"""{docstring(messages)}"""', "", "from __future__ import annotations", ""]
    lines.append(f"from odradek.wire.schema import {imports}")
    if "Uuid" in used:
        lines.append("from odradek.wire.uuids import Uuid")
    return "\n".join(lines) + "\n\n\n" + "\n\n\n".join(body) + "\n"


def docstring(messages: list[MessageSpec]) -> str:
    first = messages[0]
    if first.kind in ("request", "response"):
        name = first.name.removesuffix("Request").removesuffix("Response")
        return f"{name} (API key {first.api_key}): request and response."
    if first.kind == "header":
        return "The headers in front of every request and response."
    if first.kind == "metadata":
        where = "of the cluster metadata log" if first.jar == "kafka-metadata" else "of the remote log metadata topic"
        return f"{first.name} (type {first.api_key}) {where}."
    if first.kind.startswith("coordinator"):
        where = TOPICS[first.jar]
        kinds = " and ".join(message.kind.removeprefix("coordinator-") for message in messages)
        return f"{first.name.removesuffix('Key').removesuffix('Value')} (type {first.api_key}) in {where}: {kinds}."
    return ", ".join(message.name for message in messages) + "."


def header_text(message: MessageSpec) -> str:
    parts = [f'kind="{message.kind}"']
    if message.api_key is not None:
        parts.append(f"api_key={message.api_key}")
    parts += [f'versions="{message.valid}"', f'flexible="{message.flexible}"']
    if message.listeners:
        parts.append(f"listeners={message.listeners!r}".replace("'", '"'))
    if message.latest_unstable:
        parts.append("latest_unstable=True")
    return ", ".join(parts)


def fields_text(struct: StructSpec, names: dict[str, str], used: set[str]) -> str:
    if not struct.fields:
        return "    pass"
    return "\n".join(f"    {field_text(spec, names, used)}" for spec in struct.fields)


def field_text(spec: FieldSpec, names: dict[str, str], used: set[str]) -> str:
    used.add("field")
    annotation = names.get(spec.kind) or PYTHON_TYPES.get(spec.kind, "int")
    kind = names.get(spec.kind) or spec.kind.upper()
    if spec.kind in PRIMITIVES:
        used.add(spec.kind.upper())
        used |= {annotation} & {"Records", "Uuid"}
    if spec.is_array:
        annotation, kind = f"list[{annotation}]", f"array({kind})"
        used.add("array")
    elif spec.kind in names:
        kind = f"nested({kind})"
        used.add("nested")
    if spec.nullable is not None:
        annotation += " | None"
    arguments = [kind, f'"{spec.versions}"', *options(spec)]
    return f"{snake_case(spec.name)}: {annotation} = field({', '.join(arguments)})"


def options(spec: FieldSpec) -> list[str]:
    found = []
    if spec.nullable is not None:
        found.append(f'nullable="{spec.nullable}"')
    if spec.default != "":
        found.append(f"default={default_text(spec)}")
    if spec.tag is not None:
        found.append(f"tag={spec.tag}")
        if spec.tagged != spec.versions:
            found.append(f'tagged="{spec.tagged}"')
    if spec.ignorable:
        found.append("ignorable=True")
    if spec.map_key:
        found.append("map_key=True")
    if spec.flexible is not None:
        found.append(f'flexible="{spec.flexible}"')
    if "".join(word.capitalize() for word in snake_case(spec.name).split("_")) != spec.name:
        found.append(f'kafka_name="{spec.name}"')
    return found


def default_text(spec: FieldSpec) -> str:
    if spec.default == "null":
        return "None"
    if spec.kind == "bool":
        return str(spec.default == "true")
    if spec.kind == "string":
        return repr(spec.default)
    return str(int(spec.default, 0))


def write_registries(messages: list[MessageSpec]) -> list[Path]:
    """One table per family: record type to module and class, so that a lookup imports one module only."""
    written = []
    titles = {
        "metadata": "Records of the cluster metadata log, by their type.",
        "group": "Keys and values of __consumer_offsets, by their type.",
        "transaction": "Keys and values of __transaction_state, by their type.",
        "share": "Keys and values of __share_group_state, by their type.",
        "raft": "The quorum's own state.",
        "storage": "Records that a log keeps beside itself, and those of the remote log metadata topic.",
    }
    for jar, family in FAMILIES.items():
        members = [message for message in messages if message.jar == jar]
        kinds = {"coordinator-key": "KEYS", "coordinator-value": "VALUES", "metadata": "RECORDS"}
        getters = {"KEYS": "key_class", "VALUES": "value_class", "RECORDS": "record_class"}
        lines = [f'"""{titles[family]}"""', "", "from __future__ import annotations", ""]
        exported = []
        for kind, table in kinds.items():
            rows = sorted((m.api_key or 0, module_of(m)[1], m.name) for m in members if m.kind == kind)
            if rows:
                exported += [table, getters[table]]
                lines += [f"{table}: Registry = Registry(", f'"odradek.wire.persistent.{family}",', "{"]
                lines += [f'{key}: ("{module}", "{name}"),' for key, module, name in rows]
                lines += ["})", f"{getters[table]} = {table}.record_class"]
        if exported:
            lines.insert(4, "from odradek.wire.persistent.registry import Registry\n")
            lines.append("\n__all__ = [" + ", ".join(f'"{name}"' for name in exported) + "]")
        path = WIRE / "persistent" / family / "__init__.py"
        path.write_text("\n".join(lines).rstrip() + "\n")
        written.append(path)
    return written


def write_api_table(messages: list[MessageSpec], version: str) -> Path:
    """The table of APIs, which must not import their messages."""
    requests = sorted((m for m in messages if m.kind == "request"), key=lambda m: m.api_key or 0)
    lines = [
        f'"""The APIs of Apache Kafka {version}: keys, names, versions, and who answers them."""',
        "",
        "from __future__ import annotations",
        "",
        "from enum import IntEnum",
        "from typing import NamedTuple",
        "",
        "",
        "class ApiKey(IntEnum):",
        '    """The number that says which API a request is of."""',
        "",
    ]
    lines += [f"    {module_of(request)[1].upper()} = {request.api_key}" for request in requests]
    lines += [
        "",
        "",
        "class Api(NamedTuple):",
        '    """Where an API is declared, and the facts that are needed before a message is read."""',
        "",
        "    module: str",
        "    name: str",
        "    min_version: int",
        "    max_version: int",
        "    first_flexible: int | None",
        "    listeners: tuple[str, ...]",
        "    latest_unstable: bool",
        "",
        "",
        "APIS: dict[int, Api] = {",
    ]
    for request in requests:
        low, _, high = request.valid.partition("-")
        flexible = None if request.flexible == "none" else int(request.flexible.rstrip("+"))
        name = request.name.removesuffix("Request")
        lines.append(
            f'    {request.api_key}: Api("{module_of(request)[1]}", "{name}", {low}, {high or low}, {flexible}, '
            f"{request.listeners!r}, {request.latest_unstable}),".replace("'", '"')
        )
    lines.append("}")
    path = WIRE / "api_table.py"
    path.write_text("\n".join(lines) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
