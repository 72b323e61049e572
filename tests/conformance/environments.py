"""The interpreters and versions that the cases run with: the newest clients, and those of two years back."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.support.apache import ROOT, VERSION

HERE = Path(__file__).parent
OLDER = HERE / "two-years-back.txt"
INSTALL_TIMEOUT_S = 600
_PACKAGES = {"librdkafka": "confluent-kafka", "kafka-python": "kafka-python", "aiokafka": "aiokafka"}
_ASK = "import importlib.metadata as m, json, sys; print(json.dumps([m.version(name) for name in sys.argv[1:]]))"


class Environment(NamedTuple):
    """An interpreter with clients in it, what else chooses versions, and the clients that it is for (none: all)."""

    python: Path
    variables: Mapping[str, str]
    clients: tuple[str, ...]
    java: str

    def versions(self) -> dict[str, str]:
        """The version of each client."""
        done = subprocess.run(
            [str(self.python), "-c", _ASK, *_PACKAGES.values()], capture_output=True, text=True, timeout=60, check=True
        )
        return {**dict(zip(_PACKAGES, json.loads(done.stdout), strict=True)), "java": self.java, "sarama": _sarama()}


def newest() -> Environment:
    """What the development tools have: this interpreter's clients."""
    return Environment(Path(sys.executable), {}, (), VERSION)


def older() -> Environment:
    """The clients of two years back; the Python ones are installed into the project's cache at first.

    Raises subprocess.CalledProcessError where pip cannot do it.
    """
    digest = hashlib.sha256(OLDER.read_bytes() + sys.version.encode()).hexdigest()[:16]
    directory = ROOT / ".cache" / "clients" / f"two-years-back-{digest}"
    python = directory / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (directory / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(directory)], timeout=INSTALL_TIMEOUT_S, check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", str(OLDER)], timeout=INSTALL_TIMEOUT_S, check=True)
        (directory / "done").touch()
    match = re.search(r"<kafka.version>(3\.9[^<]*)<", (ROOT / "tests" / "java" / "pom.xml").read_text())
    assert match is not None, "the profile kafka-3.9 names a version"
    return Environment(python, {"ODRADEK_JAVA_CLIENT": "3.9"}, (*_PACKAGES, "java"), match[1])


def _sarama() -> str:
    match = re.search(r"IBM/sarama v(\S+)", (ROOT / "tests" / "go" / "go.mod").read_text())
    return match[1] if match else ""
