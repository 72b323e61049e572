"""What docs/ci.md shows: the files are YAML, the services in them are ready for whom they advertise themselves to, and
the commands start a broker."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml  # type: ignore[import-untyped]

from tests.image.conftest import ROUND_TRIP
from tests.support.apache import ROOT
from tests.support.image import Image

IMAGE = "registry.example.org/odradek"
PAGE = (ROOT / "docs" / "ci.md").read_text()
BLOCKS: list[dict[str, Any]] = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
TIMEOUT_S = 60


class Service(NamedTuple):
    """One use of the image."""

    host: str
    environment: Mapping[str, str]


def _services() -> Iterator[Service]:
    for block in BLOCKS:
        for job in block.get("jobs", {}).values():
            for name, service in job.get("services", {}).items():
                assert service["image"] == IMAGE
                yield _service(name, service.get("env", {}))
        for service in block.get("services", {}).values():
            if "image" in service:
                assert service["image"] == IMAGE
                yield _service(service["hostname"], service["environment"])
        for job in block.values():
            for service in job.get("services", []) if isinstance(job.get("services"), list) else []:
                assert service["name"] == IMAGE
                yield _service(service["alias"], job["variables"])


def _service(host: str, environment: Mapping[str, object]) -> Service:
    return Service(host, {name: str(value) for name, value in environment.items()})


def _scripts() -> Iterator[str]:
    for block in BLOCKS:
        for job in block.get("jobs", {}).values():
            yield from (step["run"] for step in job["steps"] if "odradek serve" in step.get("run", ""))
        for job in block.values():
            yield from ("\n".join(job["before_script"]) for _ in [0] if "before_script" in job)


SERVICES, SCRIPTS = list(_services()), list(_scripts())


def test_the_page_has_all_kinds() -> None:
    assert len(SERVICES) == 5
    assert len(SCRIPTS) == 2


@pytest.mark.parametrize("number", range(len(SERVICES)))
def test_a_service_is_there_for_those_whom_it_advertises_itself_to(image: Image, number: int) -> None:
    service = SERVICES[number]
    container = image.container(service.host, service.environment, at=f"service-{number}")
    try:
        container.wait_for_line("odradek ready")
        advertised = service.environment.get("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://localhost:9092")
        for listener in advertised.split(","):
            bootstrap = listener.partition("://")[2]
            # The service's name leads to it from where other services are; here, that is within.
            client = container.from_outside if bootstrap.startswith("localhost") else container.exec
            done = client(sys.executable, "-c", ROUND_TRIP, bootstrap)
            assert done.returncode == 0, done.stderr + container.output
            assert bootstrap in done.stdout
        assert container.exec("odradek", "container", "health").returncode == 0
        assert container.stop() == 0
    finally:
        container.close()


@pytest.mark.parametrize("script", SCRIPTS, ids=["github", "gitlab"])
def test_a_broker_in_the_background_is_ready_for_the_next_step(image: Image, script: str, tmp_path: Path) -> None:
    """In a network of its own, where port 9092 is free. `pip` has nothing to do: the checkout is installed."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "pip").write_text("#!/bin/sh\n")
    (commands / "odradek").write_text(f'#!/bin/sh\nexec {sys.executable} -m odradek "$@"\n')
    for command in commands.iterdir():
        command.chmod(0o755)
    roundtrip = shlex.join([sys.executable, "-c", ROUND_TRIP, "localhost:9092"])
    whole = f"ip link set lo up\n{script}\n{roundtrip}\nkill %1\nwait %1"
    done = subprocess.run(
        ["unshare", "--net", "bash", "-ec", whole],
        cwd=tmp_path,
        env={"PATH": f"{commands}:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "localhost:9092" in done.stdout
