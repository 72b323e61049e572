"""Starts the drivers in Java and Go."""

from __future__ import annotations

from pathlib import Path

from tests.support.apache import ROOT, require
from tests.support.building import CACHE, build, digest, java_classpath
from tests.support.drivers.subprocess_driver import SubprocessDriver


def java_driver(bootstrap: str, log_path: Path) -> SubprocessDriver:
    """kafka-clients. Raises Unavailable."""
    classpath = java_classpath(ROOT / "tests" / "java")
    options = ["-Xmx256m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return SubprocessDriver("java", ["java", *options, "-cp", classpath, "odradek.tests.Driver", bootstrap], log_path)


def sarama_driver(bootstrap: str, log_path: Path) -> SubprocessDriver:
    """Sarama. Raises Unavailable."""
    require("go")
    project = ROOT / "tests" / "go"
    built = CACHE / f"sarama-{digest(project / 'go.mod', project / 'go.sum', *sorted(project.glob('*.go')))}"
    if not built.exists():
        build(["go", "build", "-o", str(built), "."], project, {"CGO_ENABLED": "0"})
    return SubprocessDriver("sarama", [str(built), bootstrap], log_path)
