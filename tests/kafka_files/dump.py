"""Apache Kafka's DumpLogSegments, over one or many files."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.apache import Unavailable, require, tools_libs

FILE_OF_A_LOG = re.compile(r"\d{20}\.(log|index|timeindex|txnindex|snapshot)|\d{20}-\d{10}\.checkpoint")


def tools_or_skip() -> Path:
    """The directory with the tools' jars; skips the test where they cannot be had."""
    try:
        require("java")
        return tools_libs()
    except Unavailable as error:
        pytest.skip(f"Apache Kafka's tools cannot be run: {error}")


def files_of(*directories: Path) -> list[Path]:
    """The files of logs that the tool can read."""
    return [path for each in directories for path in sorted(each.iterdir()) if FILE_OF_A_LOG.fullmatch(path.name)]


def dump(libs: Path, files: Iterable[Path], *arguments: str) -> str:
    """All that the tool says about the files."""
    command = ["java", "-cp", f"{libs}/*", "org.apache.kafka.tools.DumpLogSegments", *arguments]
    command += ["--files", ",".join(map(str, files))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout + done.stderr


def complaints(text: str) -> list[str]:
    """The lines in which the tool says that something is wrong."""
    wrong = re.compile(
        r"isvalid: false|Mismatches|out of order|Found timestamp|fail(ed)? to|Could not|invalid bytes|[a-z]Exception",
        re.IGNORECASE,
    )
    return [line for line in text.splitlines() if wrong.search(line) and not line.startswith("SLF4J: ")]
