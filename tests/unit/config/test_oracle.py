"""The table, the rules and the texts are those of Apache Kafka's jars; skipped where Java or the jars are missing."""

from __future__ import annotations

import base64
import json
import random
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from java_oracle import ROOT, libs_folder, why_not

from odradek.config.properties import PROPERTIES_ENCODING, parse_properties
from odradek.config.table import (
    BROKER,
    BROKER_QUOTAS,
    CLIENT_METRICS,
    CLUSTER_LISTENER_KEYS,
    DYNAMIC_SECURITY_KEYS,
    GROUP,
    GROUP_SYNONYMS,
    LISTENER_MECHANISM_KEYS,
    TOPIC,
    TOPIC_SYNONYMS,
    broker_synonyms,
)
from odradek.config.types import ConfigError, ConfigKey, Scope, format_double
from odradek.config.validators import ListOf

PROGRAM = ROOT / "tools" / "oracle" / "ConfigOracle.java"
CASES = Path(__file__).parent / "data" / "validation.tsv"
TIMEOUT_S = 120
KINDS = {"broker": BROKER, "topic": TOPIC, "group": GROUP, "client_metrics": CLIENT_METRICS}


def _ask(mode: str, lines: list[str] | None = None) -> list[Any]:
    missing = why_not()
    if missing is not None:
        pytest.skip(missing)
    ran = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{libs_folder()}/*", str(PROGRAM), mode],
        input="".join(f"{line}\n" for line in lines or []),
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=True,
    )
    return [json.loads(line) for line in ran.stdout.splitlines()]


@cache
def _table() -> dict[str, Any]:
    (table,) = _ask("table")
    assert isinstance(table, dict)
    return table


def _row(key: ConfigKey) -> dict[str, object]:
    row: dict[str, object] = {
        "type": key.type.name,
        "required": key.required,
        "default": key.default_text,
        "importance": key.importance.name,
        "internal": key.internal,
        "validator": key.validator.describe() if key.validator else None,
    }
    if isinstance(key.validator, ListOf):
        row |= {"isEmptyAllowed": key.validator.allow_empty, "isNullAllowed": key.validator.allow_null}
    return row


@pytest.mark.parametrize("kind", [*KINDS, "broker_only_dynamic"])
def test_every_key_is_kafkas(kind: str) -> None:
    theirs = {
        name: {field: value for field, value in row.items() if field != "validator_class"}
        for name, row in _table()[kind].items()
    }
    ours = {name: _row(key) for name, key in KINDS.get(kind, BROKER_QUOTAS).items()}
    assert ours == theirs


def test_scopes_are_kafkas() -> None:
    dynamic = {**BROKER, **BROKER_QUOTAS}
    scopes = {name: key.scope.value for name, key in dynamic.items() if key.scope is not Scope.READ_ONLY}
    assert scopes == _table()["update_modes"]
    assert sorted(DYNAMIC_SECURITY_KEYS) == _table()["dynamic_security_configs"]
    assert sorted(CLUSTER_LISTENER_KEYS) == _table()["cluster_level_listener_configs"]
    assert sorted(LISTENER_MECHANISM_KEYS) == _table()["listener_mechanism_configs"]


def test_synonyms_are_kafkas() -> None:
    # The oracle shows a synonym's unit as what it makes of the value 1.
    topic = {
        name: [[synonym, str(factor)] for synonym, factor in synonyms] for name, synonyms in TOPIC_SYNONYMS.items()
    }
    assert topic == _table()["topic_synonyms"]
    assert {name: GROUP_SYNONYMS.get(name) for name in GROUP} == _table()["group_synonyms"]
    broker = {name: list(broker_synonyms(name)) for name in BROKER if broker_synonyms(name) != (name,)}
    assert broker == _table()["broker_synonyms"]
    for kind, name in (
        ("listener_synonyms", "listener.name.internal.ssl.keystore.location"),
        ("listener_mechanism_synonyms", "listener.name.internal.scram-sha-256.sasl.jaas.config"),
    ):
        assert list(broker_synonyms(name)) == _table()[kind]


def test_the_recorded_answers_are_still_kafkas() -> None:
    recorded = [line.partition("\t") for line in CASES.read_text(encoding="utf-8").splitlines()]
    answers = _ask("validate", [case for _, _, case in recorded])
    assert [answer.replace("\t", " ") for answer in answers] == [answer for answer, _, _ in recorded]


def test_properties_files_are_read_as_java_reads_them() -> None:
    generator = random.Random(226)
    pieces = ["a", "b.c", "=", ":", " ", "\t", "\f", "\\", "\n", "\r", "\r\n", "#", "!", "\\u0041", "\\u00e", "\\n"]
    pieces.append("\N{LATIN SMALL LETTER E WITH ACUTE}")
    texts = ["".join(generator.choices(pieces, k=generator.randint(0, 24))) for _ in range(3000)]
    encoded = [base64.b64encode(text.encode(PROPERTIES_ENCODING)).decode() for text in texts]
    for text, theirs in zip(texts, _ask("text", [f"properties\t{each}" for each in encoded]), strict=True):
        ours: dict[str, str] | str
        try:
            ours = parse_properties(text)
        except ConfigError:
            ours = "malformed"
        if isinstance(ours, dict) and isinstance(theirs, dict):
            # Whether a lone backslash at the end of a file is an empty property depends on Java's buffer.
            ours.pop("", None)
            theirs.pop("", None)
        assert ours == theirs, repr(text)


def test_doubles_are_written_as_java_writes_them() -> None:
    generator = random.Random(133)
    values = [generator.uniform(-2, 2) * 10 ** generator.randint(-12, 18) for _ in range(500)]
    values += [round(value, 3) for value in values] + [0.0, -0.0, 1e-3, 1e7, 9_999_999.5, 1.7976931348623157e308, 0.9]
    lines = [f"double\t{struct.pack('>d', value).hex()}" for value in values]
    differences = [
        (ours, theirs)
        for ours, theirs in zip(map(format_double, values), _ask("text", lines), strict=True)
        # Before Java 19, Double.toString wrote some numbers with a digit more than needed (JDK-4511638).
        if ours != theirs and (float(ours) != float(theirs) or len(theirs) <= len(ours))
    ]
    assert differences == []
