"""The guide shows what the tests run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_guide_includes_every_recipe() -> None:
    pages = "\n".join(page.read_text() for page in sorted((ROOT / "docs").rglob("*.md")))
    included = set(re.findall(r'^ *--8<-- "(tests/recipes/[^":]+)(?::\w+)?"$', pages, re.MULTILINE))
    recipes = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/recipes").rglob("test_*.py")}
    assert included == recipes
    assert recipes
