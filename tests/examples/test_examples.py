"""The test projects of examples/, run as their languages run tests; skipped where what they need is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.apache import ROOT, Unavailable, require
from tests.support.building import CACHE, build, digest

EXAMPLES = ROOT / "examples"
TIMEOUT_S = 300
pytestmark = pytest.mark.timeout(2 * TIMEOUT_S)


def passes(argv: Sequence[str], directory: Path) -> str:
    """What the tests of a project have said; they have to pass."""
    done = subprocess.run(
        argv,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, "ODRADEK": str(Path(sys.executable).with_name("odradek"))},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def prepared(argv: list[str], directory: Path, *programs: str) -> None:
    """Have a project's packages fetched, or skip."""
    try:
        require(*programs)
        build(argv, directory)
    except Unavailable as missing:
        pytest.skip(str(missing))


def test_java() -> None:
    project = EXAMPLES / "java"
    built = CACHE / f"example-java-{digest(project / 'pom.xml', *sorted(project.rglob('*.java')))}"
    maven = ["mvn", "-q", "-B", f"-Doutput.directory={built}"]
    prepared([*maven, "dependency:resolve"], project, "java", "mvn")
    passes([*maven, "test"], project)
    (report,) = (built / "surefire-reports").glob("*.txt")
    assert "Tests run: 3, Failures: 0, Errors: 0, Skipped: 0" in report.read_text()


def test_go() -> None:
    project = EXAMPLES / "go"
    prepared(["go", "mod", "download"], project, "go")
    assert passes(["go", "test", "-count=1", "-v", "./..."], project).count("--- PASS: ") == 3


def test_javascript() -> None:
    files = sorted(path for path in (EXAMPLES / "javascript").rglob("*.js*") if "node_modules" not in path.parts)
    project = CACHE / f"example-javascript-{digest(*files)}"
    for path in files:
        copy = project / path.relative_to(EXAMPLES / "javascript")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    prepared(["npm", "ci", "--no-audit", "--no-fund"], project, "node", "npm")
    assert "# pass 3" in passes(["npm", "test"], project)
