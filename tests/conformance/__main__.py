"""`python -m tests.conformance --target odradek|apache|HOST:PORT`: runs tests/compat, and keeps what came of it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conformance.environments import Environment, newest, older
from tests.conformance.page import table, write
from tests.conformance.results import Results, load, of_run, save
from tests.support.apache import ROOT

RUN_TIMEOUT_S = 3600
KEPT = ("odradek", "apache")
_SLOW = ("tests/compat/programs", "tests/compat/cluster")


def main() -> int:
    """Returns the exit code: 1 where a case failed."""
    asked = _arguments()
    environments = [newest] if asked.newest else [newest, older]
    found: Results = {}
    for target in asked.target or ["odradek"]:
        for environment in environments:
            found |= _run(environment(), target, asked)
    sys.stdout.write(table(found))
    kept = {key: outcome for key, outcome in found.items() if key.target in KEPT}
    if asked.write and kept:
        save({**_of_others(load(), kept, by_feature=bool(asked.cases)), **kept})
        write()
    return 1 if any(outcome.failed for outcome in found.values()) else 0


def _of_others(results: Results, kept: Results, *, by_feature: bool) -> Results:
    """The results that a run does not replace: of other targets, and of other features if it was of some cases only."""
    targets = {key.target for key in kept}
    ran = {(key.target, key.feature) for key in kept}
    return {
        key: outcome
        for key, outcome in results.items()
        if ((key.target, key.feature) not in ran if by_feature else key.target not in targets)
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="odradek conformance", description=__doc__)
    parser.add_argument("--target", action="append", help="odradek (default), apache or HOST:PORT; repeatable")
    parser.add_argument("--newest", action="store_true", help="only the newest clients, not those of two years back")
    parser.add_argument("--write", action="store_true", help="write tests/conformance/results.json and the page")
    parser.add_argument("cases", nargs="*", help="files of tests/compat; all but programs and clusters by default")
    return parser.parse_args()


def _run(environment: Environment, target: str, asked: argparse.Namespace) -> Results:
    """One run of pytest. What it prints is for whoever watches; that cases failed is in what it wrote."""
    cases = asked.cases or ["tests/compat", *(f"--ignore={slow}" for slow in _SLOW)]
    clients = [option for client in environment.clients for option in ("--client", client)]
    with tempfile.TemporaryDirectory(prefix="odradek-conformance-") as directory:
        written = Path(directory) / "results.json"
        command = [str(environment.python), "-m", "pytest", "-p", "tests.conformance.recorder", "-q", "--tb=short"]
        # What client libraries of then do is warned of now.
        command += ["-W", "ignore::ImportWarning", "-W", "ignore::DeprecationWarning"]
        command += ["--target", target, "--conformance-results", str(written), *clients, *cases]
        variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment.variables}
        subprocess.run(command, cwd=ROOT, env=variables, timeout=RUN_TIMEOUT_S, check=False)
        if not written.exists():
            raise SystemExit(f"pytest did not run with {environment.python}")
        return of_run(written, target, environment.versions())


if __name__ == "__main__":
    sys.exit(main())
