"""Writes docs/control-openapi.json from the operations: python tools/control_docs.py.

`python tools/control_docs.py --check` writes nothing; it fails when the file is not what would be written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from odradek.control.catalogue import document

TARGET = Path(__file__).parent.parent / "docs" / "control-openapi.json"


def text() -> str:
    """The description as it is committed."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if TARGET.read_text(encoding="utf-8") != text():
            sys.exit(f"docs/{TARGET.name} is out of date: python tools/control_docs.py")
    else:
        TARGET.write_text(text(), encoding="utf-8")
