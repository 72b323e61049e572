"""Fetches Apache Kafka's jars into the project's cache, so that no test skips for the lack of them.

`python -m tests.support.fetch` needs Java and Maven; it exits with 1 and one line where they cannot do it.
"""

from __future__ import annotations

import sys

from tests.support.apache import Unavailable, earlier_libs, kafka_libs, tools_libs


def main() -> int:
    """Print the folders; returns the exit code."""
    try:
        for libs in (kafka_libs(), tools_libs(), earlier_libs()):
            sys.stdout.write(f"{libs}\n")
    except Unavailable as error:
        sys.stderr.write(f"Apache Kafka's jars cannot be fetched: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
