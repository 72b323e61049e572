"""Builds what the tests have in Java, Go and other Pythons once, into the project's cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.apache import ROOT, Unavailable, require

CACHE = ROOT / ".cache" / "drivers"
BUILD_TIMEOUT_S = 600
JAVA_CLIENT_VARIABLE = "ODRADEK_JAVA_CLIENT"
"""Which of the profiles `kafka-VERSION` of the poms to run with; none is the newest."""


def java_classpath(project: Path) -> str:
    """The class path of a Maven project with its dependencies. Raises Unavailable."""
    require("java", "mvn")
    built = CACHE / f"{project.name}-{digest(project / 'pom.xml', *sorted(project.rglob('*.java')))}"
    if not (built / "done").exists():
        command = ["mvn", "-q", "-B", "-f", str(project / "pom.xml"), f"-Doutput.directory={built}"]
        build([*command, "compile", "dependency:copy-dependencies", f"-DoutputDirectory={built}/libs"], project)
        (built / "done").touch()
    return f"{built}/classes:{_libs(project, built)}/*"


def _libs(project: Path, built: Path) -> Path:
    """The dependencies: those that it is compiled with, or those of the Kafka version that the environment names."""
    version = os.environ.get(JAVA_CLIENT_VARIABLE)
    if not version:
        return built / "libs"
    libs = built / f"libs-{version}"
    if not (libs / "done").exists():
        command = ["mvn", "-q", "-B", "-f", str(project / "pom.xml"), f"-Pkafka-{version}"]
        build([*command, "dependency:copy-dependencies", f"-DoutputDirectory={libs}"], project)
        (libs / "done").touch()
    return libs


def digest(*paths: Path) -> str:
    """A name for what these files make."""
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def build(argv: list[str], directory: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a build. Raises Unavailable with what it said."""
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
        raise Unavailable(f"{argv[0]} could not build {directory}: {done.stdout[-800:]}{done.stderr[-800:]}")


def python_programs(project: Path) -> str:
    """The interpreter of a virtual environment with what `requirements.lock` names. Raises Unavailable."""
    lock = project / "requirements.lock"
    built = CACHE / f"{project.name}-{digest(lock)}-{sys.version_info.major}.{sys.version_info.minor}"
    python = built / "bin" / "python"
    if not (built / "done").exists():
        build([sys.executable, "-m", "venv", "--clear", str(built)], project)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        build([*install, "--requirement", str(lock)], project)
        (built / "done").touch()
    return str(python)
