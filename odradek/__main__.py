"""The `odradek` command; also `python -m odradek`."""

from __future__ import annotations

import gc


def main() -> None:
    """Run the command that the command line names."""
    gc.disable()  # until that is imported: of what imports make, hardly anything is garbage
    from odradek.cli import main as command

    command(prog_name="odradek")


if __name__ == "__main__":
    main()
