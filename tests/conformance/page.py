"""Writes docs/conformance.md from what was kept: `python -m tests.conformance.page`, with --check only looks.

--check also sees that what was kept is of the modules that tests/compat has now.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tests.conformance.results import Key, Outcome, Results, load
from tests.support.apache import ROOT, VERSION
from tests.support.clients import CLIENTS, PROTOCOL

PAGE = ROOT / "docs" / "conformance.md"
COMPAT = ROOT / "tests" / "compat"
TARGETS = {"odradek": "Odradek", "apache": f"Apache Kafka {VERSION}"}
HEAD = f"""\
# Conformance

Written by `odradek conformance --write` from what came of `tests/compat`; do not edit. Every case runs on Odradek,
with `odradek.record.validation=full`, and on Apache Kafka {VERSION}, which decides what is right. What Odradek does
differently on purpose is in [compatibility.md](compatibility.md).

A cell says how many of the cases passed; numbers in brackets say why others were skipped. A case that failed is named
below the table.

## Running it

`odradek conformance --target odradek|apache|HOST:PORT` runs the cases of the checkout that it is called in, or that
`--suite DIRECTORY` names: they need Java, Go and the clients themselves, which nobody wants to install with a broker,
so the package as installed has none. `make conformance` runs them on both brokers. The clients of two years back are
installed into `.cache` at first. `--newest` leaves those out, `--write` writes this page.

Beside the cases, `python -m tests.differential --seed N --steps M` sends random requests to both brokers, and prints
the first difference; `tests/differential/rules.py` has all that answers may differ in.

"""


def render(results: Results) -> str:
    """The page."""
    return HEAD + "## Clients\n\n" + table(results) + _failures(results)


def table(results: Results) -> str:
    """A row for each client, version and feature, and below it the reasons for which cases were skipped."""
    reasons: dict[str, int] = {}
    rows = sorted({(_rank(key.client), key.version, key.feature, key.client) for key in results}, reverse=False)
    targets = [target for target in (*TARGETS, *_others(results)) if any(key.target == target for key in results)]
    titles = [TARGETS.get(target, target) for target in targets]
    lines = [f"| client | feature | {' | '.join(titles)} |", "|---" * (2 + len(targets)) + "|"]
    for _, version, feature, client in rows:
        cells = [_cell(results.get(Key(client, version, feature, target)), reasons) for target in targets]
        name = client if not version else f"{client} {version}"
        lines.append(f"| {name} | {_feature(feature)} | {' | '.join(cells)} |")
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    return "\n".join([*lines, "", *notes, ""])


def _cell(outcome: Outcome | None, reasons: dict[str, int]) -> str:
    if outcome is None:
        return ""
    ran = outcome.passed + len(outcome.failed)
    parts = [f"{outcome.passed} of {ran}"] if ran else []
    for reason in sorted(outcome.skipped):
        number = reasons.setdefault(reason.replace("|", "/").replace("\n", " "), len(reasons) + 1)
        parts.append(f"{outcome.skipped[reason]} skipped ({number})")
    return ", ".join(parts)


def _failures(results: Results) -> str:
    failed = [
        f"- {TARGETS.get(key.target, key.target)}, {key.client} {key.version}: `{key.feature}`, `{name}`\n"
        for key, outcome in sorted(results.items())
        for name in outcome.failed
    ]
    return "\n## What failed\n\n" + ("".join(failed) if failed else "Nothing.\n")


def _rank(client: str) -> int:
    """Libraries first, in the order that they are listed in; then the tools, then raw requests."""
    order = (*CLIENTS, "tools", PROTOCOL)
    return order.index(client) if client in order else len(order)


def _others(results: Results) -> Iterable[str]:
    return sorted({key.target for key in results} - set(TARGETS))


def _feature(module: str) -> str:
    return module.removeprefix("test_").replace("_", " ")


def write() -> None:
    """Write the page."""
    PAGE.write_text(render(load()), encoding="utf-8")


def _missing(results: Results) -> set[str]:
    """Modules of tests/compat without results, or results without a module; clusters and programs are not kept."""
    return {path.stem for path in COMPAT.glob("test_*.py")} ^ {key.feature for key in results}


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    if arguments != ["--check"]:
        write()
        return 0
    results = load()
    missing = _missing(results)
    if missing:
        sys.stderr.write(f"docs/conformance.md is not of these cases: {', '.join(sorted(missing))}: make conformance\n")
        return 1
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == render(results):
        return 0
    sys.stderr.write("docs/conformance.md is out of date: python -m tests.conformance.page\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
