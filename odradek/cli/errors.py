"""How commands end when something is wrong: one line on stderr that says what to do."""

from __future__ import annotations

import sys
from typing import NoReturn

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def fail(message: str, exit_code: int = EXIT_FAILED) -> NoReturn:
    """Print `message` as one line and exit."""
    line = " ".join(message.split())
    sys.stderr.write(f"odradek: error: {line}\n")
    sys.exit(exit_code)
