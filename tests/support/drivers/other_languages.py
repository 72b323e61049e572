"""Builds the drivers in Java and Go once, into the project's cache, and starts them."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.apache import ROOT, Unavailable, require
from tests.support.drivers.subprocess_driver import SubprocessDriver

CACHE = ROOT / ".cache" / "drivers"
BUILD_TIMEOUT_S = 600


def java_driver(bootstrap: str, log_path: Path) -> SubprocessDriver:
    """kafka-clients. Raises Unavailable."""
    require("java", "mvn")
    project = ROOT / "tests" / "java"
    built = CACHE / f"java-{_digest(project / 'pom.xml', *sorted(project.rglob('*.java')))}"
    if not (built / "done").exists():
        command = ["mvn", "-q", "-B", "-f", str(project / "pom.xml"), f"-Doutput.directory={built}"]
        _build([*command, "compile", "dependency:copy-dependencies", f"-DoutputDirectory={built}/libs"], project)
        (built / "done").touch()
    options = ["-Xmx256m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    argv = ["java", *options, "-cp", f"{built}/classes:{built}/libs/*", "odradek.tests.Driver", bootstrap]
    return SubprocessDriver("java", argv, log_path)


def sarama_driver(bootstrap: str, log_path: Path) -> SubprocessDriver:
    """Sarama. Raises Unavailable."""
    require("go")
    project = ROOT / "tests" / "go"
    built = CACHE / f"sarama-{_digest(project / 'go.mod', project / 'go.sum', *sorted(project.glob('*.go')))}"
    if not built.exists():
        _build(["go", "build", "-o", str(built), "."], project, {"CGO_ENABLED": "0"})
    return SubprocessDriver("sarama", [str(built), bootstrap], log_path)


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _build(argv: list[str], directory: Path, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        argv,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
        env={**os.environ, **(env or {})},
    )
    if done.returncode:
        raise Unavailable(f"{argv[0]} could not build the driver: {done.stdout[-800:]}{done.stderr[-800:]}")
