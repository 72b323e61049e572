"""docs/testing.md says what there is."""

from __future__ import annotations

import re
from pathlib import Path

from odradek.config import BROKER, format_value
from odradek.testing import TEST_DEFAULTS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "testing.md"


def test_the_page_lists_every_default_that_is_not_kafkas() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \| (\w+) \|$", PAGE.read_text(), re.MULTILINE)
    kafkas = {name: format_value(BROKER[name].default) for name in TEST_DEFAULTS}
    assert rows == [(name, here, kafkas[name]) for name, here in TEST_DEFAULTS.items()]
