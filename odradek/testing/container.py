"""`KafkaContainer`: testcontainers' class of this name on a node of this program, so that one import line changes.

    from odradek.testing import KafkaContainer  # from testcontainers.kafka import KafkaContainer

There is no container. What is said of the broker in environment variables is done, as Apache Kafka's image does it.
What only matters to Docker (images, names, networks, command lines) is taken and changes nothing. What a program could
only do to a container raises NotImplementedError, which says what to do instead.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from odradek.config import ConfigError
from odradek.config.defaults import OWN_TO_EACH_NODE
from odradek.config.image import DATA_DIR, image_properties, started_lines
from odradek.config.listeners import parse_listener_name, parse_map
from odradek.testing.defaults import HOST
from odradek.testing.embedded import EmbeddedKafka

_ERRORS_MODULE = "testcontainers.core.exceptions"
_NODE_ID = 1
_PLAINTEXT = "PLAINTEXT"


class KafkaContainer:
    """One node in the place of a container. See the module for what is taken, and what is not."""

    TC_START_SCRIPT = "/tc-start.sh"
    MIN_KRAFT_TAG = "7.0.0"

    def __init__(
        self,
        image: str = "confluentinc/cp-kafka:7.6.0",
        port: int = 9093,
        wait_strategy_check_string: str = r".*\[KafkaServer id=\d+\] started.*",
        listener_name: str = "PLAINTEXT",
        security_protocol: str = "PLAINTEXT",
        **kwargs: object,
    ) -> None:
        """Nothing runs before `start`. `port` is only the name that `get_exposed_port` knows the broker's port by.

        Of the keyword arguments of testcontainers' `DockerContainer`, `env`, `ports` and `volumes` have an effect.
        """
        if kwargs.pop("port_to_expose", None):
            raise ValueError("Use `port` instead of `port_to_expose`")
        self.image = image
        self.port = port
        self.listener_name = listener_name
        self.security_protocol = security_protocol
        self.kraft_enabled = False
        self.wait_for = re.compile(wait_strategy_check_string)
        self.boot_command = ""
        self.cluster_id = "MkU3OEVBNTcwNTJENDM2Qk"
        self.listeners = f"{listener_name}://0.0.0.0:{port},BROKER://0.0.0.0:9092"
        self.security_protocol_map = f"BROKER:PLAINTEXT,{listener_name}:{security_protocol}"
        self.env: dict[str, str] = {}
        self.ports: dict[str, int | None] = {}
        self.volumes: dict[str, dict[str, str]] = {}
        self.tmpfs: dict[str, str] = {}
        self._strategy: object = kwargs.get("_wait_strategy")
        self._kafka: EmbeddedKafka | None = None
        self._log: list[str] = []
        self._status = "not_started"
        self._take(kwargs)
        self.with_exposed_ports(port)
        self.with_envs(
            KAFKA_LISTENERS=self.listeners,
            KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=self.security_protocol_map,
            KAFKA_INTER_BROKER_LISTENER_NAME="BROKER",
            KAFKA_BROKER_ID=str(_NODE_ID),
            KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS="1",
            KAFKA_LOG_FLUSH_INTERVAL_MESSAGES="10000000",
            KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
        )

    # What is told before the start, and has an effect

    def with_env(self, key: str, value: str) -> Self:
        """Set a variable: `KAFKA_NUM_PARTITIONS` is `num.partitions`. What no broker knows, and listeners, are left."""
        self.env[key] = value
        return self

    def with_envs(self, **variables: str) -> Self:
        """Set variables."""
        self.env.update(variables)
        return self

    def with_env_file(self, env_file: str | os.PathLike[str]) -> Self:
        """Set the variables of a file of KEY=VALUE lines; raises OSError."""
        for line in Path(env_file).read_text(encoding="utf-8").splitlines():
            key, equals, value = line.strip().removeprefix("export ").partition("=")
            if equals and not key.startswith("#"):
                self.with_env(key.strip(), _unquoted(value.strip()))
        return self

    def with_kraft(self) -> Self:
        """Have `cluster_id` as the cluster's id. The node has no other mode than KRaft anyway."""
        self.kraft_enabled = True
        return self

    def with_cluster_id(self, cluster_id: str) -> Self:
        """The cluster's id `with_kraft`."""
        self.cluster_id = cluster_id
        return self

    def with_bind_ports(self, container: str | int, host: str | int | None = None) -> Self:
        """Have the broker on the port `host` of this machine, where `container` is the class's `port`."""
        self.ports[_port_text(container)] = None if host is None else int(_port_text(host))
        return self

    def with_volume_mapping(self, host: str | os.PathLike[str], container: str, mode: str = "ro") -> Self:
        """Keep the data in `host`, where `container` is the log directory; raises NotImplementedError for others."""
        if container.rstrip("/") != self.env.get("KAFKA_LOG_DIRS", DATA_DIR).rstrip("/"):
            _no_container("with_volume_mapping", f"only the log directory ({DATA_DIR}) can be kept, not {container}")
        self.volumes[str(host)] = {"bind": container, "mode": mode}
        return self

    def waiting_for(self, strategy: object) -> Self:
        """Have `strategy.wait_until_ready(self)` called when the node is ready."""
        self._strategy = strategy
        return self

    # What is told before the start, and changes nothing

    def with_exposed_ports(self, *ports: str | int) -> Self:
        """Nothing listens on other ports than the broker's."""
        for port in ports:
            self.ports.setdefault(_port_text(port), None)
        return self

    def with_network(self, network: object) -> Self:  # noqa: ARG002 - nothing is on it
        """There is no network: containers cannot reach this node."""
        return self

    def with_network_aliases(self, *aliases: str) -> Self:  # noqa: ARG002 - nobody looks them up
        """There is no network."""
        return self

    def with_kwargs(self, **kwargs: object) -> Self:  # noqa: ARG002 - Docker's
        """They are for Docker."""
        return self

    def with_command(self, command: str | list[str]) -> Self:  # noqa: ARG002 - testcontainers' own class replaces it
        """No command is run."""
        return self

    def with_name(self, name: str) -> Self:  # noqa: ARG002 - nothing is named
        """There is nothing to be named."""
        return self

    def with_tmpfs_mount(self, container_path: str, size: str | None = None) -> Self:
        """Data is in memory anyway."""
        self.tmpfs[container_path] = size or ""
        return self

    def maybe_emulate_amd64(self) -> Self:
        """Nothing is emulated."""
        return self

    def configure(self) -> None:
        """Called by `start`; for those who override it."""

    # Life

    def start(self, timeout: int = 30) -> Self:  # noqa: ARG002 - it takes milliseconds
        """Start the node, and return once clients can connect.

        Raises ConfigError for variables that make no node, StartError where it cannot start.
        """
        self.configure()
        kafka = EmbeddedKafka(
            config=self._properties(),
            data_dir=next(iter(self.volumes), None),
            port=self.ports.get(str(self.port)) or 0,
            cluster_id=self.cluster_id if self.kraft_enabled else None,
        )
        kafka.start()
        self._kafka, self._status = kafka, "running"
        if self._strategy is not None:
            self._strategy.wait_until_ready(self)  # type: ignore[attr-defined]  # testcontainers' WaitStrategy
        return self

    def stop(self, force: bool = True, delete_volume: bool = True) -> None:  # noqa: ARG002 - nothing is left either way
        """Stop the node, if it runs."""
        kafka, self._kafka = self._kafka, None
        if kafka is not None:
            self._status = "exited"
            try:
                kafka.stop()
            finally:
                self._log = kafka.log

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.stop()

    # What runs

    @property
    def kafka(self) -> EmbeddedKafka:
        """The node itself, for what testcontainers' class does not have; raises as `get_exposed_port`."""
        if self._kafka is None:
            raise _error("ContainerStartException", "KafkaContainer is not started: use it in a with block, or start()")
        return self._kafka

    def get_bootstrap_server(self) -> str:
        """HOST:PORT; raises as `get_exposed_port`."""
        return f"{self.get_container_host_ip()}:{self.get_exposed_port(self.port)}"

    def get_container_host_ip(self) -> str:
        """The address of this machine that the node is on."""
        return HOST

    def get_exposed_port(self, port: int) -> int:
        """The port of this machine that the broker is on, for the class's `port`.

        Raises testcontainers' ContainerStartException before the start, NoSuchPortExposed for another port (or
        RuntimeError, where testcontainers is not imported).
        """
        bootstrap = self.kafka.bootstrap_servers
        if _port_text(port) != str(self.port):
            raise _error("NoSuchPortExposed", f"nothing listens on {port}: the broker's only port is {self.port}")
        return int(bootstrap.rpartition(":")[2])

    def get_logs(self) -> tuple[bytes, bytes]:
        """What the node has logged, and nothing; with the lines by which programs see that Kafka has started."""
        if self._status == "not_started":
            raise _error("ContainerStartException", "KafkaContainer is not started, and has no logs")
        lines = self._log if self._kafka is None else self._kafka.log
        return "".join(f"{line}\n" for line in (*lines, *started_lines(_NODE_ID, ["broker"]))).encode(), b""

    def get_wrapped_container(self) -> Self:
        """This object, whose `status` and `reload` are what wait strategies ask; raises as `get_logs`.

        Of what else Docker can do to a container it has nothing.
        """
        if self._status == "not_started":
            raise _error("ContainerStartException", "KafkaContainer is not started")
        return self

    @property
    def status(self) -> str:
        """`not_started`, `running` or `exited`."""
        return self._status

    def reload(self) -> None:
        """`status` is always new."""

    # What needs a container

    def exec(self, command: object) -> NoReturn:  # noqa: ARG002
        """Raises NotImplementedError."""
        _no_container("exec", "run Kafka's tools, or `odradek topic`, on get_bootstrap_server()")

    def get_docker_client(self) -> NoReturn:
        """Raises NotImplementedError."""
        _no_container("get_docker_client", "nothing here needs Docker")

    def get_container_id(self) -> NoReturn:
        """Raises NotImplementedError."""
        _no_container("get_container_id", "nothing here needs Docker")

    def get_container_info(self) -> NoReturn:
        """Raises NotImplementedError."""
        _no_container("get_container_info", "the node is the property kafka")

    def wait(self) -> NoReturn:
        """Raises NotImplementedError."""
        _no_container("wait", "the node runs until stop() is called")

    def with_copy_into_container(
        self,
        transferable: object,  # noqa: ARG002
        destination_in_container: str,  # noqa: ARG002
        mode: int = 0o644,  # noqa: ARG002
    ) -> NoReturn:
        """Raises NotImplementedError."""
        _no_container("with_copy_into_container", _FILES)

    def copy_into_container(
        self,
        transferable: object,  # noqa: ARG002
        destination_in_container: str,  # noqa: ARG002
        mode: int = 0o644,  # noqa: ARG002
    ) -> NoReturn:
        """Raises NotImplementedError."""
        _no_container("copy_into_container", _FILES)

    def copy_from_container(self, source_in_container: str, destination_on_host: Path) -> NoReturn:  # noqa: ARG002
        """Raises NotImplementedError."""
        _no_container("copy_from_container", "logs are in get_logs(); EmbeddedKafka(data_dir=...) keeps data in files")

    def create_file(self, content: bytes, path: str) -> NoReturn:  # noqa: ARG002
        """Raises NotImplementedError."""
        _no_container("create_file", _FILES)

    def tc_start(self) -> NoReturn:
        """Raises NotImplementedError."""
        _no_container("tc_start", "no script starts the node; set properties with with_env")

    def _take(self, kwargs: Mapping[str, object]) -> None:
        """Those arguments of `DockerContainer` that say something of the broker."""
        env, ports, volumes = (kwargs.get(name) for name in ("env", "ports", "volumes"))
        if isinstance(env, Mapping):
            self.env.update(env)
        if isinstance(ports, Sequence):
            self.with_exposed_ports(*ports)
        if isinstance(volumes, Sequence):
            for volume in volumes:
                self.with_volume_mapping(*volume)
        if kwargs.get("transferables"):
            _no_container("transferables", _FILES)

    def _properties(self) -> dict[str, str]:
        """What the variables say, without what is the same for every embedded node; raises ConfigError."""
        variables = {name: str(value) for name, value in self.env.items()}
        variables.setdefault("KAFKA_PROCESS_ROLES", "broker,controller")
        properties = image_properties(variables).properties
        protocols = parse_map("listener.security.protocol.map", properties.get("listener.security.protocol.map", ""))
        for text in properties.get("listeners", "").split(","):
            name = parse_listener_name(text)
            protocol = protocols.get(name, name if not protocols else _PLAINTEXT)
            if protocol != _PLAINTEXT:
                raise ConfigError(
                    "listener.security.protocol.map",
                    f"{name} has the protocol {protocol}, and only {_PLAINTEXT} is supported",
                )
        return {name: value for name, value in properties.items() if not _is_ours(name)}


_FILES = "the node reads no files: set properties with with_env"


def _is_ours(name: str) -> bool:
    """There is one listener, on loopback: what a container's network needs several for is not there."""
    return name in OWN_TO_EACH_NODE or "listener" in name or name == "security.inter.broker.protocol"


def _no_container(method: str, instead: str) -> NoReturn:
    raise NotImplementedError(f"{method}: there is no container; {instead}")


def _error(name: str, text: str) -> RuntimeError:
    """An error of testcontainers', if the program can know it."""
    module = sys.modules.get(_ERRORS_MODULE)
    error: RuntimeError = getattr(module, name, RuntimeError)(text)
    return error


def _port_text(port: str | int) -> str:
    return str(port).partition("/")[0]


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
