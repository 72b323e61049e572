"""Asks Apache Kafka's own classes to encode and decode messages, in one JVM for any number of questions."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from odradek.wire.schema import Message

ROOT = Path(__file__).resolve().parent.parent
KAFKA_VERSION = "4.4.0"
PROGRAM = ROOT / "tools" / "oracle" / "MessageOracle.java"
TIMEOUT_S = 300

_PACKAGES = {
    "messages": "org.apache.kafka.common.message",
    "metadata": "org.apache.kafka.common.metadata",
    "group": "org.apache.kafka.coordinator.group.generated",
    "transaction": "org.apache.kafka.coordinator.transaction.generated",
    "share": "org.apache.kafka.coordinator.share.generated",
    "raft": "org.apache.kafka.raft.generated",
    "storage": "org.apache.kafka.server.log.remote.metadata.storage.generated",
}


@dataclass(frozen=True)
class Question:
    """`direction` is "e" (payload: JSON, answer: hex) or "d" (payload: hex, answer: JSON, tab, hex)."""

    direction: str
    message: type[Message]
    version: int
    payload: str


def libs_folder() -> Path | None:
    """The folder of Kafka's jars: ODRADEK_KAFKA_LIBS, else the one that the compatibility suite fills, else None."""
    named = os.environ.get("ODRADEK_KAFKA_LIBS")
    folder = Path(named) if named else ROOT / ".cache" / "kafka" / KAFKA_VERSION / "libs"
    return folder if (folder / f"kafka-clients-{KAFKA_VERSION}.jar").exists() else None


def why_not() -> str | None:
    """What is missing to run the oracle; None if nothing is."""
    if shutil.which("java") is None:
        return "no java on the PATH"
    if libs_folder() is None:
        return f"no jars of Apache Kafka {KAFKA_VERSION} (set ODRADEK_KAFKA_LIBS to their folder)"
    return None


def java_name(cls: type[Message]) -> str:
    """The Java class of a message."""
    package = cls.__module__.removeprefix("odradek.wire.").split(".")
    family = package[0] if package[0] == "messages" else package[1]
    ending = "Data" if cls.KIND in ("request", "response", "header") else ""
    return f"{_PACKAGES[family]}.{cls.__name__}{ending}"


def ask(questions: list[Question]) -> list[str]:
    """The answers, in order; `ValueError` with the first question that Kafka's classes reject."""
    answers = ask_for_verdicts(questions)
    for question, (verdict, text) in zip(questions, answers, strict=True):
        if verdict != "ok":
            raise ValueError(f"Kafka rejects {question}: {text}")
    return [text for _, text in answers]


def ask_for_verdicts(questions: list[Question]) -> list[tuple[str, str]]:
    """Like `ask`, with each answer's verdict: ("ok", answer) or ("error", what Kafka threw)."""
    lines = [f"{q.direction}\t{java_name(q.message)}\t{q.version}\t{q.payload}\n" for q in questions]
    ran = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{libs_folder()}/*", str(PROGRAM)],
        input="".join(lines),
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=True,
    )
    answers = []
    for line in ran.stdout.splitlines():
        verdict, _, text = line.partition("\t")
        answers.append((verdict, text))
    if len(answers) != len(questions):
        raise ValueError(f"{len(questions)} questions, {len(answers)} answers: {ran.stderr}")
    return answers
