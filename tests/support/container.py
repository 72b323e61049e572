"""Apache Kafka from its image, for machines with a Docker engine and no Java."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from testcontainers.core.container import DockerContainer

from tests.support.apache import SINGLE_NODE, VERSION
from tests.support.process import BrokerProcess, free_port, serves_metadata, wait_for


class ApacheContainer(BrokerProcess):
    """A single combined node in a container whose port is the same inside and outside."""

    name = "apache"

    def __init__(self, directory: Path, overrides: Mapping[str, str]) -> None:
        super().__init__(directory, overrides)
        self._container: DockerContainer | None = None

    @property
    def running(self) -> bool:
        return self._container is not None and self._container.get_wrapped_container().status == "running"

    def start(self) -> None:
        if self._container is None:
            self.port = free_port()
            self._container = self._new_container()
            self._container.start()
        else:
            self._container.get_wrapped_container().start()
        wait_for(lambda: serves_metadata(self.host, self.port), "Apache Kafka answers from its container", 90.0)

    def stop(self) -> int:
        if self._container is not None:
            self._container.get_wrapped_container().stop()
        return 0

    def kill(self) -> None:
        if self._container is not None:
            self._container.get_wrapped_container().kill()

    def pause(self) -> None:
        if self._container is not None:
            self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        if self._container is not None:
            self._container.get_wrapped_container().unpause()

    def restart(self, *, kill: bool = False) -> None:
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()

    def close(self) -> None:
        """Remove the container."""
        if self._container is not None:
            self._container.stop()
            self._container = None

    def log_tail(self, lines: int = 40) -> str:
        if self._container is None:
            return "(no log)"
        output, _ = self._container.get_logs()
        return "\n".join(output.decode(errors="replace").splitlines()[-lines:])

    def _new_container(self) -> DockerContainer:
        properties = {
            **SINGLE_NODE,
            "listeners": f"PLAINTEXT://0.0.0.0:{self.port},CONTROLLER://127.0.0.1:{self.port + 1}",
            "advertised.listeners": f"PLAINTEXT://{self.host}:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.quorum.voters": f"1@127.0.0.1:{self.port + 1}",
            **self.overrides,
        }
        container = DockerContainer(f"apache/kafka:{VERSION}").with_bind_ports(self.port, self.port)
        for key, value in properties.items():
            container.with_env("KAFKA_" + key.upper().replace("_", "__").replace(".", "_"), value)
        return container
