"""A pytest plugin that writes what came of every case, by client and feature: `-p tests.conformance.recorder`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.conformance.results import Outcome
from tests.support.clients import client_of

_OUTCOMES = pytest.StashKey[dict[tuple[str, str], Outcome]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance-results", metavar="FILE", help="where to write what came of the cases, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_OUTCOMES] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    outcomes = item.config.stash[_OUTCOMES]
    outcome = outcomes.setdefault((client_of(item), item.path.stem), Outcome(0, [], Counter()))
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        outcome.skipped[reason.removeprefix("Skipped: ")] += 1
    elif report.failed:
        if item.name not in outcome.failed:
            outcome.failed.append(item.name)
    elif report.when == "call":
        outcome = outcomes[client_of(item), item.path.stem]
        outcomes[client_of(item), item.path.stem] = outcome._replace(passed=outcome.passed + 1)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    target = session.config.getoption("--conformance-results")
    if not target:
        return
    found = [
        {"client": client, "feature": feature, **outcome.to_json()}
        for (client, feature), outcome in sorted(session.config.stash[_OUTCOMES].items())
    ]
    Path(str(target)).write_text(json.dumps(found), encoding="utf-8")
