"""Regenerates the corpus of golden bytes: `ODRADEK_KAFKA_LIBS=... python tools/golden.py`. Needs Java and Kafka's jars.

Each line of a corpus file is a JSON list: class, version, the bytes in hex that Apache Kafka writes, the JSON that it
wrote them for, and whether the bytes hold tagged fields unknown to the schema (which have no JSON form).
"""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import cast

from java_oracle import ROOT, Question, ask_for_verdicts, why_not
from wire_values import message_classes, random_value, versions_of

from odradek.wire.json_form import Json, json_name, to_json
from odradek.wire.schema import Message, Struct

CORPUS = ROOT / "tests" / "unit" / "wire" / "golden"
SEED = 440
VALUES_PER_VERSION = 5


@dataclass(frozen=True)
class Case:
    """A value in one version, and whether some struct in it has unknown tags."""

    value: Message
    version: int
    has_unknown_tags: bool

    @property
    def label(self) -> str:
        return f"{type(self.value).__module__}.{type(self.value).__name__} version {self.version}"


def main() -> int:
    missing = why_not()
    if missing is not None:
        sys.stderr.write(f"cannot generate: {missing}\n")
        return 1
    cases = make_cases(SEED, VALUES_PER_VERSION)
    differences, kafka_bytes = compare(cases)
    if differences:
        sys.stderr.write("\n".join(differences[:20]) + f"\n{len(differences)} differences\n")
        return 1
    CORPUS.mkdir(exist_ok=True)
    for family, lines in corpus_lines(cases, kafka_bytes).items():
        text = "".join(line + "\n" for line in lines)
        (CORPUS / f"{family}.jsonl.gz").write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    sys.stdout.write(f"{len(cases)} values\n")
    return 0


def family_of(cls: type[Message]) -> str:
    """`messages`, or the name of the persistent family."""
    package = cls.__module__.removeprefix("odradek.wire.").split(".")
    return package[0] if package[0] == "messages" else package[1]


def make_cases(seed: int, values_per_version: int) -> list[Case]:
    """For every message and version: the defaults, then random values, every other one with unknown tags."""
    cases = []
    for cls in message_classes():
        random = Random(f"{seed} {cls.__name__}")
        for version in versions_of(cls):
            cases.append(Case(cls(), version, has_unknown_tags=False))
            for index in range(values_per_version):
                value = random_value(cls, version, random, unknown_tags=index % 2 == 1)
                cases.append(Case(value, version, carries_unknown_tags(value)))
    return cases


def carries_unknown_tags(value: object) -> bool:
    if isinstance(value, list):
        return any(carries_unknown_tags(item) for item in value)
    if not isinstance(value, Struct):
        return False
    return bool(value.unknown_tags) or any(carries_unknown_tags(getattr(value, f.name)) for f in value.FIELDS)


def compare(cases: list[Case]) -> tuple[list[str], list[str]]:
    """What differs between Kafka's codec and ours, as readable lines; and Kafka's bytes for each case, in hex."""
    questions = []
    for case in cases:
        text = json.dumps(to_json(case.value, case.version))
        questions.append(Question("e", type(case.value), case.version, text))
        questions.append(Question("d", type(case.value), case.version, case.value.encode(case.version).hex()))
    answers = ask_for_verdicts(questions)
    differences: list[str] = []
    kafka_bytes = []
    for case, encoded, decoded in zip(cases, answers[::2], answers[1::2], strict=True):
        differences += [f"{case.label}: {what}" for what in _differences(case, encoded, decoded)]
        kafka_bytes.append(decoded[1].rpartition("\t")[2])
    return differences, kafka_bytes


def _differences(case: Case, encoded: tuple[str, str], decoded: tuple[str, str]) -> list[str]:
    ours = case.value.encode(case.version).hex()
    if encoded[0] != "ok":
        return [f"Kafka does not encode {case.value}: {encoded[1]}"]
    if decoded[0] != "ok":
        return [f"Kafka does not decode {ours}: {decoded[1]}"]
    found = []
    if not case.has_unknown_tags and encoded[1] != ours:
        found.append(f"for {case.value} Kafka writes {encoded[1]}, we write {ours}")
    kafka_json, _, kafka_bytes = decoded[1].rpartition("\t")
    if kafka_bytes != ours:
        found.append(f"what Kafka reads from {ours} it writes as {kafka_bytes}")
    read_by_kafka = without_records(type(case.value), json.loads(kafka_json))
    if read_by_kafka != without_records(type(case.value), to_json(case.value, case.version)):
        found.append(f"in {ours} Kafka reads {kafka_json}, we wrote {case.value}")
    if type(case.value).decode(bytes.fromhex(kafka_bytes), case.version) != case.value:
        found.append(f"we do not read {case.value} in {kafka_bytes}")
    return found


def without_records(cls: type[Struct], raw: Json) -> Json:
    """The JSON with records emptied, as Kafka does when it writes JSON."""
    if not isinstance(raw, dict):
        return raw
    found = dict(raw)
    for declared in cls.FIELDS:
        inner = declared.type.element or declared.type
        content = found.get(json_name(declared))
        if inner.kind == "records" and content is not None:
            found[json_name(declared)] = ""
        elif inner.struct is not None and isinstance(content, list):
            found[json_name(declared)] = [without_records(inner.struct, item) for item in content]
        elif inner.struct is not None and content is not None:
            found[json_name(declared)] = without_records(inner.struct, content)
    return found


def corpus_lines(cases: list[Case], kafka_bytes: list[str]) -> dict[str, list[str]]:
    """The corpus, by family."""
    lines: dict[str, list[str]] = {}
    for case, content in zip(cases, kafka_bytes, strict=True):
        cls = type(case.value)
        entry = [cls.__name__, case.version, content, to_json(case.value, case.version), case.has_unknown_tags]
        text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        lines.setdefault(family_of(cls), []).append(text)
    return lines


def read_corpus(path: Path) -> list[tuple[str, int, bytes, Json, bool]]:
    """The entries of one corpus file: class name, version, bytes, JSON, has unknown tags."""
    found = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        name, version, content, raw, has_unknown_tags = json.loads(line)
        found.append(
            (cast("str", name), int(version), bytes.fromhex(content), cast("Json", raw), bool(has_unknown_tags))
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
