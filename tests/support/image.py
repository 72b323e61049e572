"""The container image without Docker: its Dockerfile's steps on layers over this machine's files, and namespaces.

A container has its own files, network, host name and processes, as Docker would give it, and runs as the image's user.
What the base image brings (Python, a shell, coreutils) is this machine's. For Linux, and root.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.apache import Unavailable, require
from tests.support.process import wait_for

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
START_TIMEOUT_S = 30.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Where the interpreter and the checkout are, which the base image and a build would have brought.
_BROUGHT = tuple(dict.fromkeys(str(Path(path).resolve()) for path in (sys.base_prefix, sys.prefix, ROOT)))
_ENTER = """\
set -e
mount -t overlay overlay -o lowerdir=/,upperdir="$AT/upper",workdir="$AT/work" "$AT/root"
mount -t proc proc "$AT/root/proc"
mount --rbind /dev "$AT/root/dev"
for path in $BROUGHT; do mkdir -p "$AT/root$path"; mount --bind "$path" "$AT/root$path"; done
"""


class Step(NamedTuple):
    """One instruction of a Dockerfile."""

    keyword: str
    text: str


def dockerfile_steps(stage: int = -1) -> list[Step]:
    """The instructions of one stage of the Dockerfile, the last one."""
    text = re.sub(r"\\\n", " ", "\n".join(line for line in DOCKERFILE.read_text().splitlines() if line[:1] != "#"))
    steps = [Step(*line.split(None, 1)) for line in text.splitlines() if line.strip()]
    begins = [index for index, step in enumerate(steps) if step.keyword == "FROM"]
    return steps[begins[stage] : None if stage == -1 else begins[stage + 1]]


class Image:
    """The image, built in a directory. Raises Unavailable where this machine does not let it be."""

    def __init__(self, directory: Path) -> None:
        if sys.platform != "linux" or os.geteuid() != 0:
            raise Unavailable("containers without Docker need Linux and root")
        require("unshare", "nsenter", "chroot", "mount", "useradd", "ip")
        self.layer = _new_layer(directory / "image") / "upper"
        self.user, self.folder, self.environment, self.command = "root", "/", {"PATH": _PATH}, [""]
        self._directory = directory
        (self.layer / "usr" / "local" / "bin").mkdir(parents=True)
        program = self.layer / "usr" / "local" / "bin" / "odradek"
        program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m odradek "$@"\n')
        program.chmod(0o755)
        for step in dockerfile_steps():
            self._take(step)

    def container(
        self,
        name: str,
        environment: Mapping[str, str],
        command: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
        at: str | None = None,
    ) -> Container:
        """Run a command, the image's unless another is given; `files` are there before it starts.

        `name` is the host's. Its layers are in a folder of this name, or `at`.
        """
        layers = _new_layer(self._directory / (at or name))
        subprocess.run(["cp", "-a", f"{self.layer}/.", layers / "upper"], check=True, timeout=30)
        for path, text in (files or {}).items():
            (layers / "upper" / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (layers / "upper" / path[1:]).write_text(text)
        variables = {**self.environment, "HOME": "/home/appuser", "HOSTNAME": name, **environment}
        return Container(layers, name, self.user, variables, ["env", "-C", self.folder, *(command or self.command)])

    def _take(self, step: Step) -> None:
        if step.keyword == "COPY" and not step.text.startswith("--from"):
            source, destination = step.text.split()
            shutil.copytree(ROOT / source, self.layer / destination.lstrip("/"), dirs_exist_ok=True)
        elif step.keyword == "RUN":
            self._run(step.text)
        elif step.keyword == "USER":
            self.user = step.text
        elif step.keyword == "WORKDIR":
            self.folder = step.text
        elif step.keyword == "ENV":
            for name, value in (word.split("=", 1) for word in shlex.split(step.text)):
                self.environment[name] = value.replace("${PATH}", self.environment["PATH"])
        elif step.keyword == "CMD":
            self.command = [each.strip().strip('"') for each in step.text.strip("[]").split(",")]

    def _run(self, text: str) -> None:
        at = self.layer.parent
        # The image's user must get to the interpreter, which this machine may keep in a private folder; and this
        # machine may have a user of the same number.
        parents = " ".join(sorted({str(parent) for path in _BROUGHT for parent in Path(path).parents}))
        prepare = f"chmod a+x {parents}; sed -i '/^[^:]*:[^:]*:1000:/d' /etc/passwd"
        script = f'{_ENTER}chroot "$AT/root" sh -ec {shlex.quote(f"{prepare}; {text}")}'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script],
            env={"PATH": _PATH, "AT": str(at), "BROUGHT": " ".join(_BROUGHT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"containers without Docker cannot be made here: {done.stderr.strip()}")


class Container:
    """A running command of an image."""

    def __init__(
        self,
        at: Path,
        name: str,
        user: str,
        environment: Mapping[str, str],
        command: Sequence[str],
    ) -> None:
        variables = shlex.join(f"{key}={value}" for key, value in environment.items())
        script = (
            f"{_ENTER}hostname {name}\nip link set lo up\n"
            f'printf "127.0.0.1 localhost {name}\\n" > "$AT/root/etc/hosts"\n'
            f'exec env -i {variables} chroot --userspec={user}:0 "$AT/root" {shlex.join(command)}'
        )
        self.name = name
        self._user = user
        self._environment = dict(environment)
        self._output = at / "output"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--net", "--uts", "--pid", "--fork", "sh", "-c", script],
                env={"PATH": _PATH, "AT": str(at), "BROUGHT": " ".join(_BROUGHT)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for(lambda: self._entered() or not self.running, f"{name} has its files")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """What `docker logs` would show."""
        return self._output.read_text(errors="replace")

    def copy(self, text: str, path: str, mode: int) -> None:
        """As `docker cp`: what is written is root's."""
        file = self._file(path)
        partial = file.with_name(f"{file.name}.partial")
        partial.write_text(text)
        partial.chmod(mode)
        partial.rename(file)

    def read(self, path: str) -> str:
        return self._file(path).read_text()

    def wait_for_line(self, pattern: str) -> None:
        """Wait until a line of the output matches; fails with the output."""

        def matches() -> bool:
            return re.search(pattern, self.output) is not None

        with contextlib.suppress(TimeoutError):
            wait_for(lambda: matches() or not self.running, pattern, START_TIMEOUT_S)
        assert matches(), f"{self.name} does not say {pattern}, but:\n{self.output}"

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        """As `docker exec`."""
        variables = [f"{key}={value}" for key, value in self._environment.items()]
        inside = ["env", "-i", *variables, "chroot", f"--userspec={self._user}:0", "/", *command]
        return self._enter("--mount", "--net", "--uts", "--pid", "--root", "--wd=/", *inside)

    def from_outside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this machine on the container's network, where a mapped port is the container's."""
        return self._enter("--net", "--uts", *command)

    def stop(self, timeout_s: float = 20.0) -> int:
        """As `docker stop`: SIGTERM to the first process; returns the exit code."""
        os.kill(self._inner, signal.SIGTERM)
        return self._process.wait(timeout_s)

    def wait(self, timeout_s: float = START_TIMEOUT_S) -> int:
        """Until it ends by itself; returns the exit code."""
        return self._process.wait(timeout_s)

    def close(self) -> None:
        """End all of its processes."""
        inner = self._inner
        # Without the first process the others end, too. It outlives `unshare`, for it has become another user's.
        if inner:
            os.kill(inner, signal.SIGKILL)
        elif self.running:
            self._process.kill()
        self._process.wait()

    @property
    def _inner(self) -> int:
        """The first process inside, by its id outside; 0 before there is one."""
        pid = self._process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return 0
        return int(children[0]) if children else 0

    def _entered(self) -> bool:
        """Whether the first process has the container's root."""
        inner = self._inner
        try:
            return inner != 0 and os.readlink(f"/proc/{inner}/root") != "/"
        except OSError:
            return False

    def _file(self, path: str) -> Path:
        return Path(f"/proc/{self._inner}/root{path}")

    def _enter(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["nsenter", "--target", str(self._inner), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def _new_layer(at: Path) -> Path:
    for name in ("upper", "work", "root"):
        (at / name).mkdir(parents=True)
    return at
