"""A disk that is soon full."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ON_SMALL_DISKS_ONLY = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None,
    reason="only root may mount a small file system, and this is done for Linux",
)
_CHUNK_BYTES = 1 << 16


class SmallDisk:
    """A tmpfs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self, megabytes: int, *, again: bool = False) -> None:
        options = f"size={megabytes}m,nr_inodes=1000,mode=0777" + (",remount" if again else "")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def fill(self) -> None:
        """Leave no space to anybody."""
        with self._ballast.open("wb", buffering=0) as file:
            for size in (_CHUNK_BYTES, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    # There is no space for as much.
                    continue

    def clear(self) -> None:
        """Give that space back."""
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"
