"""Kafka's command line tools in one process of Java, since each start of one costs more than what the tool does."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.support.apache import kafka_libs, require, tools_libs

SOURCE = Path(__file__).parent / "java" / "KafkaTools.java"
JVM_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m")
END_TIMEOUT_S = 10.0
TOOLS = "org.apache.kafka.tools."


class Ran(NamedTuple):
    """What a tool left: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str


class KafkaTools:
    """Runs tools one after the other; the newest release of the tools on Apache Kafka 4.4.0's own libraries.

    Raises Unavailable where Java or the jars are missing.
    """

    def __init__(self) -> None:
        require("java")
        classpath = f"{kafka_libs()}/*:{tools_libs()}/*"
        self._process = subprocess.Popen(
            ["java", *JVM_OPTIONS, "-cp", classpath, str(SOURCE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, tool: str, *arguments: str) -> Ran:
        """Run `org.apache.kafka.tools.<tool>`; whatever it prints and its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\t".join([TOOLS + tool, *arguments]) + "\n")
        self._process.stdin.flush()
        code, out, err = self._process.stdout.readline().rstrip("\n").split("\t")
        return Ran(int(code), base64.b64decode(out).decode(), base64.b64decode(err).decode())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
