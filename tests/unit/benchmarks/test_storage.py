"""The storage benchmark runs and says what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.storage.figures import FIGURES


@pytest.mark.skipif(sys.platform == "win32", reason="it forks")
def test_each_figure_stands_beside_a_limit(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.storage", "--rounds", "1", "--mib", "16", "--json"]
    done = subprocess.run(
        [*command, "--directory", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [figure["name"] for figure in found] == [kind.name for kind in FIGURES]
    assert all(figure["engine"] > 0 and figure["limit"] > 0 and figure["ratio"] > 0 for figure in found)
    assert not list(tmp_path.iterdir()), "it cleans up"
